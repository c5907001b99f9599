//! Named tensors as they were read.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::Dtype;

/// A named tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Name without the prefixes that wrappers have added (see [`super::TensorFile::unwrapped`]).
    pub name: String,
    /// Shape in PyTorch's order.
    pub shape: Vec<usize>,
    /// Type of its numbers.
    pub dtype: Dtype,
    pub(super) range: Range<usize>,
}

impl TensorEntry {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Tensors, and what was stripped to reach them.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    pub(super) entries: Vec<TensorEntry>,
    pub(super) bytes: Vec<u8>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) unwrapped: Vec<String>,
}
