//! Evaluates a classifier: threshold and calibration are chosen on validation, results are measured on test, next to
//! its baselines.

mod baselines;
mod benefit;
mod judge;
mod operating;
mod prior;
mod section;
mod sets;
mod shifts;
mod subgroups;

use anyhow::Result;
use augment::{AugmentConfig, Augmenter};
use dataset::Split;
use formats::checkpoint::Checkpoint;
use inference::Bundle;

use super::index::csv;
use super::train::transform;
use crate::context::{Context, Data};
use crate::scored::{Pass, Scored};
use crate::scoring;

pub use benefit::{AtPrevalence, Benefit};
pub use judge::{Baselines, Calibration, Chosen, FrozenEncoder, Metrics, Rule};
pub use operating::Operating;
pub use prior::PriorShiftOnTest;
pub use sets::{Accepted, Sets};
pub use shifts::Shifted;
pub(super) use subgroups::worst as worst_subgroup;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let path = context.run.file(crate::MODEL);
    let trained = scoring::trained(context)?;
    let val = scored(context, &data, &trained, Split::Val, None)?;
    let shifted = shifted(context, &data, &trained)?;
    let test = scored(context, &data, &trained, Split::Test, None)?;
    let baselines = baselines::fit(context, &data)?;
    let judged = judge::judge(context.settings, &data, [&val, &test], &shifted, &baselines)?;
    context.run.write(
        "predictions.csv",
        predictions(&data, &judged, [&val, &test]).as_bytes(),
    )?;
    let mut checkpoint = Checkpoint::load(&path)?;
    checkpoint.meta.decision = Some(judged.metrics.decision());
    checkpoint.save(&path)?;
    context.run.write_json("metrics.json", &judged.metrics)?;
    context.progress.say(format!(
        "  test: {}",
        crate::results::headline(&judged.metrics.test)
    ));
    context.section("evaluate", &section::write(context, &data, &judged)?)
}

/// The outputs on the validation images under each shift of the settings, with its name.
fn shifted(context: &Context<'_>, data: &Data, trained: &Bundle) -> Result<Vec<(String, Scored)>> {
    let mut all = vec![];
    for (name, shift) in &context.settings.evaluate.shifts {
        let scored = scored(context, data, trained, Split::Val, Some((name, shift)))?;
        all.push((name.clone(), scored));
    }
    Ok(all)
}

fn scored(
    context: &Context<'_>,
    data: &Data,
    trained: &Bundle,
    split: Split,
    shift: Option<(&str, &AugmentConfig)>,
) -> Result<Scored> {
    let mut pass = Pass {
        words: format!("inference, {split}"),
        rows: data.splits.rows(split).to_vec(),
        transform: None,
        features: None,
    };
    if let Some((name, shift)) = shift {
        pass.transform = Some(transform(Augmenter::new(shift)?));
        pass.words += &format!(", {name}");
    }
    Scored::of(context, data, trained, pass)
}

fn predictions(data: &Data, judged: &judge::Judged, splits: [&Scored; 2]) -> String {
    let classes = data.manifest.classes();
    let mut text = String::from("split,path,patient,class,predicted,correct");
    classes
        .iter()
        .for_each(|c| text += &format!(",{}", csv(&format!("p_{c}"))));
    classes
        .iter()
        .for_each(|c| text += &format!(",{}", csv(&format!("score_{c}"))));
    text.push('\n');
    for ((name, scored), p) in ["val", "test"]
        .into_iter()
        .zip(splits)
        .zip(&judged.probabilities)
    {
        let per_image = scored
            .rows
            .iter()
            .zip(&scored.labels)
            .zip(p.chunks(classes.len()))
            .zip(scored.logits.chunks(classes.len()));
        for (((row, label), p), scores) in per_image {
            let record = &data.manifest.rows()[*row];
            let predicted = judged.rule.decide(scores, p);
            text += &format!(
                "{name},{},{},{},{},{}",
                csv(&record.path),
                csv(&record.patient),
                csv(&classes[*label]),
                csv(&classes[predicted]),
                predicted == *label
            );
            p.iter().for_each(|p| text += &format!(",{p:.6}"));
            // Scores are f32 values, which are shorter when written as f32.
            scores
                .iter()
                .for_each(|s| text += &format!(",{}", *s as f32));
            text.push('\n');
        }
    }
    text
}
