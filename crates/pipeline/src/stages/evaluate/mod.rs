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

use anyhow::Result;
use augment::{AugmentConfig, Augmenter};
use dataset::{Manifest, Split};
use formats::checkpoint::Checkpoint;
use inference::Bundle;

use super::index::csv;
use super::train::transform;
use crate::context::{Context, Data};
use crate::scoring;

pub use benefit::{AtPrevalence, Benefit};
pub use judge::{Baselines, Calibration, Chosen, FrozenEncoder, Metrics, Rule};
pub use operating::Operating;
pub use prior::PriorShiftOnTest;
pub use sets::{Accepted, Sets};
pub use shifts::Shifted;

/// A classifier's outputs on the images of one split.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scored {
    /// Rows of the manifest.
    pub(crate) rows: Vec<usize>,
    /// True classes.
    pub(crate) labels: Vec<usize>,
    /// Class scores before softmax, `[n, classes]`.
    pub(crate) logits: Vec<f64>,
    /// Patient id of each image: the bootstrap resamples whole patients.
    pub(crate) patients: Vec<usize>,
}

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
fn shifted(
    context: &mut Context<'_>,
    data: &Data,
    trained: &Bundle,
) -> Result<Vec<(String, Scored)>> {
    let mut all = vec![];
    for (name, shift) in &context.settings.evaluate.shifts {
        let scored = scored(context, data, trained, Split::Val, Some((name, shift)))?;
        all.push((name.clone(), scored));
    }
    Ok(all)
}

fn scored(
    context: &mut Context<'_>,
    data: &Data,
    trained: &Bundle,
    split: Split,
    shift: Option<(&str, &AugmentConfig)>,
) -> Result<Scored> {
    let rows = data.splits.rows(split).to_vec();
    let mut loader = context.loader(rows)?;
    let mut words = format!("inference, {split}");
    if let Some((name, shift)) = shift {
        loader = loader.with_transform(transform(Augmenter::new(shift)?));
        words += &format!(", {name}");
    }
    let job = context.progress.job(&words, "images", loader.len() as u64);
    let mut scored = Scored::default();
    scoring::each(
        trained,
        &loader,
        false,
        (&job, context.interrupt),
        |batch, scores| {
            scored.rows.extend(&batch.rows);
            scored.labels.extend(&batch.labels);
            scored
                .logits
                .extend(scores.logits.iter().map(|z| f64::from(*z)));
            Ok(())
        },
    )?;
    scored.patients = patient_ids(&data.manifest, &scored.rows);
    Ok(scored)
}

/// Numbers the patients of some rows in the order of their first image; one number per row.
pub fn patient_ids(manifest: &Manifest, rows: &[usize]) -> Vec<usize> {
    let mut known = std::collections::HashMap::new();
    let mut id = |row: &usize| {
        let next = known.len();
        *known
            .entry(manifest.rows()[*row].patient.as_str())
            .or_insert(next)
    };
    rows.iter().map(&mut id).collect()
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
            let predicted = judged.rule.decide(scores);
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
