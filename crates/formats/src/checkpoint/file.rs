//! The file itself: named f32 tensors and one JSON document in the header, written whole or not at all.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use files::sha256;
use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::CheckpointError;

/// Header key of the JSON document. It is the only key, because the library writes several in random order, and the
/// same run must give the same bytes.
pub(super) const DOCUMENT: &str = "checkpoint";

/// Largest checkpoint in bytes, the same limit as for other weights.
const MAX_BYTES: u64 = 4 << 30;

/// Placeholder for the file's checksum in the document. The checksum is the SHA-256 of the whole file with this
/// placeholder in it. The document begins with it, so its first occurrence in the file is the right one.
pub(super) const NO_SUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A tensor to be written.
pub(super) struct Entry<'a> {
    pub(super) shape: Vec<usize>,
    pub(super) data: Cow<'a, [f32]>,
}

impl View for Entry<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        self.data.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        bytes.into()
    }

    fn data_len(&self) -> usize {
        4 * self.data.len()
    }
}

pub(super) fn write(
    path: &Path,
    document: &str,
    entries: Vec<(String, Entry<'_>)>,
) -> Result<(), CheckpointError> {
    let error = |source| CheckpointError::Io {
        action: "write",
        path: path.into(),
        source,
    };
    let metadata = HashMap::from([(DOCUMENT.to_string(), document.to_string())]);
    let mut bytes = safetensors::serialize(entries, Some(metadata))
        .map_err(|e| error(io::Error::other(e.to_string())))?;
    let sum = sha256::hex(&bytes);
    let Some(at) = position(&bytes, NO_SUM) else {
        return Err(error(io::Error::other(
            "the header has no placeholder for the checksum",
        )));
    };
    bytes[at..at + sha256::LEN].copy_from_slice(sum.as_bytes());
    files::write(path, &bytes).map_err(error)
}

fn position(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|w| w == text.as_bytes())
}

/// A file read whole.
pub(super) struct Contents {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Contents {
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = files::read(path, MAX_BYTES).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CheckpointError::NotFound { path: path.into() },
            _ => CheckpointError::Io {
                action: "read",
                path: path.into(),
                source,
            },
        })?;
        Ok(Contents {
            path: path.into(),
            bytes,
        })
    }

    /// The JSON document.
    pub(super) fn document(&self) -> Result<String, CheckpointError> {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).map_err(|e| self.damaged(e))?;
        let document = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(DOCUMENT))
            .cloned();
        document.ok_or_else(|| CheckpointError::Foreign {
            path: self.path.clone(),
        })
    }

    /// Checks that the file is bit for bit the one that was written.
    pub(super) fn check_sum(&self, document: &str) -> Result<(), CheckpointError> {
        #[derive(Deserialize)]
        struct Sum {
            sha256: String,
        }
        let Sum { sha256: said } = serde_json::from_str(document).map_err(|e| self.damaged(e))?;
        let found = position(&self.bytes, &said)
            .filter(|_| said.len() == sha256::LEN)
            .map(|at| {
                let (before, after) = (&self.bytes[..at], &self.bytes[at + sha256::LEN..]);
                sha256::of_parts([before, NO_SUM.as_bytes(), after])
            });
        match found {
            Some(found) if found == said => Ok(()),
            _ => Err(self.damaged("its checksum does not match")),
        }
    }

    pub(super) fn tensors(&self) -> Result<Tensors<'_>, CheckpointError> {
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|e| self.damaged(e))?;
        Ok(Tensors {
            path: &self.path,
            tensors,
        })
    }

    pub(super) fn damaged(&self, why: impl ToString) -> CheckpointError {
        CheckpointError::Damaged {
            path: self.path.clone(),
            why: why.to_string(),
        }
    }
}

/// The tensors of a file.
pub(super) struct Tensors<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Tensors<'_> {
    pub(super) fn names(&self) -> HashSet<&str> {
        self.tensors.names().into_iter().collect()
    }

    /// A tensor's values, if it has the expected shape (any shape if `None`).
    pub(super) fn get(
        &self,
        name: &str,
        shape: Option<&[usize]>,
    ) -> Result<Vec<f32>, CheckpointError> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| self.error(name, "is missing"))?;
        if view.dtype() != Dtype::F32 {
            return Err(self.error(name, format!("has type {:?} instead of F32", view.dtype())));
        }
        match shape {
            Some(shape) if view.shape() != shape => Err(self.error(
                name,
                format!("has shape {:?} instead of {shape:?}", view.shape()),
            )),
            _ => Ok(view
                .data()
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect()),
        }
    }

    pub(super) fn error(&self, tensor: &str, problem: impl Into<String>) -> CheckpointError {
        CheckpointError::Tensor {
            path: self.path.into(),
            tensor: tensor.into(),
            problem: problem.into(),
        }
    }
}
