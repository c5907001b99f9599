//! What a run is to do, and how it went.

use super::TrainConfig;
use super::event::{EpochRecord, Metric};
use formats::checkpoint::{CheckpointDir, Meta};

/// What a run is to do.
#[derive(Clone)]
pub struct Job<'a> {
    /// Settings.
    pub config: &'a TrainConfig,
    /// Where dropout and drop path are drawn from.
    pub seed: u64,
    /// One factor a class ([`ClassWeights::resolve`](super::loss::ClassWeights::resolve)); `None` for all alike.
    pub class_weights: Option<Vec<f32>>,
    /// Figures computed on the validation images besides loss and accuracy.
    pub metrics: &'a [Metric<'a>],
    /// Classes and preprocessing, which checkpoints carry; epoch and figures are filled in.
    pub meta: &'a Meta,
    /// Where checkpoints go.
    pub checkpoints: &'a CheckpointDir,
    /// Go on from the last checkpoint if there is one; else begin anew, and remove what lies there.
    pub resume: bool,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// All epochs, those before a resume included.
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
    /// The observer asked; the last complete epoch's checkpoint is kept.
    Interrupted,
}
