//! The inputs of a run, and its outcome.

use collective::Collective;

use super::TrainConfig;
use super::event::{EpochRecord, Metric};
use formats::checkpoint::{CheckpointDir, Meta};

/// The inputs of a run besides the network and the data.
#[derive(Clone)]
pub struct Job<'a> {
    /// Settings.
    pub config: &'a TrainConfig,
    /// Seed of dropout and drop path.
    pub seed: u64,
    /// One weight per class ([`ClassWeights::resolve`](super::loss::ClassWeights::resolve)); `None` for equal weights.
    pub class_weights: Option<Vec<f32>>,
    /// Metrics computed on the validation images in addition to loss and accuracy.
    pub metrics: &'a [Metric<'a>],
    /// Metadata for checkpoints: classes and preprocessing; epoch and metrics are filled in by the run.
    pub meta: &'a Meta,
    /// Directory for checkpoints.
    pub checkpoints: &'a CheckpointDir,
    /// Whether to resume from the last checkpoint if there is one; otherwise the run starts over and removes existing
    /// checkpoints.
    pub resume: bool,
    /// The processes that train together ([`collective::Alone`] for one). All have equal jobs, networks and data, and end
    /// with equal weights; that of rank 0 alone writes checkpoints, which all must be able to read.
    pub processes: &'a dyn Collective,
}

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// All epochs, including those before a resume.
    pub history: Vec<EpochRecord>,
    /// The epoch in `best.safetensors`, from 1; `None` before the first is complete.
    pub best_epoch: Option<usize>,
    /// Why it ended.
    pub stopped: Stopped,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All epochs done.
    Completed,
    /// No improvement for too long.
    EarlyStopped,
    /// The observer interrupted it; the last complete epoch's checkpoint is kept.
    Interrupted,
}
