//! Folds by an attribute: images of one hospital, device or view are all in one fold.

use std::collections::BTreeMap;

use crate::error::DatasetError;
use crate::groups::linked_groups;
use crate::manifest::Manifest;

/// Divides `pool` into `folds`: the values of the attribute, those with the most images first, each to the fold with the
/// fewest. A patient stays in one fold, that of most of its images. Images without a value are one more group.
pub(super) fn draw(
    manifest: &Manifest,
    pool: &[usize],
    folds: usize,
    name: &str,
) -> Result<Vec<Vec<usize>>, DatasetError> {
    let known = manifest.attribute_names();
    if !known.contains(name) {
        let known: Vec<&str> = known.into_iter().collect();
        let reason = match known.is_empty() {
            true => "is no attribute of the images, which have none; keep columns of the table by csv.attributes"
                .to_owned(),
            false => format!("is no attribute of the images; there are {}", known.join(", ")),
        };
        return Err(DatasetError::setting("folds_by column", name, &reason));
    }
    let mut by_value = BTreeMap::<Option<&str>, Vec<usize>>::new();
    for group in linked_groups(manifest, pool) {
        let value = most_frequent(manifest, &group, name);
        by_value.entry(value).or_default().extend(group);
    }
    if by_value.len() < folds {
        let reason = format!(
            "has {} different values among the training images, too few for {folds} folds",
            by_value.len()
        );
        return Err(DatasetError::setting("folds_by column", name, &reason));
    }
    let mut values: Vec<Vec<usize>> = by_value.into_values().collect();
    values.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let mut parts = vec![Vec::new(); folds];
    for rows in values {
        // The first of equals; there are two folds at least.
        if let Some(smallest) = parts
            .iter_mut()
            .min_by_key(|part: &&mut Vec<usize>| part.len())
        {
            smallest.extend(rows);
        }
    }
    Ok(parts)
}

/// The value of most images of a group; the first of equals.
fn most_frequent<'m>(manifest: &'m Manifest, group: &[usize], name: &str) -> Option<&'m str> {
    let mut counts = BTreeMap::<Option<&str>, usize>::new();
    for &row in group {
        let value = manifest.rows()[row].attributes.get(name);
        *counts.entry(value.map(String::as_str)).or_default() += 1;
    }
    // In the order of the values, so that the first of equals is the same on every machine.
    let best = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    best.and_then(|(value, _)| value)
}
