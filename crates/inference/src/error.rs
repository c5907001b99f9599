//! Inference errors.

use std::path::PathBuf;

use formats::checkpoint::CheckpointError;
use imaging::ImagingError;
use metrics::MetricsError;
use model::graph::ShapeError;
use model::network::NetworkError;

/// Why a network could not be prepared or run.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The device or the engine reported an error.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The image's size does not suit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The image cannot be fitted into the network's input.
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// The decision rule of a checkpoint is invalid.
    #[error("the decision rule in {} is invalid: {source}", path.display())]
    Decision {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: MetricsError,
    },
    /// The novelty score of a checkpoint is invalid.
    #[error("the novelty score in {} is invalid: {source}", path.display())]
    Novelty {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: MetricsError,
    },
    /// int8 is requested of a network that has not been quantized.
    #[error(
        "{} cannot be run in int8, because it has no ranges for its codes: the stage \"quantize\" of a run determines them, \
         unless too much would be lost (the run's report says so); or use the precision f32",
        path.display()
    )]
    NotQuantized {
        /// The checkpoint.
        path: PathBuf,
    },
    /// int8 is requested on a GPU.
    #[error("int8 runs on the CPU only: use the device cpu, or the precision bf16 on the GPU")]
    Int8OnGpu,
    /// Scores or probabilities that are NaN or infinite.
    #[error(
        "the network's scores are NaN or infinite: its weights are too large, or its input is far from what it was \
         trained on; use another checkpoint of the run, or train again with a smaller learning rate"
    )]
    NotFinite,
    /// A map is requested from a network that has none.
    #[error("this network has no class map")]
    NoMap,
    /// A checkpoint of several networks where one is needed.
    #[error(
        "{} contains {networks} networks, but one is needed here: give one of the runs that it was made from",
        path.display()
    )]
    Several {
        /// The checkpoint.
        path: PathBuf,
        /// Number of networks in it.
        networks: usize,
    },
    /// A class that a segmenter's map does not have.
    #[error("the segmenter's map has {1} classes, numbered from 0: there is no class {0}")]
    NoClass(usize, usize),
    /// Windows far smaller than the network's input would enlarge an ordinary image to a huge frame.
    #[error(
        "an image of {}x{} pixels would have to be enlarged to {}x{}: the network was trained on far smaller windows",
        image.0, image.1, frame.0, frame.1
    )]
    TooLarge {
        /// Rows and columns of the image.
        image: (usize, usize),
        /// Rows and columns after enlarging.
        frame: (usize, usize),
    },
    /// Classification is requested from a network that was trained on parts of images.
    #[error(
        "this network was trained on windows of {0}x{1} pixels and cannot classify whole images"
    )]
    Windows(usize, usize),
}

/// A result with this crate's error.
pub(crate) type Result<T> = std::result::Result<T, InferenceError>;
