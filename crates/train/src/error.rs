//! What can end a run; every text says where and what to do.

use super::event::{BoxError, Phase};
use super::loss::LossError;
use formats::checkpoint::CheckpointError;
use model::network::NetworkError;

/// Why a run could not begin or go on. The last epoch's checkpoint stays in all cases.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An impossible setting.
    #[error("train.{key} must be {must}")]
    Config {
        /// Key under `[train]`.
        key: String,
        /// What it must be.
        must: &'static str,
    },
    /// A figure that no epoch has.
    #[error("train.{key} = \"{name}\" is not recorded in this run; there are: {known}")]
    Monitor {
        /// Key under `[train]`.
        key: &'static str,
        /// Name asked for.
        name: String,
        /// Names there are.
        known: String,
    },
    /// Classes and network differ.
    #[error("the network scores {scores} classes, but the data have {classes}")]
    Classes {
        /// Of the network.
        scores: usize,
        /// Of the data.
        classes: usize,
    },
    /// No training images.
    #[error("there is no training batch in epoch {epoch}: are all images unreadable or left out?")]
    Empty {
        /// From 1.
        epoch: usize,
    },
    /// A batch could not be loaded.
    #[error("{phase} batch {batch} of epoch {epoch} could not be loaded: {source}")]
    Data {
        /// Training or validation.
        phase: Phase,
        /// From 1.
        epoch: usize,
        /// From 1.
        batch: usize,
        /// Cause.
        source: BoxError,
    },
    /// A batch that the network or the loss cannot take.
    #[error("{phase} batch {batch} of epoch {epoch} ({name}): {source}")]
    Batch {
        /// Training or validation.
        phase: Phase,
        /// From 1.
        epoch: usize,
        /// From 1.
        batch: usize,
        /// What the batch is called.
        name: String,
        /// Cause.
        source: Box<BatchError>,
    },
    /// The loss or its gradient is no number any more.
    #[error(
        "the {what} is {value} in batch {batch} of epoch {epoch} ({name}); the weights were not changed by it and the last \
         epoch's checkpoint is kept. Try a lower train.optimizer.lr or train.clip_norm = 1, and look at these images"
    )]
    NotFinite {
        /// `loss` or `norm of the gradient`.
        what: &'static str,
        /// NaN or infinite.
        value: f64,
        /// From 1.
        epoch: usize,
        /// From 1.
        batch: usize,
        /// What the batch is called.
        name: String,
    },
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is of another run.
    #[error(
        "cannot resume from {path}: {problem}. Begin a new run, or restore the settings of that one"
    )]
    Resume {
        /// File.
        path: String,
        /// What differs.
        problem: String,
    },
    /// The device on which training stays failed between two batches.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Balanced weights cannot be made, or moments do not fit in memory.
    #[error(transparent)]
    Setup(#[from] LossError),
}

/// What is wrong with a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The network cannot take it.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The loss cannot take it.
    #[error(transparent)]
    Loss(#[from] LossError),
}
