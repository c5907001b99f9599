//! The stage's part of the report.

use anyhow::Result;
use report::text::escape;
use report::{Align, Document, Table, format};

use crate::measured::{Novelty, NoveltyFigures};
use crate::words::{count, percent};

pub(super) fn write(novelty: &Novelty) -> Result<Document> {
    let mut section = Document::fragment();
    section.heading(2, "Images unlike the training images");
    section.paragraph(&format!(
        "A network is also sure of images of a kind that it has never seen. Its checkpoint therefore states how far an image's \
         features ({} channel means of `{}`) are from those of {}, as the Mahalanobis distance to the nearest class (Lee \
         2018; covariance shrunk by {}), together with how high its class scores are (energy, Liu 2020). The threshold \
         accepts {} of the validation images, each patient with the same weight. `predict` writes the novelty of each \
         image: above 1 it is unlike the training images, and a person should decide.",
        novelty.features,
        novelty.output,
        count(novelty.train, "training image"),
        format::percent(novelty.shrinkage, 1),
        format::percent(novelty.promised, 0),
    ));
    section.paragraph(&verdict(novelty));
    section.table(&table(novelty)?);
    section.paragraph(
        "AUROC: the probability that an image of the other kind has a higher score than a test image. FPR95: the share of \
         the other kind that is accepted if 95 % of the test images are.",
    );
    Ok(section)
}

fn verdict(novelty: &Novelty) -> String {
    let kept = match novelty.test.high < novelty.promised {
        true => "**fewer than promised: the test images are not like the validation images**",
        false => "as promised",
    };
    let missed = novelty
        .kinds
        .iter()
        .filter(|kind| kind.detected.estimate < 0.5);
    let missed: Vec<String> = missed.map(|kind| escape(&kind.name)).collect();
    let missed = match missed.as_slice() {
        [] => "Most images of every other kind tried are detected.".to_owned(),
        names => format!(
            "**Most images of these kinds are not detected: {}.** The network predicts a class for them as for any other.",
            names.join("; ")
        ),
    };
    format!(
        "Of the test images {} are accepted, {kept}. {missed}",
        percent(&novelty.test)
    )
}

fn table(novelty: &Novelty) -> Result<Table> {
    let mut table = Table::new([
        ("images", Align::Left),
        ("n", Align::Right),
        ("detected", Align::Right),
        ("AUROC", Align::Right),
        ("FPR95", Align::Right),
        ("distance alone", Align::Right),
        ("energy alone", Align::Right),
        ("largest score alone", Align::Right),
    ]);
    let alone = |figures: &NoveltyFigures| {
        format!(
            "{} / {}",
            format::fixed(figures.auroc, 3),
            format::percent(figures.fpr95, 0)
        )
    };
    for kind in &novelty.kinds {
        let [joint, distance, energy, largest] = &kind.figures;
        table.row([
            escape(&kind.name),
            kind.detected.n.to_string(),
            percent(&kind.detected),
            format::fixed(joint.auroc, 3),
            format::percent(joint.fpr95, 0),
            alone(distance),
            alone(energy),
            alone(largest),
        ])?;
    }
    Ok(table)
}
