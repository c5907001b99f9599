//! The container before PyTorch 1.6: five pickles (a magic number, the protocol, the machine, the object, the keys of
//! its storages), then each storage as a count of elements and its numbers.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::Tensors;
use super::machine::{self, Pickle};
use super::storage::Storages;
use super::value::{StorageRef, Value};
use super::{Problem, Result, damaged, state_dict};

/// 0x1950a86a20f9469cfc6c as a pickle of protocol 2.
const START: [u8; 15] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.',
];

/// Every pickle counts as one of these, so that a bare one gets a fitting error. The length field of a safetensors
/// header may begin with the same two bytes (640 does), but its last bytes are zero and the header's `{` follows.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..]) && !matches!(bytes, [_, _, _, _, _, 0, 0, 0, b'{', ..])
}

pub(super) fn read(bytes: &[u8]) -> Result<Tensors> {
    if !bytes.starts_with(&START) {
        return Err(Problem::Unsupported(
            "it is a pickle, but not one written by torch.save".into(),
        ));
    }
    let mut at = START.len();
    let mut next = || -> Result<Pickle> {
        let pickle = machine::run(bytes.get(at..).unwrap_or_default())?;
        at += pickle.len;
        Ok(pickle)
    };
    let (_protocol, machine) = (next()?, next()?);
    check_order(&machine)?;
    let (object, keys) = (next()?, next()?);
    let storages = places(bytes, at, &object, &keys)?;
    state_dict::tensors(&object, &storages)
}

fn check_order(machine: &Pickle) -> Result<()> {
    let entries = machine.arena.entries(&machine.root).unwrap_or_default();
    let big = |(key, value): &(Value, Value)| {
        matches!(key, Value::Text(k) if k.as_ref() == "little_endian")
            && *value == Value::Bool(false)
    };
    match entries.iter().any(big) {
        true => Err(Problem::Unsupported("its numbers are big-endian".into())),
        false => Ok(()),
    }
}

/// Storages follow the pickles in the order of the keys.
fn places<'a>(
    bytes: &'a [u8],
    mut at: usize,
    object: &Pickle,
    keys: &Pickle,
) -> Result<Storages<'a>> {
    let by_key = object.storages.iter().map(|s| (s.key.as_ref(), s));
    let by_key: HashMap<&str, &Rc<StorageRef>> = by_key.collect();
    let mut storages = Storages::new(bytes);
    for key in keys.arena.items(&keys.root).unwrap_or_default() {
        let named = match key {
            Value::Text(key) => by_key.get(key.as_ref()),
            _ => None,
        };
        let Some(storage) = named else {
            return damaged("a storage belongs to no tensor");
        };
        let stored = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>);
        let start = at + 8;
        let end = storage
            .size_of(storage.len)
            .and_then(|len| start.checked_add(len));
        match (stored, end) {
            (Some(stored), Some(end))
                if u64::from_le_bytes(*stored) == storage.len as u64 && end <= bytes.len() =>
            {
                storages.insert(&storage.key, start..end);
                at = end;
            }
            _ => return damaged(format!("storage {} is cut short", storage.key)),
        }
    }
    Ok(storages)
}
