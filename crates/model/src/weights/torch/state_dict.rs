//! Where in the object the tensors are: training scripts wrap a state dict in many ways.

use super::super::{TensorEntry, Tensors};
use super::machine::Pickle;
use super::storage::Storages;
use super::value::{TensorRef, Value};
use super::{Problem, Result};

/// Keys under which checkpoints keep a model's state dict, the one to be preferred first.
const WRAPPERS: [&str; 6] = [
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
];

/// The tensors of the state dict, copied out of their storages.
pub(super) fn tensors(pickle: &Pickle, storages: &Storages<'_>) -> Result<Tensors> {
    let (found, wrapper) = find(pickle, &pickle.root, 2).ok_or_else(|| {
        Problem::Unsupported(
            "it holds no state dict: save model.state_dict() instead of the model".into(),
        )
    })?;
    let mut tensors = Tensors::default();
    tensors
        .unwrapped
        .extend(wrapper.iter().map(|w| w.to_string()));
    for (name, tensor) in found {
        let bytes = tensor.gather(storages.get(&tensor.storage)?)?;
        let start = tensors.bytes.len();
        tensors.bytes.extend(bytes);
        tensors.entries.push(TensorEntry {
            name: name.into(),
            shape: tensor.shape.clone(),
            dtype: tensor.storage.dtype,
            range: start..tensors.bytes.len(),
        });
    }
    Ok(tensors)
}

type Found<'p> = (Vec<(&'p str, &'p TensorRef)>, Vec<&'static str>);

/// The named tensors of a dict, or of a dict under one of the wrappers' keys.
fn find<'p>(pickle: &'p Pickle, value: &Value, depth: usize) -> Option<Found<'p>> {
    let entries = pickle.arena.entries(value)?;
    let named: Vec<_> = entries.iter().filter_map(named_tensor).collect();
    if !named.is_empty() {
        return Some((named, vec![]));
    }
    let inner = |key: &'static str| {
        let is_key = |k: &Value| matches!(k, Value::Text(text) if text.as_ref() == key);
        let (_, value) = entries.iter().find(|(k, _)| is_key(k))?;
        let (found, mut wrappers) = find(pickle, value, depth - 1)?;
        wrappers.insert(0, key);
        Some((found, wrappers))
    };
    WRAPPERS.into_iter().filter(|_| depth > 0).find_map(inner)
}

fn named_tensor(entry: &(Value, Value)) -> Option<(&str, &TensorRef)> {
    match entry {
        (Value::Text(name), Value::Tensor(tensor)) => Some((name, tensor)),
        _ => None,
    }
}
