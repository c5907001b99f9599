//! The segmentation results as text, tables and one line per image.

use anyhow::Result;
use imaging::{PixelSpacing, SpacingAt};
use metrics::{ClassSegmentation, Interval, SegmentationEvaluation, Spread, SurfaceDistance};
use report::text::escape;
use report::{Align, Cases, Document, Table, format};

use super::super::index::csv;
use super::cases::Drawn;
use super::judge::dice;
use super::{JudgedImage, SegmentationBaseline, SegmentationMetrics, guarantee};
use crate::context::{Context, Data};
use crate::words::{count, number, or_dash};

pub(super) fn write(
    context: &Context<'_>,
    data: &Data,
    metrics: &SegmentationMetrics,
    images: &[JudgedImage],
    (figures, browsed): (Vec<Drawn>, Option<Cases>),
) -> Result<Document> {
    let mut section = Document::fragment();
    section
        .heading(2, "Segmentation")
        .paragraph(&judged(metrics));
    section.table(&comparison(metrics)?);
    section.paragraph(&verdict(metrics));
    section.heading(3, "Results per class");
    section.table(&classes(&metrics.test)?);
    if let Some(marked) = &metrics.marked {
        section.paragraph(
            "With all classes except the background merged, so that only the location counts and not the class:",
        );
        section.table(&classes(marked)?);
    }
    section.paragraph(
        "Values are means over the *n* images that have the class in truth or prediction; images that have it in \
         neither are not counted. Where only the truth has the class (a false negative, FN) or only the prediction (a \
         false positive, FP), Dice and IoU are 0 and the distance is the image's diagonal. HD95 is the 95th-percentile \
         Hausdorff distance, in pixels of the original image; *pooled* treats the pixels of all images as one image.",
    );
    if let Some(text) = millimetres(data, images) {
        section.paragraph(&text);
    }
    if let Some(guarantees) = &metrics.guarantees {
        guarantee::write(&mut section, guarantees)?;
    }
    for Drawn {
        name,
        title,
        figure,
    } in figures
    {
        section.heading(3, &title);
        context
            .run
            .figure(&mut section, name, &figure, &title, "")?;
    }
    if let Some(cases) = browsed {
        section.cases(cases);
    }
    section.paragraph(
        "The predicted masks of all test images, at the original image size, are in `masks/`; the results per image \
         are in `segmentation.csv`.",
    );
    if !context.settings.train.task().classifies() {
        limits(context, data, metrics, &mut section);
    }
    Ok(section)
}

/// For the terminal: "Dice 0.962 [0.958, 0.965], n = 624".
pub(super) fn headline(metrics: &SegmentationMetrics) -> String {
    let SegmentationEvaluation { mean_dice, n, .. } = &metrics.test;
    format!("Dice {}, n = {n}", or_dash(mean_dice.as_ref(), number))
}

fn judged(metrics: &SegmentationMetrics) -> String {
    let test = &metrics.test;
    let mut text = format!("Results on {}", count(test.n, "test image"));
    if let Some(patients) = test.groups.filter(|patients| *patients < test.n) {
        let patients = count(patients, "patient");
        text += &format!(" of {patients} (the intervals resample whole patients)");
    }
    text += match metrics.tiles {
        1 => ", each segmented as a whole and resized back to its own size.".into(),
        tiles => {
            format!(
                ", each segmented in up to {tiles} overlapping tiles that are blended with Gaussian weights."
            )
        }
    }
    .as_str();
    if metrics.without_mask > 0 {
        text += &format!(
            " {} without a usable mask could not be evaluated.",
            count(metrics.without_mask, "more image")
        );
    }
    text
}

fn comparison(metrics: &SegmentationMetrics) -> Result<Table> {
    let mut table = Table::new([
        ("", Align::Left),
        ("Dice", Align::Right),
        ("IoU", Align::Right),
        ("network's Dice minus this", Align::Right),
    ]);
    let mut row = |name: String, e: &SegmentationEvaluation, against: String| {
        let [dice, iou] = [&e.mean_dice, &e.mean_iou].map(|v| or_dash(v.as_ref(), number));
        table.row([name, dice, iou, against]).map(drop)
    };
    row("network".into(), &metrics.test, String::new())?;
    for (name, baseline) in baselines(metrics) {
        let against = or_dash(baseline.against.dice.as_ref(), number);
        row(name, &baseline.test, against)?;
    }
    Ok(table)
}

fn baselines(metrics: &SegmentationMetrics) -> Vec<(String, &SegmentationBaseline)> {
    let otsu = metrics.baselines.otsu.as_ref().map(|otsu| {
        let side = if otsu.bright { "bright" } else { "dark" };
        let class = escape(&metrics.classes[1]);
        let name = format!("Otsu's threshold ({side} is {class})");
        (name, &otsu.baseline)
    });
    let mean = (
        "the mean of the training masks".into(),
        &metrics.baselines.mean_mask,
    );
    otsu.into_iter().chain([mean]).collect()
}

/// Whether the network beats the baselines, by the differences on the same images.
fn verdict(metrics: &SegmentationMetrics) -> String {
    let named = |is: fn(&Interval) -> bool| -> Vec<String> {
        let all = baselines(metrics).into_iter();
        let those = all.filter(|(_, baseline)| baseline.against.dice.as_ref().is_some_and(is));
        those.map(|(name, _)| name).collect()
    };
    let better_than = named(|d| d.low > 0.0);
    let worse_than = named(|d| d.high < 0.0);
    let unclear = named(|d| d.low <= 0.0 && d.high >= 0.0);
    let mut text = String::from("The differences are over the same resamples of the test images.");
    if !better_than.is_empty() {
        text += &format!(" The network is better than {}.", better_than.join(" and "));
    }
    if !unclear.is_empty() {
        text += &format!(
            " On this many images it is not shown to be better than {}.",
            unclear.join(" and ")
        );
    }
    if !worse_than.is_empty() {
        text += &format!(
            " It is **worse** than {}: train longer, or check the augmentation and the learning rate.",
            worse_than.join(" and ")
        );
    }
    text
}

fn classes(evaluation: &SegmentationEvaluation) -> Result<Table> {
    let measured = evaluation
        .classes
        .iter()
        .any(|class| class.hd95_mm.is_some());
    let mut figures = vec!["n", "Dice", "IoU", "precision", "recall", "HD95"];
    figures.extend(measured.then_some("HD95, mm"));
    figures.extend(["pooled Dice", "FN images", "FP images"]);
    let figures = figures.into_iter().map(|name| (name, Align::Right));
    let mut table = Table::new([("class", Align::Left)].into_iter().chain(figures));
    for class in &evaluation.classes {
        table.row(cells(class, measured))?;
    }
    Ok(table)
}

fn cells(class: &ClassSegmentation, measured: bool) -> Vec<String> {
    let spread = |spread: Option<Spread>| or_dash(spread, |spread| spread.to_string());
    let distance = |mean: Option<Interval>, digits| {
        or_dash(mean, |d| {
            format::interval(d.estimate, (d.low, d.high), digits)
        })
    };
    let mut cells = vec![
        escape(&class.name),
        class.n.to_string(),
        or_dash(class.mean_dice.as_ref(), number),
        or_dash(class.mean_iou.as_ref(), number),
        spread(class.precision),
        spread(class.recall),
        distance(class.mean_hd95, 1),
    ];
    cells.extend(measured.then(|| distance(class.mean_hd95_mm, 2)));
    cells.extend([
        or_dash(class.pooled.dice, |dice| format::fixed(dice, 3)),
        class.false_negatives.to_string(),
        class.false_positives.to_string(),
    ]);
    cells
}

/// What millimetres mean, where images state the distance between their pixels.
fn millimetres(data: &Data, images: &[JudgedImage]) -> Option<String> {
    let rows = images.iter().map(|image| &data.manifest.rows()[image.row]);
    let spacings: Vec<PixelSpacing> = rows.filter_map(|record| record.spacing).collect();
    if spacings.is_empty() {
        return None;
    }
    let mut text = match spacings.len() == images.len() {
        true => "Millimetres are by the pixel spacing in the images' headers.".to_owned(),
        false => format!(
            "Millimetres are by the pixel spacing in the images' headers, and only of the {} of {} that state it.",
            spacings.len(),
            count(images.len(), "image")
        ),
    };
    if spacings
        .iter()
        .any(|spacing| spacing.at == SpacingAt::Detector)
    {
        text += " Of projections it is that of the detector, where structures appear larger than they are in the body.";
    }
    Some(text)
}

/// The limits of the results, for runs without the classifier's section, which states them as well.
fn limits(
    context: &Context<'_>,
    data: &Data,
    metrics: &SegmentationMetrics,
    section: &mut Document,
) {
    section.heading(3, "What these results show and do not show");
    let mut points = vec![];
    if metrics.phantom {
        points.push(
            "The images are phantoms: the results show that the pipeline works, and nothing about any disease.".into(),
        );
    } else {
        points.push(
            "One data set represents the devices, people and practices of the site that it comes from. Nothing here \
             shows that the results hold at other sites."
                .into(),
        );
    }
    points.push(
        "The ground truth was drawn by a person, or proposed by a program and accepted by a person. Two people who \
         outline the same structure differ too; a Dice above their agreement is not meaningful."
            .into(),
    );
    if !data.manifest.bad_images().is_empty() {
        points.push(format!(
            "Unusable and excluded from all results: {}.",
            count(data.manifest.bad_images().len(), "file")
        ));
    }
    points.push(
        "This is not a medical device. No decision about a patient may be based on it.".into(),
    );
    points.extend(context.settings.notes.iter().cloned());
    section.list(points);
}

/// `segmentation.csv`: one line per image.
pub(super) fn per_image(
    data: &Data,
    metrics: &SegmentationMetrics,
    images: &[JudgedImage],
) -> String {
    let mut text = String::from("path,patient,dice");
    for class in &metrics.classes {
        for figure in ["dice", "iou", "precision", "recall", "hd95"] {
            text += &format!(",{}", csv(&format!("{figure}_{class}")));
        }
    }
    let measured = images.iter().any(|image| {
        let record = &data.manifest.rows()[image.row];
        record.spacing.is_some()
    });
    if measured {
        for class in &metrics.classes {
            for figure in ["hd95_mm", "area_mm2", "true_area_mm2"] {
                text += &format!(",{}", csv(&format!("{figure}_{class}")));
            }
        }
    }
    text.push('\n');
    for image in images {
        let record = &data.manifest.rows()[image.row];
        text += &format!(
            "{},{},{}",
            csv(&record.path),
            csv(&record.patient),
            cell(dice(&image.scores))
        );
        for class in &image.scores.classes {
            let s = &class.scores;
            text += &format!(
                ",{},{},{},{},{}",
                cell(s.dice),
                cell(s.iou),
                cell(s.precision),
                cell(s.recall),
                distance(class.hd95)
            );
        }
        if measured {
            text += &in_millimetres(image, record.spacing);
        }
        text.push('\n');
    }
    text
}

/// For each class the distance, and the predicted and the true area; empty cells without a spacing.
fn in_millimetres(image: &JudgedImage, spacing: Option<PixelSpacing>) -> String {
    let confusion = &image.scores.confusion;
    let areas = [confusion.predicted(), confusion.support()];
    let mut text = String::new();
    for (class, scores) in image.scores.classes.iter().enumerate() {
        text += &format!(",{}", scores.hd95_mm.map(distance).unwrap_or_default());
        for pixels in &areas {
            let area = spacing.map(|spacing| pixels[class] as f64 * spacing.pixel_mm2());
            text += &format!(
                ",{}",
                area.map_or_else(String::new, |area| format!("{area:.3}"))
            );
        }
    }
    text
}

/// Empty where there is no value.
fn cell(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.6}"))
}

fn distance(distance: SurfaceDistance) -> String {
    match distance {
        SurfaceDistance::Between(distance) => format!("{distance:.3}"),
        SurfaceDistance::BothEmpty => String::new(),
        SurfaceDistance::FalseNegative { .. } => "false negative".into(),
        SurfaceDistance::FalsePositive { .. } => "false positive".into(),
    }
}
