//! Why there is no answer.

use std::path::PathBuf;

use formats::checkpoint::CheckpointError;
use imaging::ImagingError;
use metrics::MetricsError;
use model::graph::ShapeError;
use model::network::NetworkError;

/// Why a network could not be made ready, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The device or the engine refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The image's size does not suit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The image cannot be brought into the network's frame.
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// The decision rule of a checkpoint makes no sense.
    #[error("the decision rule in {}: {source}", path.display())]
    Decision {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: MetricsError,
    },
    /// Scores or probabilities that are NaN or infinite.
    #[error(
        "the network's scores are no numbers: its weights are too large, or its input is far from what it was trained on; \
         use another checkpoint of the run, or train again with a smaller learning rate"
    )]
    NotFinite,
    /// A map is asked of a network that has none.
    #[error("this network has no class map")]
    NoMap,
    /// Windows that are far smaller than the network's input make a huge frame of a common image.
    #[error(
        "an image of {}x{} pixels would have to be enlarged to {}x{}: the network was trained on far smaller windows",
        image.0, image.1, frame.0, frame.1
    )]
    TooLarge {
        /// Rows and columns of the image.
        image: (usize, usize),
        /// Rows and columns that it would have.
        frame: (usize, usize),
    },
    /// A class is asked of a network that was trained on parts of images.
    #[error("this network was trained on windows of {0}x{1} pixels and cannot judge whole images")]
    Windows(usize, usize),
}

/// What comes out of this crate.
pub(crate) type Result<T> = std::result::Result<T, InferenceError>;
