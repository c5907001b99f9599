//! Why a network cannot be exported.

use std::path::PathBuf;

use inference::InferenceError;

/// Why a network cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] InferenceError),
    /// The checkpoint's checksum cannot be computed.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The network sees a region that a second network finds.
    #[error(
        "this network sees only the region that its own segmenter finds, and finding it (components of a mask) is not \
         part of ONNX. Export the run of the segmenter, and train a network on whole images to export"
    )]
    Region,
    /// The checkpoint is an ensemble.
    #[error(
        "this checkpoint holds several networks. Export the run of each, and average the logarithms of their \
         probabilities"
    )]
    Ensemble,
    /// The graph's shapes.
    #[error(transparent)]
    Shape(#[from] model::graph::ShapeError),
}
