//! Groups of rows: Polars groups by columns, rows of equal values, and connected components of rows that share one.

use std::hash::{BuildHasher as _, RandomState};

use polars::prelude::*;
use rayon::prelude::*;

use crate::error::DatasetError;
use crate::manifest::{ImageRecord, Manifest};

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

/// The two values that rows in different splits must not share.
pub(crate) fn same_patient_or_file(record: &ImageRecord) -> [&str; 2] {
    [&record.patient, &record.sha256]
}

/// Connected components of `rows` under "shares a link" (union-find); each ascending, components
/// in the order of their first row.
pub(crate) fn linked_groups<'m>(
    manifest: &'m Manifest,
    rows: &[usize],
    links: fn(&'m ImageRecord) -> [&'m str; 2],
) -> Vec<Vec<usize>> {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    let mut parent: Vec<usize> = (0..sorted.len()).collect();
    for kind in 0..2 {
        let link = |node: usize| links(&manifest.rows()[sorted[node]])[kind];
        for (node, first) in first_equals(sorted.len(), link).into_iter().enumerate() {
            let (a, b) = (root(&mut parent, first), root(&mut parent, node));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); sorted.len()];
    for (node, &row) in sorted.iter().enumerate() {
        groups[root(&mut parent, node)].push(row);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// For each number below `len` the first one with the same value.
///
/// Equal values are found by sorting their hashes: a map of millions of strings, whose entries are far apart in memory,
/// takes several times as long.
pub(crate) fn first_equals<'m>(len: usize, value: impl Fn(usize) -> &'m str + Sync) -> Vec<usize> {
    let state = RandomState::new();
    let numbers = (0..len).into_par_iter();
    let mut hashes: Vec<(u64, usize)> = numbers.map(|i| (state.hash_one(value(i)), i)).collect();
    hashes.par_sort_unstable();
    let mut firsts: Vec<usize> = (0..len).collect();
    for equal in hashes.chunk_by(|a, b| a.0 == b.0).filter(|c| c.len() > 1) {
        // Other values have the same hash about never.
        let mut distinct: Vec<usize> = vec![];
        for &(_, i) in equal {
            match distinct.iter().find(|&&first| value(first) == value(i)) {
                Some(&first) => firsts[i] = first,
                None => distinct.push(i),
            }
        }
    }
    firsts
}

fn root(parent: &mut [usize], mut node: usize) -> usize {
    while parent[node] != node {
        parent[node] = parent[parent[node]];
        node = parent[node];
    }
    node
}
