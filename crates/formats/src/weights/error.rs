//! What can go wrong with a weights file; every text names the file.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{Conventions, Family};

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// There is no such file.
    #[error("weights file {} does not exist", path.display())]
    NotFound {
        /// File.
        path: PathBuf,
    },
    /// The file could not be read or written.
    #[error("cannot {action} weights file {}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The start is neither safetensors' nor PyTorch's.
    #[error("{} is neither a safetensors file ({why}) nor one of PyTorch's", path.display())]
    Format {
        /// File.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
    /// The data do not match the header.
    #[error("weights file {} is truncated or damaged ({why}): copy or download it again", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
    /// A pickle that asks for something else than tensors.
    #[error("{} asks for `{global}`, which is not on the list of what a state dict needs, so it was not read any further. If you trust the file, load it in PyTorch and save its tensors: torch.save(model.state_dict(), …)", path.display())]
    Global {
        /// File.
        path: PathBuf,
        /// Module and name.
        global: String,
    },
    /// A sound file of a kind that is not read.
    #[error("{} cannot be used: {why}", path.display())]
    Unsupported {
        /// File.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// Weights of a network that computes differently.
    #[error("weights file {} was trained with {trained}, this network has {network}: the weights would fit, and be quietly worse. {hint}", path.display())]
    Conventions {
        /// File.
        path: PathBuf,
        /// What the file was trained with.
        trained: Conventions,
        /// What the network has.
        network: Conventions,
        /// What to do.
        hint: &'static str,
    },
    /// Weights of a network that pads for one image size.
    #[error("weights file {} has the names of {family}, whose EfficientNets pad for one nominal image size whatever size the image has: from B1 on they compute something else in the last stages than any encoder of this program. Train on a `tu-tf_efficientnet_*` encoder of segmentation_models.pytorch, whose weights travel; or, if these are TensorFlow's published weights, say so with `weights convert --trained-in tensorflow`", path.display())]
    FixedPadding {
        /// File.
        path: PathBuf,
        /// Whose names it has.
        family: Family,
    },
    /// A type of number that networks are not stored in.
    #[error("tensor `{tensor}` of {} is of type {dtype}: weights must be F32, F16, BF16 or F64", path.display())]
    Dtype {
        /// File.
        path: PathBuf,
        /// Tensor.
        tensor: String,
        /// Its type in the file.
        dtype: String,
    },
    /// A weight that is no number.
    #[error("tensor `{tensor}` of {} holds NaN or infinite values: the file comes from a run that failed", path.display())]
    NotFinite {
        /// File.
        path: PathBuf,
        /// Tensor.
        tensor: String,
    },
    /// Two tensors stand for one parameter.
    #[error("two tensors of {} stand for parameter `{parameter}`", path.display())]
    Ambiguous {
        /// File.
        path: PathBuf,
        /// Parameter.
        parameter: String,
    },
    /// File and network do not fit each other.
    #[error("weights file {} does not fit this network ({matched} of {wanted} parameters found).{}{}{} {hint}", path.display(), list(" Missing from the file", missing), list(" Not in the network", unused), list(" Of another shape", shapes))]
    Mismatch {
        /// File.
        path: PathBuf,
        /// Parameters found with the right shape.
        matched: usize,
        /// Parameters looked for.
        wanted: usize,
        /// Parameters that the file lacks.
        missing: Names,
        /// Tensors that the network lacks.
        unused: Names,
        /// Parameters whose shapes differ, with both shapes.
        shapes: Names,
        /// What to do.
        hint: &'static str,
    },
}

/// Names for an error text: how many, and the first few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        let shown = self
            .0
            .iter()
            .take(SHOWN)
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let rest = if self.0.len() > SHOWN { ", …" } else { "" };
        write!(f, "{} ({shown}{rest})", self.0.len())
    }
}

fn list(what: &str, names: &Names) -> String {
    if names.0.is_empty() {
        String::new()
    } else {
        format!("{what}: {names}.")
    }
}
