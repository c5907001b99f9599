//! A file of tensors in safetensors or PyTorch format, read whole and checked; values as f32.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::tensors::{TensorEntry, Tensors};
use super::{WeightsError, torch, wrapping};

/// Format of a tensor file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// safetensors.
    Safetensors,
    /// `torch.save`'s, as a zip archive or in the older form.
    Torch,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileFormat::Safetensors => "safetensors",
            FileFormat::Torch => "PyTorch",
        })
    }
}

/// A file of tensors.
///
/// ```
/// use formats::weights::TensorFile;
/// # let path = std::env::temp_dir().join("model_tensor_file_example.safetensors");
/// # let spec = model::build::ModelSpec { encoder: Some("efficientnet_lite0".into()), ..Default::default() };
/// # let graph = model::build::build(&spec)?;
/// # let store = model::store::ParamStore::initialized(&graph, 1);
/// # formats::weights::save(&path, &graph, &store, &Default::default())?;
/// let file = TensorFile::read(&path)?;
/// assert!(file.entries().iter().any(|t| t.name == "encoder.conv_stem.weight" && t.shape == [32, 3, 3, 3]));
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    format: FileFormat,
    pub(super) tensors: Tensors,
}

impl TensorFile {
    /// Reads a safetensors or PyTorch file, distinguished by the first bytes.
    ///
    /// # Errors
    /// The file cannot be read, is damaged or of another kind, or is a pickle that refers to more than tensors.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let bytes = read(path)?;
        let (format, mut tensors) = if torch::is_torch(&bytes) {
            (FileFormat::Torch, torch::read(path, &bytes)?)
        } else {
            (FileFormat::Safetensors, safetensors(path, bytes)?)
        };
        wrapping::strip(&mut tensors);
        tensors.entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(TensorFile {
            path: path.into(),
            format,
            tensors,
        })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// Its tensors, sorted by name.
    pub fn entries(&self) -> &[TensorEntry] {
        &self.tensors.entries
    }

    /// The tensor with a name.
    pub fn find(&self, name: &str) -> Option<&TensorEntry> {
        self.entries().iter().find(|t| t.name == name)
    }

    /// The text entries of its header (`__metadata__`).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.tensors.metadata
    }

    /// What was stripped, outermost first: keys of nested dicts (`state_dict`), prefixes of names (`module.`).
    pub fn unwrapped(&self) -> &[String] {
        &self.tensors.unwrapped
    }

    /// A tensor's values, converted to f32 (f64 is rounded).
    ///
    /// # Errors
    /// Numbers of another type; NaN or infinite values.
    pub fn values(&self, entry: &TensorEntry) -> Result<Vec<f32>, WeightsError> {
        let bytes = self.tensors.bytes.get(entry.range.clone());
        let Some(values) = decode(entry.dtype, bytes.unwrap_or_default()) else {
            return Err(WeightsError::Dtype {
                path: self.path.clone(),
                tensor: entry.name.clone(),
                dtype: format!("{:?}", entry.dtype),
            });
        };
        match values.iter().all(|v| v.is_finite()) {
            true => Ok(values),
            false => Err(WeightsError::NotFinite {
                path: self.path.clone(),
                tensor: entry.name.clone(),
            }),
        }
    }
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], number: fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|b| number(*b)).collect()
    }
    Some(match dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        _ => return None,
    })
}

/// The text entries that a safetensors file's header carries (`__metadata__`).
///
/// # Errors
/// The file cannot be read or is not of this format.
pub fn metadata(path: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    let bytes = read(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format_error(path, &e))?;
    Ok(texts(header.metadata()))
}

fn texts(metadata: &Option<std::collections::HashMap<String, String>>) -> BTreeMap<String, String> {
    let entries = metadata.iter().flatten();
    entries.map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Largest weights file in bytes: EfficientNet-B7 with an optimizer's state takes a quarter of this.
const MAX_BYTES: u64 = 4 << 30;

fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    files::read(path, MAX_BYTES).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => WeightsError::NotFound { path: path.into() },
        _ => WeightsError::Io {
            action: "read",
            path: path.into(),
            source,
        },
    })
}

/// Bytes of the length field before the header.
const HEADER: usize = 8;

fn safetensors(path: &Path, bytes: Vec<u8>) -> Result<Tensors, WeightsError> {
    // The first call checks the data against the header, the second gives their offsets.
    SafeTensors::deserialize(&bytes).map_err(|e| format_error(path, &e))?;
    let (len, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format_error(path, &e))?;
    let start = HEADER + len;
    let entries = header
        .tensors()
        .into_iter()
        .map(|(name, info)| TensorEntry {
            name,
            shape: info.shape.clone(),
            dtype: info.dtype,
            range: start + info.data_offsets.0..start + info.data_offsets.1,
        });
    Ok(Tensors {
        entries: entries.collect(),
        metadata: texts(header.metadata()),
        unwrapped: vec![],
        bytes,
    })
}

/// A readable header with data that do not match it means a damaged file; any other error, a file of another kind.
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
