//! The file itself: named f32 tensors and one JSON document in the header, written whole or not at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensors};

use super::CheckpointError;

/// Header key of the JSON document. The only one: the library writes several in a random order, and the same run
/// must give the same bytes.
pub(super) const DOCUMENT: &str = "checkpoint";

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
    let bytes = safetensors::serialize(entries, Some(metadata))
        .map_err(|e| error(io::Error::other(e.to_string())))?;
    write_atomic(path, &bytes).map_err(error)
}

/// Writes to a sibling, forces it to the disk and renames it: a kill or a full disk leaves the old file as it was.
/// The sibling has a fixed name, so what a kill leaves behind is overwritten next time rather than piling up.
fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = sibling(path);
    let written =
        File::create(&temporary).and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()));
    let done = written
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary); // the error that matters is the first
    }
    done
}

fn sibling(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

/// The rename itself reaches the disk with the folder (on Unix; elsewhere folders cannot be opened).
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) && !folder.as_os_str().is_empty() => {
            File::open(folder)?.sync_all()
        }
        _ => Ok(()),
    }
}

/// A file read whole.
pub(super) struct Contents {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Contents {
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = fs::read(path).map_err(|source| match source.kind() {
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
    pub(super) fn names(&self) -> Vec<String> {
        self.tensors
            .names()
            .into_iter()
            .map(str::to_string)
            .collect()
    }

    /// A tensor's values, if its shape is the one expected (any, if none is).
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
