//! Errors that end a run; every message states where it happened and what to do.

use collective::CollectiveError;

use super::event::{BoxError, Phase};
use super::loss::LossError;
use formats::checkpoint::CheckpointError;
use model::network::NetworkError;

/// Why a run could not start or continue. The last epoch's checkpoint is kept in all cases.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An invalid setting.
    #[error("train.{key} must be {must}")]
    Config {
        /// Key under `[train]`.
        key: String,
        /// What it must be.
        must: &'static str,
    },
    /// A monitored quantity that this run does not record.
    #[error("train.{key} = \"{name}\" is not recorded in this run; there are: {known}")]
    Monitor {
        /// Key under `[train]`.
        key: &'static str,
        /// Requested name.
        name: String,
        /// Available names.
        known: String,
    },
    /// The network and the data differ in their number of classes.
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
    /// A batch that the network or the loss rejects.
    #[error("{phase} batch {batch} of epoch {epoch} ({name}): {source}")]
    Batch {
        /// Training or validation.
        phase: Phase,
        /// From 1.
        epoch: usize,
        /// From 1.
        batch: usize,
        /// Name of the batch.
        name: String,
        /// Cause.
        source: Box<BatchError>,
    },
    /// The loss or its gradient is no longer finite.
    #[error(
        "the {what} is {value} in batch {batch} of epoch {epoch} ({name}); this batch did not change the weights, and \
         the last epoch's checkpoint is kept. Try a lower train.optimizer.lr or train.clip_norm = 1, and inspect its \
         images"
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
        /// Name of the batch.
        name: String,
    },
    /// More processes than there is work for.
    #[error(
        "{processes} processes train together, but train.chunks = {chunks}: each needs a chunk of every batch. Start at \
         most {chunks}, or set train.chunks to a multiple of {processes}"
    )]
    Processes {
        /// Processes of the job.
        processes: usize,
        /// Chunks of a batch.
        chunks: usize,
    },
    /// Another process of the job failed.
    #[error("process {rank}, which trains with this one, failed: {message}")]
    Elsewhere {
        /// Its rank.
        rank: usize,
        /// Its error.
        message: String,
    },
    /// The processes can no longer reach each other.
    #[error("the processes that train together lost each other: {0}. Continue with --resume")]
    Collective(#[from] CollectiveError),
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint belongs to another run.
    #[error(
        "cannot resume from {path}: {problem}. Start a new run, or restore the settings of that run"
    )]
    Resume {
        /// File.
        path: String,
        /// What differs.
        problem: String,
    },
    /// The device that runs the training failed between two batches.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Balanced class weights cannot be computed, or the optimizer's moments do not fit in memory.
    #[error(transparent)]
    Setup(#[from] LossError),
}

/// What is wrong with a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The network rejects it.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The loss rejects it.
    #[error(transparent)]
    Loss(#[from] LossError),
}
