//! What goes into a run and what comes out of it: batches, events, records.

use std::collections::BTreeMap;
use std::fmt;

use kernels::Nhwc;
use serde::{Deserialize, Deserializer, Serialize};

/// Any error of whoever makes the batches.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A batch of images with their truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalized pixels, NHWC.
    pub images: Vec<f32>,
    /// A class number for each image.
    pub labels: Vec<usize>,
    /// `n·h·w` values of 0 or 1; NaN marks pixels (or whole images) of unknown truth.
    pub masks: Option<Vec<f32>>,
    /// Shape of `images`.
    pub shape: Nhwc,
    /// What messages call it, such as the names of its files.
    pub name: String,
}

/// Batches in order, each of which may fail to load.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Batch, BoxError>> + 'a>;

/// Where batches come from. The same epoch must always give the same batches: a resumed run relies on it.
pub trait Data {
    /// The training batches of an epoch (from 1).
    fn train(&mut self, epoch: usize) -> Batches<'_>;
    /// The validation batches.
    fn validation(&mut self) -> Batches<'_>;
    /// How many batches [`Data::train`] gives.
    fn train_batches(&self) -> usize;
    /// How many batches [`Data::validation`] gives; 0 for none.
    fn validation_batches(&self) -> usize;
}

/// Hears of a run's progress, and may end it.
pub trait Observer {
    /// After each batch.
    fn batch(&mut self, _event: &BatchEvent) {}
    /// After each epoch, when its checkpoints are on the disk.
    fn epoch(&mut self, _record: &EpochRecord) {}
    /// Asked before each batch; `true` ends the run with the last epoch's checkpoint (Ctrl-C).
    fn interrupted(&self) -> bool {
        false
    }
}

/// Hears nothing.
impl Observer for () {}

/// Training or validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Weights change.
    Train,
    /// They do not.
    Validation,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Train => "training",
            Phase::Validation => "validation",
        })
    }
}

/// A batch that is done.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchEvent {
    /// Training or validation.
    pub phase: Phase,
    /// From 1.
    pub epoch: usize,
    /// From 1.
    pub batch: usize,
    /// Batches of this phase.
    pub batches: usize,
    /// Images done in this phase.
    pub images: usize,
    /// Mean class loss of this phase so far.
    pub loss: f64,
    /// Share of right answers of this phase so far.
    pub accuracy: f64,
    /// Learning rate of the last step.
    pub lr: f64,
}

/// A figure computed from all validation probabilities (area under the ROC curve …).
pub struct Metric<'a> {
    /// Name, recorded as `val_` and this.
    pub name: &'a str,
    /// Whether higher is better.
    pub rises: bool,
    /// From probabilities `[n, classes]` and labels `[n]`; NaN where it is undefined.
    pub compute: &'a dyn Fn(&[f32], &[usize]) -> f64,
}

/// An epoch's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of its last step.
    pub lr: f64,
    /// On the training batches, as they were during the epoch (weighted and smoothed as configured).
    pub train: PhaseRecord,
    /// On the validation batches after it: plain cross-entropy, every image counting alike.
    pub validation: Option<PhaseRecord>,
    /// Further figures on the validation images, by name.
    #[serde(deserialize_with = "with_nan")]
    pub metrics: BTreeMap<String, f64>,
    /// Mean norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Duration of training and validation.
    pub seconds: f64,
    /// Training throughput.
    pub images_per_second: f64,
}

/// Means over the images of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Class loss.
    #[serde(deserialize_with = "nan")]
    pub loss: f64,
    /// Share of right answers.
    #[serde(deserialize_with = "nan")]
    pub accuracy: f64,
    /// Loss of the class map against masks, where there are any.
    pub map_loss: Option<f64>,
}

impl EpochRecord {
    /// A figure by name: `loss`, `accuracy`, `val_loss`, `val_accuracy`, `val_<metric>`.
    pub fn value(&self, name: &str) -> Option<f64> {
        match name {
            "loss" => Some(self.train.loss),
            "accuracy" => Some(self.train.accuracy),
            "val_loss" => self.validation.map(|v| v.loss),
            "val_accuracy" => self.validation.map(|v| v.accuracy),
            _ => self.metrics.get(name.strip_prefix("val_")?).copied(),
        }
    }

    /// All figures by name.
    pub fn values(&self) -> BTreeMap<String, f64> {
        let names = ["loss", "accuracy", "val_loss", "val_accuracy"]
            .map(String::from)
            .into_iter();
        let metrics = self.metrics.keys().map(|name| format!("val_{name}"));
        names
            .chain(metrics)
            .filter_map(|name| Some((name.clone(), self.value(&name)?)))
            .collect()
    }
}

/// JSON writes NaN as null.
fn nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn with_nan<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let values: BTreeMap<String, Option<f64>> = BTreeMap::deserialize(from)?;
    Ok(values
        .into_iter()
        .map(|(k, v)| (k, v.unwrap_or(f64::NAN)))
        .collect())
}
