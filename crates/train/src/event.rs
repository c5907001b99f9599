//! Inputs and outputs of a run: batches, events, records.

use std::collections::BTreeMap;
use std::fmt;

use model::graph::Nhwc;
use serde::{Deserialize, Deserializer, Serialize};

use super::loss::Targets;
use super::map_loss::Masks;

/// Any error from the code that builds the batches.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A batch of images with their ground truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalized pixels, NHWC.
    pub images: Vec<f32>,
    /// Class number per image; may be empty when training with masks only.
    pub labels: Vec<usize>,
    /// How the images of a training batch are mixed, if mixup or cutmix is on; then in every batch.
    pub mixed: Option<Mixed>,
    /// `n·h·w` values of 0 or 1, or class numbers for losses over all classes; NaN marks pixels (or whole images)
    /// whose truth is unknown.
    pub masks: Option<Vec<f32>>,
    /// `n·h·w` weights of the pixel losses, such as U-Net's border weights; `None` for 1 everywhere.
    pub pixel_weights: Option<Vec<f32>>,
    /// Rows and columns of the masks if they differ from the images': for networks without padding, the central part.
    pub mask_size: Option<(usize, usize)>,
    /// Shape of `images`.
    pub shape: Nhwc,
    /// Name used in messages, such as the file names of its images.
    pub name: String,
}

/// The mixing of a batch's images (mixup, cutmix).
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// Class number of each image's partner.
    pub partners: Vec<usize>,
    /// The own label's share of each image's target, from 0 to 1; the rest is its partner's. 1 if this batch is not
    /// mixed.
    pub share: f32,
}

impl Batch {
    /// The images' classes.
    pub fn targets(&self) -> Targets<'_> {
        match &self.mixed {
            None => Targets::Labels(&self.labels),
            Some(Mixed { partners, share }) => Targets::Mixed {
                labels: &self.labels,
                partners,
                share: *share,
            },
        }
    }

    /// The masks and pixel weights, if there are masks.
    pub fn masks(&self) -> Option<Masks<'_>> {
        self.masks.as_ref().map(|values| Masks {
            values,
            weights: self.pixel_weights.as_deref(),
            size: self.mask_size.unwrap_or((self.shape.h, self.shape.w)),
        })
    }
}

/// Batches in order; loading each of them may fail.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Batch, BoxError>> + 'a>;

/// Source of batches. The same epoch must always yield the same batches: a resumed run relies on it.
///
/// With `train.chunks` above 1 and with several processes, [`Data::train`] yields the chunks of this process instead of
/// whole batches, in order, and [`Data::validation`] every batch whose number, counted from 0, leaves the process's rank
/// as the remainder of a division by their number.
pub trait Data {
    /// The training batches of an epoch (from 1).
    fn train(&mut self, epoch: usize) -> Batches<'_>;
    /// The validation batches.
    fn validation(&mut self) -> Batches<'_>;
    /// Number of training batches in an epoch, over all processes.
    fn train_batches(&self) -> usize;
    /// Number of validation batches, over all processes; 0 for none.
    fn validation_batches(&self) -> usize;
    /// Number of images of a training batch, counted from 0, over all processes: a batch with fewer images than
    /// chunks lacks some. Where batches are not cut, any number above 0 will do.
    fn train_images(&self, _batch: usize) -> usize {
        1
    }
}

/// Receives a run's progress, and may end the run.
pub trait Observer {
    /// Called before the first epoch, with those that an earlier process has trained.
    fn begun(&mut self, _earlier: &[EpochRecord]) {}
    /// Called after each batch.
    fn batch(&mut self, _event: &BatchEvent) {}
    /// Called after each epoch, once its checkpoints are on disk.
    fn epoch(&mut self, _record: &EpochRecord) {}
    /// Called before each batch; `true` ends the run with the last epoch's checkpoint (Ctrl-C).
    fn interrupted(&self) -> bool {
        false
    }
}

/// Ignores all events.
impl Observer for () {}

/// Training or validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Weights change.
    Train,
    /// Weights do not change.
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

/// A completed batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchEvent {
    /// Training or validation.
    pub phase: Phase,
    /// From 1.
    pub epoch: usize,
    /// From 1.
    pub batch: usize,
    /// Number of batches in this phase.
    pub batches: usize,
    /// Images processed so far in this phase.
    pub images: usize,
    /// Mean class loss of this phase so far; the map's loss when training with masks only.
    pub loss: f64,
    /// Accuracy of this phase so far; NaN when training with masks only.
    pub accuracy: f64,
    /// Mean Dice of this phase so far ([`PhaseRecord::dice`]).
    pub dice: Option<f64>,
    /// Learning rate of the last step.
    pub lr: f64,
}

/// A metric computed from all validation scores (area under the ROC curve …).
pub struct Metric<'a> {
    /// Name; recorded with the prefix `val_`.
    pub name: &'a str,
    /// Whether higher is better.
    pub rises: bool,
    /// Computes the metric from class scores before softmax, `[n, classes]`, and labels `[n]`; NaN where it is
    /// undefined. Scores rather than probabilities, because the probabilities of large scores round to ties.
    pub compute: &'a dyn Fn(&[f32], &[usize]) -> f64,
}

/// Losses and metrics of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// On the training batches, measured during the epoch (weighted and smoothed as configured).
    pub train: PhaseRecord,
    /// On the validation batches after the epoch: plain cross-entropy, with all images weighted equally.
    pub validation: Option<PhaseRecord>,
    /// Additional metrics on the validation images, by name.
    #[serde(deserialize_with = "with_nan")]
    pub metrics: BTreeMap<String, f64>,
    /// Mean norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Duration of training and validation.
    pub seconds: f64,
    /// Training throughput.
    pub images_per_second: f64,
    /// Seconds that training spent waiting for the next batch: what faster loading could save.
    #[serde(default)]
    pub waited: f64,
    /// Seconds that training spent waiting for other processes to compute their chunks.
    #[serde(default)]
    pub met: f64,
    /// Seconds that training spent adding up the chunks' gradients, on this process and between processes.
    #[serde(default)]
    pub summed: f64,
}

/// Means over the images of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Class loss; the map's loss when training with masks only.
    #[serde(deserialize_with = "nan")]
    pub loss: f64,
    /// Accuracy; NaN when training with masks only.
    #[serde(deserialize_with = "nan")]
    pub accuracy: f64,
    /// Loss of the class map against masks, if there are any.
    pub map_loss: Option<f64>,
    /// In validation, the mean Dice over the images that have foreground in truth or prediction, counting known pixels
    /// only: of the marked class's mask (softmax at least ½), or, where masks contain class numbers, the mean over the
    /// classes from 1 on that occur in the image's truth or prediction.
    #[serde(default)]
    pub dice: Option<f64>,
}

impl EpochRecord {
    /// Returns a recorded value by name: `loss`, `accuracy`, `map_loss`, the same with the prefix `val_`, `val_dice`,
    /// `val_<metric>`; `None` if this run does not record it.
    pub fn value(&self, name: &str) -> Option<f64> {
        match name.strip_prefix("val_") {
            None => self.train.value(name),
            Some(name) => match self.validation.and_then(|v| v.value(name)) {
                Some(value) => Some(value),
                None => self.metrics.get(name).copied(),
            },
        }
    }

    /// All recorded values by name.
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
