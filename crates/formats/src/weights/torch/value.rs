//! Values that a pickle builds. Containers are kept in an arena: a pickle may put one into itself, or nest a million of
//! them, and neither may leak or overflow the stack.

use std::rc::Rc;

use safetensors::Dtype;

use super::globals::Global;

/// A value on the machine's stack; cheap to copy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// Raw bytes, and integers beyond 64 bits (little-endian).
    Bytes(Rc<[u8]>),
    /// A list or tuple in the arena.
    Sequence(usize),
    /// A dict in the arena.
    Dict(usize),
    Global(Global),
    Storage(Rc<StorageRef>),
    Tensor(Rc<TensorRef>),
}

/// A storage by name; its data are elsewhere in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StorageRef {
    pub(super) key: Rc<str>,
    pub(super) dtype: Dtype,
    /// Number of elements.
    pub(super) len: usize,
}

/// A view of a storage; offset and strides in elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TensorRef {
    pub(super) storage: Rc<StorageRef>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// All containers of one pickle.
#[derive(Debug, Default)]
pub(super) struct Arena {
    sequences: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
}

impl Arena {
    pub(super) fn sequence(&mut self, items: Vec<Value>) -> Value {
        self.sequences.push(items);
        Value::Sequence(self.sequences.len() - 1)
    }

    pub(super) fn dict(&mut self, entries: Vec<(Value, Value)>) -> Value {
        self.dicts.push(entries);
        Value::Dict(self.dicts.len() - 1)
    }

    pub(super) fn items(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::Sequence(id) => self.sequences.get(*id).map(Vec::as_slice),
            _ => None,
        }
    }

    pub(super) fn items_mut(&mut self, value: &Value) -> Option<&mut Vec<Value>> {
        match value {
            Value::Sequence(id) => self.sequences.get_mut(*id),
            _ => None,
        }
    }

    pub(super) fn entries(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(id) => self.dicts.get(*id).map(Vec::as_slice),
            _ => None,
        }
    }

    pub(super) fn entries_mut(&mut self, value: &Value) -> Option<&mut Vec<(Value, Value)>> {
        match value {
            Value::Dict(id) => self.dicts.get_mut(*id),
            _ => None,
        }
    }

    /// A sequence of counts: shape, strides. PyTorch's tensors have at most 64 axes.
    pub(super) fn counts(&self, value: &Value) -> Option<Vec<usize>> {
        let items = self.items(value).filter(|items| items.len() <= 64)?;
        items.iter().map(count).collect()
    }
}

/// A non-negative integer.
pub(super) fn count(value: &Value) -> Option<usize> {
    match value {
        Value::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}
