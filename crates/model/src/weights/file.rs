//! A safetensors file, read whole and checked; values as f32.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::WeightsError;

/// The text entries that a file's header carries (`__metadata__`).
///
/// # Errors
/// The file cannot be read or is not of this format.
pub fn metadata(path: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    let bytes = read(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format_error(path, &e))?;
    Ok(header
        .metadata()
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect())
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => WeightsError::NotFound { path: path.into() },
        _ => WeightsError::Io {
            action: "read",
            path: path.into(),
            source,
        },
    })
}

pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, WeightsError> {
    SafeTensors::deserialize(bytes).map_err(|e| format_error(path, &e))
}

/// A tensor's values, widened to f32.
pub(super) fn values(
    path: &Path,
    name: &str,
    view: &TensorView<'_>,
) -> Result<Vec<f32>, WeightsError> {
    let bytes = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::F16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect(),
        Dtype::BF16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).to_f32())
            .collect(),
        other => {
            return Err(WeightsError::Dtype {
                path: path.into(),
                tensor: name.into(),
                dtype: format!("{other:?}"),
            });
        }
    };
    match values.iter().all(|v| v.is_finite()) {
        true => Ok(values),
        false => Err(WeightsError::NotFinite {
            path: path.into(),
            tensor: name.into(),
        }),
    }
}

/// A readable header with data that do not match it means a damaged file; all else, a file of another kind.
fn format_error(path: &Path, error: &SafeTensorError) -> WeightsError {
    use SafeTensorError as E;
    let why = error.to_string();
    match error {
        E::MetadataIncompleteBuffer
        | E::InvalidOffset(_)
        | E::TensorInvalidInfo
        | E::ValidationOverflow => WeightsError::Damaged {
            path: path.into(),
            why,
        },
        _ => WeightsError::Format {
            path: path.into(),
            why,
        },
    }
}
