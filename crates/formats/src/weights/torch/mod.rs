//! PyTorch's own files (`torch.save`), read without executing anything in them.
//!
//! A `.pth` is a pickle: a program for a small stack machine that builds objects and may call any function that can be
//! imported. Here the machine is this crate's own ([`machine`]), the functions are a closed list ([`globals`]) of those
//! that a state dict needs, and a file that refers to any other is rejected with an error that names the function. No
//! small, maintained crate reads pickles with PyTorch's persistent storages, hence this implementation.
//!
//! Both containers are read: the zip archive of PyTorch 1.6 and later ([`archive`]), and the earlier sequence of
//! pickles ([`legacy`]).

mod archive;
mod globals;
mod legacy;
mod machine;
mod state_dict;
mod storage;
mod strided;
#[cfg(test)]
mod tests;
mod value;

use std::path::Path;

use super::{Tensors, WeightsError};

/// Why a PyTorch file cannot be read; the caller adds the path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// The file refers to something outside the closed list.
    Global(String),
    /// The file is truncated or inconsistent.
    Damaged(String),
    /// The file is valid, but not supported.
    Unsupported(String),
}

type Result<T> = std::result::Result<T, Problem>;

fn damaged<T>(why: impl Into<String>) -> Result<T> {
    Err(Problem::Damaged(why.into()))
}

/// Whether bytes start like a PyTorch file.
pub(super) fn is_torch(bytes: &[u8]) -> bool {
    archive::is_archive(bytes) || legacy::is_legacy(bytes)
}

/// All tensors of the file's state dict.
pub(super) fn read(path: &Path, bytes: &[u8]) -> std::result::Result<Tensors, WeightsError> {
    let tensors = if archive::is_archive(bytes) {
        archive::read(bytes)
    } else {
        legacy::read(bytes)
    };
    tensors.map_err(|problem| match problem {
        Problem::Global(global) => WeightsError::Global {
            path: path.into(),
            global,
        },
        Problem::Damaged(why) => WeightsError::Damaged {
            path: path.into(),
            why,
        },
        Problem::Unsupported(why) => WeightsError::Unsupported {
            path: path.into(),
            why,
        },
    })
}
