//! Saving a network's values to a file that timm and segmentation_models.pytorch load with `strict=True`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError};

use super::WeightsError;
use super::load::with_prefix;
use model::graph::Graph;
use model::store::ParamStore;

/// Prefixes of this crate and their counterparts in a model of segmentation_models.pytorch with a `tu-` encoder and
/// `aux_params` (its classification head pools the bottleneck, like the head `bottleneck` here).
pub const SMP_NAMES: [(&str, &str); 2] = [
    ("encoder.", "encoder.model."),
    ("head.", "classification_head.3."),
];

/// Type of the numbers in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileDtype {
    /// Unchanged.
    #[default]
    F32,
    /// Half the size, three decimal digits.
    F16,
}

/// How to write a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// Type of the numbers.
    pub dtype: FileDtype,
    /// Prefixes of the network and their replacements, such as [`SMP_NAMES`]; parameters that `only` leaves out are
    /// not written.
    pub rename: Vec<(String, String)>,
    /// Writes only parameters with this prefix (`encoder.`), all if empty.
    pub only: String,
    /// Leaves out parameters with one of these prefixes.
    pub without: Vec<String>,
    /// Text entries for the header.
    pub metadata: BTreeMap<String, String>,
}

impl SaveOptions {
    fn writes(&self, name: &str) -> bool {
        let left_out = self.without.iter().any(|prefix| name.starts_with(prefix));
        name.starts_with(&self.only) && !left_out
    }
}

/// Writes all values in PyTorch's layout. The file is written whole or not at all, and the same values give the same
/// bytes.
///
/// # Errors
/// The file cannot be written; an existing file is then left unchanged.
pub fn save(
    path: &Path,
    graph: &Graph,
    store: &ParamStore,
    options: &SaveOptions,
) -> Result<(), WeightsError> {
    let error = |source| WeightsError::Io {
        action: "write",
        path: path.into(),
        source,
    };
    let bytes =
        serialize(graph, store, options).map_err(|e| error(io::Error::other(e.to_string())))?;
    files::write(path, &bytes).map_err(error)
}

fn serialize(
    graph: &Graph,
    store: &ParamStore,
    options: &SaveOptions,
) -> Result<Vec<u8>, SafeTensorError> {
    let chosen = graph.parameters().filter(|(_, p)| options.writes(&p.name));
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = chosen
        .map(|(id, spec)| {
            let values = spec.to_torch(store.get(id));
            let name = with_prefix(
                &spec.name,
                options.rename.iter().map(|(a, b)| (a.as_str(), b.as_str())),
            );
            (name, spec.torch_shape(), encode(&values, options.dtype))
        })
        .collect();
    let dtype = match options.dtype {
        FileDtype::F32 => Dtype::F32,
        FileDtype::F16 => Dtype::F16,
    };
    let views = tensors
        .iter()
        .map(|(name, shape, data)| Ok((name, TensorView::new(dtype, shape.clone(), data)?)));
    let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
    with_metadata(safetensors::serialize(views, None)?, &options.metadata)
}

fn encode(values: &[f32], dtype: FileDtype) -> Vec<u8> {
    match dtype {
        FileDtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        FileDtype::F16 => values
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect(),
    }
}

/// Puts `__metadata__` in front of the header's entries. The library takes it as a `HashMap`, whose order, and with
/// it the file's bytes and hash, would differ from run to run.
fn with_metadata(
    file: Vec<u8>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, SafeTensorError> {
    let Some((len, rest)) = file
        .split_first_chunk::<8>()
        .filter(|_| !metadata.is_empty())
    else {
        return Ok(file);
    };
    let (header, data) = rest.split_at(usize::from_le_bytes(*len));
    let mut new = format!("{{\"__metadata__\":{},", serde_json::to_string(metadata)?).into_bytes();
    new.extend(&header[1..]);
    new.resize(new.len().next_multiple_of(8), b' ');
    Ok([&new.len().to_le_bytes(), new.as_slice(), data].concat())
}
