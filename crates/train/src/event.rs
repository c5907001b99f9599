//! What goes into a run and what comes out of it: batches, events, records.

use std::collections::BTreeMap;
use std::fmt;

use model::graph::Nhwc;
use serde::{Deserialize, Deserializer, Serialize};

use super::map_loss::Masks;

/// Any error of whoever makes the batches.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A batch of images with their truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalized pixels, NHWC.
    pub images: Vec<f32>,
    /// A class number for each image; may be empty where only masks teach.
    pub labels: Vec<usize>,
    /// `n·h·w` values of 0 or 1, or class numbers for losses over all classes; NaN marks pixels (or whole images) of
    /// unknown truth.
    pub masks: Option<Vec<f32>>,
    /// `n·h·w` factors of the pixels' losses, such as U-Net's border weights; `None` for 1 everywhere.
    pub pixel_weights: Option<Vec<f32>>,
    /// Rows and columns of the masks where they are not the images': the middle, for networks that do not pad.
    pub mask_size: Option<(usize, usize)>,
    /// Shape of `images`.
    pub shape: Nhwc,
    /// What messages call it, such as the names of its files.
    pub name: String,
}

impl Batch {
    /// What is known of its pixels.
    pub fn masks(&self) -> Option<Masks<'_>> {
        self.masks.as_ref().map(|values| Masks {
            values,
            weights: self.pixel_weights.as_deref(),
            size: self.mask_size.unwrap_or((self.shape.h, self.shape.w)),
        })
    }
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
    /// Mean class loss of this phase so far; the map's where only masks teach.
    pub loss: f64,
    /// Share of right answers of this phase so far; NaN where only masks teach.
    pub accuracy: f64,
    /// Mean Dice of this phase so far ([`PhaseRecord::dice`]).
    pub dice: Option<f64>,
    /// Learning rate of the last step.
    pub lr: f64,
}

/// A figure computed from all validation scores (area under the ROC curve …).
pub struct Metric<'a> {
    /// Name, recorded as `val_` and this.
    pub name: &'a str,
    /// Whether higher is better.
    pub rises: bool,
    /// From class scores before softmax, `[n, classes]`, and labels `[n]`; NaN where it is undefined. Probabilities would be
    /// ties where scores are large.
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
    /// Of training, the seconds in which the next batch was not ready: what faster reading would save.
    #[serde(default)]
    pub waited: f64,
}

/// Means over the images of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Class loss; the map's where only masks teach.
    #[serde(deserialize_with = "nan")]
    pub loss: f64,
    /// Share of right answers; NaN where only masks teach.
    #[serde(deserialize_with = "nan")]
    pub accuracy: f64,
    /// Loss of the class map against masks, where there are any.
    pub map_loss: Option<f64>,
    /// In validation, the mean Dice of the images that have a known pixel: of the marked class's mask (softmax at
    /// least ½), or, where masks hold class numbers, the mean over the classes from 1 on that the image's truth or
    /// prediction has. 1 where truth and prediction are both empty.
    #[serde(default)]
    pub dice: Option<f64>,
}

impl EpochRecord {
    /// A figure by name: `loss`, `accuracy`, `map_loss`, the same with `val_`, `val_dice`, `val_<metric>`; `None`
    /// for what this run does not record.
    pub fn value(&self, name: &str) -> Option<f64> {
        match name.strip_prefix("val_") {
            None => self.train.value(name),
            Some(name) => match self.validation.and_then(|v| v.value(name)) {
                Some(value) => Some(value),
                None => self.metrics.get(name).copied(),
            },
        }
    }

    /// All figures by name.
    pub fn values(&self) -> BTreeMap<String, f64> {
        let own = PhaseRecord::NAMES.into_iter().map(String::from);
        let validated = PhaseRecord::NAMES.into_iter().map(|n| format!("val_{n}"));
        let metrics = self.metrics.keys().map(|name| format!("val_{name}"));
        own.chain(validated)
            .chain(metrics)
            .filter_map(|name| Some((name.clone(), self.value(&name)?)))
            .collect()
    }
}

impl PhaseRecord {
    const NAMES: [&'static str; 4] = ["loss", "accuracy", "map_loss", "dice"];

    fn value(&self, name: &str) -> Option<f64> {
        match name {
            "loss" => Some(self.loss),
            "accuracy" => Some(self.accuracy).filter(|v| !v.is_nan()),
            "map_loss" => self.map_loss,
            "dice" => self.dice,
            _ => None,
        }
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
