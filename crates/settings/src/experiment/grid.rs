//! `[experiment.grid]`: keys and the values of each.

use std::collections::BTreeSet;

use crate::keys::Keys;
use crate::tree::{ConfigError, Node, Value, join};

/// Keys that decide which images are in a run, or what it computes: equal in all runs, so that they can be compared.
const SHARED: [&str; 11] = [
    "data",
    "demo",
    "experiment",
    "image.bits",
    "image.equalize",
    "image.frame",
    "image.max_megapixels",
    "image.window",
    "phantom",
    "pipeline.stages",
    "pipeline.title",
];

/// A key of the grid and its values.
pub(super) struct Axis {
    pub(super) key: String,
    pub(super) values: Vec<Node>,
}

impl Axis {
    /// The key, and the values as TOML.
    pub(super) fn as_text(&self) -> (String, Vec<String>) {
        let text = |node: &Node| node.to_toml().to_string();
        (self.key.clone(), self.values.iter().map(text).collect())
    }
}

/// The grid's keys, in alphabetical order.
pub(super) fn axes(keys: &Keys<'_>, grid: Option<&Node>) -> Result<Vec<Axis>, ConfigError> {
    let mut found = vec![];
    if let Some(grid) = grid {
        collect("", grid, &mut found);
    }
    if found.is_empty() && grid.is_some() {
        return Err(keys.refuse("experiment.grid", "no key is given; remove the table"));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for pair in found.windows(2) {
        if covers(&pair[0].0, &pair[1].0) {
            let message = format!("the grid already varies {}", pair[0].0);
            return Err(refuse(&pair[1].0, pair[1].1, message));
        }
    }
    found.into_iter().map(axis).collect()
}

fn axis((key, node): (String, &Node)) -> Result<Axis, ConfigError> {
    let Value::Array(values) = &node.value else {
        return Err(refuse(&key, node, "list the values: [1e-4, 3e-4]".into()));
    };
    let distinct: BTreeSet<String> = values.iter().map(|v| v.to_toml().to_string()).collect();
    let message = match SHARED.iter().find(|shared| covers(shared, &key)) {
        Some(shared) => {
            format!("{shared} must be the same in all runs; set it in experiment.set instead")
        }
        None if key == "pipeline.seed" => "list the seeds in experiment.seeds".into(),
        None if values.is_empty() || distinct.len() < values.len() => {
            "list one or more different values".into()
        }
        None => {
            let values = values.clone();
            return Ok(Axis { key, values });
        }
    };
    Err(refuse(&key, node, message))
}

fn refuse(key: &str, node: &Node, message: String) -> ConfigError {
    ConfigError::Value {
        key: format!("experiment.grid.{key}"),
        origin: node.origin.to_string(),
        message,
    }
}

/// Dotted keys may be quoted or not: `"train.epochs" = […]` and `train.epochs = […]` are the same.
fn collect<'n>(path: &str, node: &'n Node, found: &mut Vec<(String, &'n Node)>) {
    match node.entries() {
        Some(entries) => entries
            .iter()
            .for_each(|(key, node)| collect(&join(path, key), node, found)),
        None => found.push((path.into(), node)),
    }
}

/// Whether `inner` is `outer` or one of its keys.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The index of each key's value in a combination.
pub(super) fn indices(sizes: &[usize], setting: usize) -> Vec<usize> {
    let mut rest = setting;
    let mut indices: Vec<usize> = sizes
        .iter()
        .rev()
        .map(|size| {
            let index = rest % size.max(&1);
            rest /= size.max(&1);
            index
        })
        .collect();
    indices.reverse();
    indices
}
