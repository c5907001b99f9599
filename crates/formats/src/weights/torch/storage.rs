//! Storages: named in the pickle, with their bytes elsewhere in the file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::globals::Global;
use super::value::{StorageRef, Value, count};
use super::{Result, damaged};

/// A storage from its persistent id: `('storage', type, key, device, elements)`, followed by a view in old files.
pub(super) fn persistent(id: &[Value]) -> Result<StorageRef> {
    let [
        Value::Text(kind),
        Value::Global(Global::Storage(dtype)),
        Value::Text(key),
        _device,
        len,
        rest @ ..,
    ] = id
    else {
        return damaged("a persistent id is not a storage");
    };
    let (Some(len), "storage") = (count(len), kind.as_ref()) else {
        return damaged("a persistent id is not a storage");
    };
    if rest.iter().any(|view| *view != Value::None) {
        return damaged("a storage is a view of another, as PyTorch wrote them before 0.4");
    }
    Ok(StorageRef {
        key: key.clone(),
        dtype: *dtype,
        len,
    })
}

impl StorageRef {
    /// Bytes of `n` elements.
    pub(super) fn size_of(&self, n: usize) -> Option<usize> {
        n.checked_mul(self.dtype.bitsize() / 8)
    }
}

/// Byte ranges of the storages in the file.
#[derive(Debug, Default)]
pub(super) struct Storages<'a> {
    bytes: &'a [u8],
    places: BTreeMap<String, Range<usize>>,
}

impl<'a> Storages<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Storages {
            bytes,
            places: BTreeMap::new(),
        }
    }

    /// Bytes of the whole file.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a storage's range is known.
    pub(super) fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    pub(super) fn insert(&mut self, key: &str, place: Range<usize>) {
        self.places.insert(key.into(), place);
    }

    /// A storage's bytes, as many as the pickle states.
    pub(super) fn get(&self, storage: &StorageRef) -> Result<&'a [u8]> {
        let place = self.places.get(&*storage.key).cloned();
        let Some(bytes) = place.and_then(|place| self.bytes.get(place)) else {
            return damaged(format!("storage {} is missing", storage.key));
        };
        match storage.size_of(storage.len) {
            Some(len) if len <= bytes.len() => Ok(&bytes[..len]),
            _ => damaged(format!("storage {} is too short", storage.key)),
        }
    }
}
