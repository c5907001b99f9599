//! Checkpoint errors; every message names the file.

use std::io;
use std::path::PathBuf;

use model::graph::GraphError;

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is no such file.
    #[error("checkpoint {} does not exist", path.display())]
    NotFound {
        /// File.
        path: PathBuf,
    },
    /// The file or its folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create the folder`.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Not a safetensors file, or a damaged one.
    #[error("{} is not a checkpoint, or is truncated or damaged ({why}): copy the file again, or train again", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// The parser's message.
        why: String,
    },
    /// A safetensors file that this program did not write.
    #[error("{} holds tensors but no network: it is not a checkpoint of this program (weights of other programs are loaded by the model's `weights` setting)", path.display())]
    Foreign {
        /// File.
        path: PathBuf,
    },
    /// A file of another format version.
    #[error("{} has checkpoint format {found}, but this version reads {known}: use the version that wrote it, or train again with this one", path.display())]
    Version {
        /// File.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that this version reads.
        known: u32,
    },
    /// The network inside breaks an invariant.
    #[error("the network in {} is not valid: {source}", path.display())]
    Graph {
        /// File.
        path: PathBuf,
        /// What is wrong.
        source: GraphError,
    },
    /// The metadata contradict the network or themselves.
    #[error("`{key}` of {} {problem}", path.display())]
    Meta {
        /// File.
        path: PathBuf,
        /// Entry of [`super::Meta`].
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor that does not fit the network inside.
    #[error("tensor `{tensor}` of {} {problem}", path.display())]
    Tensor {
        /// File.
        path: PathBuf,
        /// Tensor.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },
}
