//! Groups of rows: Polars groups by columns, and connected components of rows that share a patient or a file.

use polars::prelude::*;

use crate::error::DatasetError;
use crate::manifest::Manifest;
use crate::same::FirstOfSame;

/// Row indices of each group of equal `keys`, groups in the order of their first row.
pub(crate) fn group_rows(
    frame: &DataFrame,
    keys: &[&str],
) -> Result<Vec<Vec<usize>>, DatasetError> {
    let grouped = frame.group_by_stable(keys.iter().copied())?;
    let groups = grouped.get_groups();
    Ok(groups.iter().map(|group| indices(&group)).collect())
}

fn indices(group: &GroupsIndicator<'_>) -> Vec<usize> {
    match group {
        GroupsIndicator::Idx((_, rows)) => rows.iter().map(|&row| row as usize).collect(),
        GroupsIndicator::Slice([first, len]) => {
            (*first..first + len).map(|row| row as usize).collect()
        }
    }
}

/// For each of `keys`, which are below `end`, the position of the first equal one.
pub(crate) fn first_positions(keys: impl Iterator<Item = usize>, end: usize) -> Vec<usize> {
    let mut first = vec![usize::MAX; end];
    let positions = keys.enumerate().map(|(position, key)| {
        first[key] = first[key].min(position);
        first[key]
    });
    positions.collect()
}

/// Groups of `rows` that no split may separate: connected components under "same patient or same file" (union-find); each
/// ascending, groups in the order of their first row.
pub(crate) fn linked_groups(manifest: &Manifest, rows: &[usize]) -> Vec<Vec<usize>> {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    let mut parent: Vec<usize> = (0..sorted.len()).collect();
    let FirstOfSame { patient, file } = manifest.first_of_same();
    for same in [patient, file] {
        let keys = sorted.iter().map(|&row| same[row]);
        for (node, first) in first_positions(keys, same.len()).into_iter().enumerate() {
            let (a, b) = (root(&mut parent, first), root(&mut parent, node));
            parent[a.max(b)] = a.min(b);
        }
    }
    // A root is the first of its group.
    let mut groups: Vec<Vec<usize>> = vec![];
    let mut place = vec![0; sorted.len()];
    for (node, &row) in sorted.iter().enumerate() {
        let first = root(&mut parent, node);
        if first == node {
            place[node] = groups.len();
            groups.push(vec![]);
        }
        groups[place[first]].push(row);
    }
    groups
}

fn root(parent: &mut [usize], mut node: usize) -> usize {
    while parent[node] != node {
        parent[node] = parent[parent[node]];
        node = parent[node];
    }
    node
}
