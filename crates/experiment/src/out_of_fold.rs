//! Out-of-fold predictions: each training image as predicted by the network that did not see it in training.

use anyhow::{Context as _, Result};
use dataset::Split;
use metrics::{Interval, Predictions, Scaling, evaluate};
use pipeline::OwnRun;
use pipeline::outputs::{self, Prediction};
use serde::{Deserialize, Serialize};
use settings::Experiment;

use crate::finished::FinishedRun;

/// The out-of-fold predictions of one setting and seed together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutOfFold {
    /// Number of the setting, from 1.
    pub setting: usize,
    /// The seed.
    pub seed: u64,
    /// Number of patients, which the bootstrap draws.
    pub patients: usize,
    /// AUC of the uncalibrated scores of all folds together (with more than two classes, the one-vs-rest macro average),
    /// with a percentile bootstrap over patients.
    pub auc: Interval,
}

/// A prediction, its calibrated probabilities and its fold.
pub(crate) struct Row {
    pub(crate) fold: usize,
    pub(crate) prediction: Prediction,
    pub(crate) probabilities: Vec<f64>,
}

/// Writes `out_of_fold.csv` and evaluates each setting and seed.
pub(crate) fn write(
    own: &OwnRun,
    experiment: &Experiment,
    runs: &[FinishedRun],
) -> Result<Vec<OutOfFold>> {
    let mut csv = csv::Writer::from_writer(vec![]);
    let mut found = vec![];
    for (i, folds) in runs
        .chunk_by(|a, b| (a.setting, a.seed) == (b.setting, b.seed))
        .enumerate()
    {
        let [first, ..] = folds else { continue };
        if i == 0 {
            csv.write_record(header(&first.metrics.classes))?;
        }
        let rows = rows(folds)?;
        for row in &rows {
            csv.write_record(record(experiment, first, row))?;
        }
        found.push(judge(first, &rows)?);
    }
    let bytes = csv.into_inner().context("writing out_of_fold.csv")?;
    own.write("out_of_fold.csv", &bytes)?;
    Ok(found)
}

/// The validation images of all folds, by path.
pub(crate) fn rows(folds: &[FinishedRun]) -> Result<Vec<Row>> {
    let mut rows = vec![];
    for run in folds {
        let scaling: Scaling = run.metrics.calibration.scaling()?;
        let row = |prediction: Prediction| Row {
            fold: run.fold.unwrap_or_default(),
            probabilities: scaling.probabilities(&prediction.logits),
            prediction,
        };
        rows.extend(run.predictions(Split::Val)?.into_iter().map(row));
    }
    rows.sort_by(|a, b| a.prediction.path.cmp(&b.prediction.path));
    Ok(rows)
}

fn header(classes: &[String]) -> Vec<String> {
    let first = ["setting", "seed", "fold", "path", "patient", "class"].map(str::to_owned);
    let of = |kind: &'static str| classes.iter().map(move |class| format!("{kind}_{class}"));
    first
        .into_iter()
        .chain(of("p"))
        .chain(of("score"))
        .collect()
}

/// The columns of `predictions.csv`, with the same digits.
fn record(experiment: &Experiment, run: &FinishedRun, row: &Row) -> Vec<String> {
    let Prediction {
        path,
        patient,
        label,
        logits,
    } = &row.prediction;
    let setting = match experiment.grid.is_empty() {
        true => String::new(),
        false => (run.setting + 1).to_string(),
    };
    let mut record = vec![
        setting,
        run.seed.to_string(),
        row.fold.to_string(),
        path.clone(),
        patient.clone(),
        run.metrics.classes[*label].clone(),
    ];
    record.extend(row.probabilities.iter().map(|p| format!("{p:.6}")));
    record.extend(logits.iter().map(|z| (*z as f32).to_string()));
    record
}

fn judge(run: &FinishedRun, rows: &[Row]) -> Result<OutOfFold> {
    let predictions: Vec<Prediction> = rows.iter().map(|row| row.prediction.clone()).collect();
    let patients = outputs::patients(&predictions);
    let labels: Vec<usize> = predictions.iter().map(|p| p.label).collect();
    let logits: Vec<f64> = predictions.iter().flat_map(|p| p.logits.clone()).collect();
    let probabilities: Vec<f64> = rows.iter().flat_map(|r| r.probabilities.clone()).collect();
    let all = Predictions {
        class_names: &run.metrics.classes,
        labels: &labels,
        logits: &logits,
        probabilities: &probabilities,
        groups: Some(&patients),
    };
    let (evaluation, _) = evaluate(&all, &run.metrics.validation.settings)
        .with_context(|| format!("out-of-fold predictions of {}", run.name))?;
    Ok(OutOfFold {
        setting: run.setting + 1,
        seed: run.seed,
        patients: evaluation.groups.unwrap_or(evaluation.n),
        auc: evaluation
            .auc
            .context("out-of-fold predictions lack a class")?,
    })
}
