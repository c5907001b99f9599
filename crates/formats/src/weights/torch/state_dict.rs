//! Finds the state dict in the object: training scripts wrap it in many ways, and keep other tensors next to it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use super::super::{TensorEntry, Tensors};
use super::machine::Pickle;
use super::storage::Storages;
use super::value::{TensorRef, Value};
use super::{Problem, Result, damaged};

/// Keys under which checkpoints keep a model's state dict, in order of preference.
const WRAPPERS: [&str; 7] = [
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "network",
    "net",
];

/// Depth to which nested dictionaries are searched.
const DEPTH: usize = 4;

/// Longest tensor name in bytes.
const LONGEST_NAME: usize = 1024;

/// Most keys or dictionaries that an error names.
const SHOWN: usize = 8;

/// How many times as many elements the largest dictionary of tensors must have as all others together to be chosen, if
/// no key decides.
const CLEARLY: usize = 10;

/// Most bytes of tensors per byte of the file, so that a small file cannot request any amount of memory: views may
/// overlap, and a tensor with several names is copied once.
const VIEWS: usize = 2;

/// The tensors of the state dict, copied out of their storages.
pub(super) fn tensors(pickle: &Pickle, storages: &Storages<'_>) -> Result<Tensors> {
    let found = choose(pickle)?;
    let mut copies = Copies {
        most: storages.len().saturating_mul(VIEWS),
        storages,
        bytes: vec![],
        places: BTreeMap::new(),
    };
    let entry = |(name, tensor): (&&str, &&TensorRef)| {
        Ok(TensorEntry {
            name: (*name).into(),
            shape: tensor.shape.clone(),
            dtype: tensor.storage.dtype,
            range: copies.place(tensor)?,
        })
    };
    let entries = found.tensors.iter().map(entry).collect::<Result<_>>()?;
    Ok(Tensors {
        entries,
        bytes: copies.bytes,
        unwrapped: found.path.iter().map(|key| (*key).to_owned()).collect(),
        ..Tensors::default()
    })
}

/// Storage, offset, shape and strides.
type View = (Rc<str>, usize, Vec<usize>, Vec<usize>);

/// Tensors copied out of their storages; one with several names is copied once.
struct Copies<'a, 's> {
    storages: &'a Storages<'s>,
    bytes: Vec<u8>,
    places: BTreeMap<View, Range<usize>>,
    most: usize,
}

impl Copies<'_, '_> {
    fn place(&mut self, tensor: &TensorRef) -> Result<Range<usize>> {
        let TensorRef {
            storage,
            offset,
            shape,
            strides,
        } = tensor;
        let key = (storage.key.clone(), *offset, shape.clone(), strides.clone());
        if let Some(place) = self.places.get(&key) {
            return Ok(place.clone());
        }
        let copy = tensor.gather(self.storages.get(storage)?)?;
        let place = self.bytes.len()..self.bytes.len() + copy.len();
        if place.end > self.most {
            return damaged("its tensors together are larger than the file");
        }
        self.bytes.extend(copy);
        self.places.insert(key, place.clone());
        Ok(place)
    }
}

/// A dictionary that has tensors.
struct Candidate<'p> {
    /// Keys that lead to the dictionary.
    path: Vec<&'p str>,
    /// By name; the last entry with a name counts, as in Python.
    tensors: BTreeMap<&'p str, &'p TensorRef>,
    /// Number of entries that are not tensors.
    others: usize,
}

impl Candidate<'_> {
    fn numbers(&self) -> usize {
        let elements = |t: &TensorRef| {
            t.shape
                .iter()
                .fold(1, |n: usize, len| n.saturating_mul(*len))
        };
        let sizes = self.tensors.values().map(|tensor| elements(tensor));
        sizes.fold(0, usize::saturating_add)
    }

    /// A state dict holds mostly tensors; other dictionaries may hold a few, such as losses and means.
    fn is_state_dict(&self) -> bool {
        self.tensors.len() > self.others
    }

    /// Preference of the keys that lead here, lower is better; `None` if any of them is not in [`WRAPPERS`].
    fn rank(&self) -> Option<Vec<usize>> {
        let rank = |key: &&str| WRAPPERS.iter().position(|w| w == key);
        self.path.iter().map(rank).collect()
    }

    fn named(&self) -> String {
        let n = self.tensors.len();
        match self.path.is_empty() {
            true => format!("the outermost ({n} tensors)"),
            false => format!("`{}` ({n} tensors)", self.path.join(".")),
        }
    }
}

/// Chooses the state dict: the one under a known key, otherwise the one with by far the most elements.
fn choose(pickle: &Pickle) -> Result<Candidate<'_>> {
    let mut all = candidates(pickle);
    if all.iter().any(Candidate::is_state_dict) {
        all.retain(Candidate::is_state_dict);
    }
    let said = all
        .iter()
        .enumerate()
        .filter_map(|(i, c)| Some((c.rank()?, i)));
    if let Some((_, i)) = said.min() {
        return Ok(all.swap_remove(i));
    }
    all.sort_by_key(|c| std::cmp::Reverse(c.numbers()));
    let rest = all.iter().skip(1).map(Candidate::numbers);
    let rest = rest.fold(0, usize::saturating_add);
    match all.first() {
        None => Err(Problem::Unsupported(nothing(pickle))),
        Some(first) if first.numbers() >= rest.saturating_mul(CLEARLY) => Ok(all.swap_remove(0)),
        Some(_) => {
            let named: Vec<String> = all.iter().take(SHOWN).map(Candidate::named).collect();
            Err(Problem::Unsupported(format!(
                "it holds several dictionaries of tensors, {}, and no key identifies the network: load it in PyTorch \
                 and save the one that you want, torch.save(checkpoint[KEY], …)",
                named.join(", ")
            )))
        }
    }
}

/// All dictionaries with tensors that are reachable by text keys. A dictionary may contain itself; each is visited
/// once.
fn candidates(pickle: &Pickle) -> Vec<Candidate<'_>> {
    let (mut found, mut seen) = (vec![], HashSet::new());
    let mut open = vec![(vec![], &pickle.root)];
    while let Some((path, value)) = open.pop() {
        let (Value::Dict(id), Some(entries)) = (value, pickle.arena.entries(value)) else {
            continue;
        };
        if !seen.insert(*id) {
            continue;
        }
        let (mut tensors, mut others) = (BTreeMap::new(), 0);
        for (key, value) in entries {
            match (key, value) {
                (Value::Text(name), Value::Tensor(tensor)) if name.len() <= LONGEST_NAME => {
                    tensors.insert(name.as_ref(), tensor.as_ref());
                    continue;
                }
                (Value::Text(name), Value::Dict(_)) if path.len() < DEPTH => {
                    open.push(([path.as_slice(), &[name.as_ref()]].concat(), value));
                }
                _ => {}
            }
            others += 1;
        }
        if !tensors.is_empty() {
            found.push(Candidate {
                path,
                tensors,
                others,
            });
        }
    }
    found
}

fn nothing(pickle: &Pickle) -> String {
    let advice = "save model.state_dict()";
    let Some(entries) = pickle.arena.entries(&pickle.root) else {
        return format!("it holds no dictionary of named tensors: {advice}");
    };
    let text = |(key, _): &(Value, Value)| match key {
        Value::Text(key) => Some(format!("`{key}`")),
        _ => None,
    };
    let mut keys: Vec<String> = entries.iter().filter_map(text).take(SHOWN + 1).collect();
    if keys.len() > SHOWN {
        keys[SHOWN] = "…".into();
    }
    match keys.is_empty() {
        true => format!("its dictionary is empty: {advice}"),
        false => format!(
            "there are no named tensors in it (it has the keys {}): {advice}",
            keys.join(", ")
        ),
    }
}
