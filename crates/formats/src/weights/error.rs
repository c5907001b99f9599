//! Weights-file errors; every message names the file.

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
    /// The file starts like neither a safetensors nor a PyTorch file.
    #[error("{} is neither a safetensors file ({why}) nor a PyTorch file", path.display())]
    Format {
        /// File.
        path: PathBuf,
        /// The parser's message.
        why: String,
    },
    /// The data do not match the header.
    #[error("weights file {} is truncated or damaged ({why}): copy or download it again", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// The parser's message.
        why: String,
    },
    /// A pickle that refers to something other than tensors.
    #[error("{} refers to `{global}`, which is not on the list of what a state dict needs, so reading stopped there. If you trust the file, load it in PyTorch and save its tensors: torch.save(model.state_dict(), …)", path.display())]
    Global {
        /// File.
        path: PathBuf,
        /// Module and name.
        global: String,
    },
    /// A valid file of an unsupported kind.
    #[error("{} cannot be used: {why}", path.display())]
    Unsupported {
        /// File.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// Weights of a network that computes differently.
    #[error("weights file {} was trained with {trained}, but this network has {network}: the weights would load without an error and give worse results. {hint}", path.display())]
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
    #[error("weights file {} has the names of {family}, whose EfficientNets pad for one nominal image size regardless of the actual size: from B1 on, their last stages differ from those of every encoder of this program. Train with a `tu-tf_efficientnet_*` encoder of segmentation_models.pytorch, whose weights can be converted; or, if these are TensorFlow's published weights, state that with `weights convert --trained-in tensorflow`", path.display())]
    FixedPadding {
        /// File.
        path: PathBuf,
        /// Whose names it has.
        family: Family,
    },
    /// A number type that weights are not stored in.
    #[error("tensor `{tensor}` of {} is of type {dtype}: weights must be F32, F16, BF16 or F64", path.display())]
    Dtype {
        /// File.
        path: PathBuf,
        /// Tensor.
        tensor: String,
        /// Its type in the file.
        dtype: String,
    },
    /// A weight that is NaN or infinite.
    #[error("tensor `{tensor}` of {} holds NaN or infinite values: the file comes from a failed run", path.display())]
    NotFinite {
        /// File.
        path: PathBuf,
        /// Tensor.
        tensor: String,
    },
    /// Two tensors map to one parameter.
    #[error("two tensors of {} map to parameter `{parameter}`", path.display())]
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
        /// Parameters searched for.
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

/// Names for an error message: how many, and the first few.
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
