//! Reads a finished run and its predictions for the test images.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use dataset::Split;
use metrics::{EvaluationSettings, Predictions};
use pipeline::outputs::{self, Csv, Prediction};
use pipeline::stages::Metrics;
use pipeline::{RESOLVED, RunDir};

/// A run, its metrics, and its predictions for the test images, sorted by path.
#[derive(Debug)]
pub(super) struct ComparedRun {
    pub(super) folder: PathBuf,
    pub(super) metrics: Metrics,
    pub(super) images: Vec<TestImage>,
    pub(super) labels: Vec<usize>,
    /// `[n, classes]`.
    pub(super) logits: Vec<f64>,
    /// Calibrated, `[n, classes]`.
    pub(super) probabilities: Vec<f64>,
    /// A number per patient.
    pub(super) patients: Vec<usize>,
    /// The settings by dotted key.
    pub(super) settings: BTreeMap<String, String>,
}

/// What identifies a test image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TestImage {
    pub(super) path: String,
    pub(super) class: String,
    pub(super) patient: String,
    /// SHA-256 of the file.
    pub(super) content: String,
}

impl ComparedRun {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let run = RunDir::open(path)?;
        let metrics: Metrics = run.read_json("metrics.json").with_context(|| {
            format!(
                "{} cannot be compared: it needs the results of the stage \"evaluate\"",
                run.path().display()
            )
        })?;
        let contents = contents(&run.file("manifest.csv"))?;
        let rows = outputs::predictions(&run, Split::Test, &metrics.classes)?;
        if rows.is_empty() {
            bail!(
                "{} has no test images",
                run.file("predictions.csv").display()
            );
        }
        let image = |row| Ok((identified(&row, &metrics.classes, &contents)?, row));
        let rows = rows.into_iter().map(image);
        let mut rows = rows.collect::<Result<Vec<(TestImage, Prediction)>>>()?;
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let (images, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let scaling = metrics.calibration.scaling()?;
        Ok(Self {
            folder: run.path().to_owned(),
            patients: outputs::patients(&rows),
            labels: rows.iter().map(|row| row.label).collect(),
            probabilities: rows
                .iter()
                .flat_map(|row| scaling.probabilities(&row.logits))
                .collect(),
            logits: rows.iter().flat_map(|row| row.logits.clone()).collect(),
            settings: settings(&run.file(RESOLVED))?,
            images,
            metrics,
        })
    }

    /// `pipeline/time`, the end of the folder's path.
    pub(super) fn name(&self) -> String {
        let names: Vec<_> = self.folder.iter().rev().take(2).collect();
        let names = names.iter().rev().map(|name| name.to_string_lossy());
        names.collect::<Vec<_>>().join("/")
    }

    pub(super) fn predictions(&self) -> Predictions<'_, String> {
        Predictions {
            class_names: &self.metrics.classes,
            labels: &self.labels,
            logits: &self.logits,
            probabilities: &self.probabilities,
            groups: Some(&self.patients),
        }
    }

    pub(super) fn judged_by(&self) -> EvaluationSettings {
        self.metrics.test.settings
    }

    /// The predicted class of each image.
    pub(super) fn decisions(&self) -> Vec<usize> {
        let classes = self.metrics.classes.len();
        let rule = self.judged_by().rule(classes);
        let rows = self.logits.chunks(classes);
        let rows = rows.zip(self.probabilities.chunks(classes));
        rows.map(|(z, p)| rule.decide(z, p)).collect()
    }

    /// Whether each image is classified correctly.
    pub(super) fn correct(&self) -> Vec<bool> {
        let decisions = self.decisions();
        let pairs = decisions.iter().zip(&self.labels);
        pairs.map(|(decision, label)| decision == label).collect()
    }
}

/// A prediction with the content of its image's file.
fn identified(
    prediction: &Prediction,
    classes: &[String],
    contents: &BTreeMap<String, String>,
) -> Result<TestImage> {
    let content = contents.get(&prediction.path);
    let content = content.ok_or_else(|| anyhow!("{} is not in manifest.csv", prediction.path))?;
    Ok(TestImage {
        content: content.clone(),
        path: prediction.path.clone(),
        class: classes[prediction.label].clone(),
        patient: prediction.patient.clone(),
    })
}

/// SHA-256 of each image file by its path in the data folder.
fn contents(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut contents = BTreeMap::new();
    Csv::open(path)?.each(|line| {
        contents.insert(
            line.field("path")?.to_owned(),
            line.field("sha256")?.to_owned(),
        );
        Ok(())
    })?;
    Ok(contents)
}

/// `resolved.toml` as dotted keys and values.
fn settings(path: &Path) -> Result<BTreeMap<String, String>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let tree: toml::Table =
        toml::from_str(&text).with_context(|| format!("{} is not valid TOML", path.display()))?;
    let mut flat = BTreeMap::new();
    flatten("", &toml::Value::Table(tree), &mut flat);
    Ok(flat)
}

fn flatten(key: &str, value: &toml::Value, flat: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let inner = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                flatten(&inner, value, flat);
            }
        }
        _ => {
            flat.insert(key.to_owned(), value.to_string());
        }
    }
}
