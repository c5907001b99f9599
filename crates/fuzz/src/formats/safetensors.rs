//! safetensors: a length, a JSON header of that length, then the data.

use serde_json::{Map, Value, json};

use super::json;
use crate::mutate;
use crate::rng::Rng;

/// A named tensor to be written: type, shape, bytes.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// A file of some tensors.
pub(crate) fn file(tensors: &[Tensor], metadata: &[(&str, &str)]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), vec![]);
    if !metadata.is_empty() {
        let entries = metadata.iter().map(|(k, v)| ((*k).to_owned(), json!(v)));
        header.insert("__metadata__".into(), Value::Object(entries.collect()));
    }
    for tensor in tensors {
        let start = data.len();
        data.extend(&tensor.bytes);
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]});
        header.insert(tensor.name.clone(), entry);
    }
    join(&Value::Object(header).to_string(), &data)
}

/// Changes the header as JSON, with the right length, or changes any bytes.
pub(crate) fn mutate(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let parts = split(bytes).filter(|_| !rng.once_in(3));
    let Some((header, data)) = parts else {
        let mut bytes = bytes.to_vec();
        mutate::bytes(rng, &mut bytes, &WORDS, other);
        return bytes;
    };
    let mut header: Value = serde_json::from_slice(header).unwrap_or_default();
    let mut data = data.to_vec();
    match rng.below(6) {
        0 => {
            // Changes a tensor's length and the data's accordingly, which random damage rarely does.
            let (entry, len) = (one_entry(rng, &mut header), rng.below(65));
            if let Some(entry) = entry {
                entry["data_offsets"] = json!([data.len(), data.len() + len]);
                entry["shape"] = json!([len, mutate::number(rng) >> 32]);
            }
            data.resize(data.len() + len, 0);
        }
        1 => mutate::bytes(rng, &mut data, &[], &[]),
        _ => json::mutate(rng, &mut header),
    }
    join(&header.to_string(), &data)
}

fn one_entry<'v>(rng: &mut Rng, header: &'v mut Value) -> Option<&'v mut Value> {
    let entries = header.as_object_mut()?;
    let at = rng.below(entries.len());
    entries
        .values_mut()
        .nth(at)
        .filter(|entry| entry.is_object())
}

const WORDS: [&[u8]; 10] = [
    b"\"F32\"",
    b"\"BF16\"",
    b"\"BOOL\"",
    b"\"F8_E4M3\"",
    b"__metadata__",
    b"data_offsets",
    b"[0,0]",
    b"{",
    b"}",
    b"\"",
];

/// Header and data, if the length is valid.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)
}

/// Joins header and data, padded to eight bytes as by the library.
pub(crate) fn join(header: &str, data: &[u8]) -> Vec<u8> {
    let mut padded = header.as_bytes().to_vec();
    padded.resize(padded.len().next_multiple_of(8), b' ');
    [
        &(padded.len() as u64).to_le_bytes(),
        padded.as_slice(),
        data,
    ]
    .concat()
}
