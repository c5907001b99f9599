//! Groups of rows: Polars groups by columns, and connected components of rows that share a value.

use std::collections::HashMap;

use polars::prelude::*;

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
    let by = |kind: usize| first_nodes(&sorted, |row| links(&manifest.rows()[row])[kind]);
    let (by_one, by_other) = rayon::join(|| by(0), || by(1));
    for firsts in [by_one, by_other] {
        for (node, first) in firsts.into_iter().enumerate() {
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

/// For each row the number of the first one with the same link.
fn first_nodes<'m>(rows: &[usize], link: impl Fn(usize) -> &'m str) -> Vec<usize> {
    let mut seen = HashMap::with_capacity(rows.len());
    let rows = rows.iter().enumerate();
    rows.map(|(node, &row)| *seen.entry(link(row)).or_insert(node))
        .collect()
}

fn root(parent: &mut [usize], mut node: usize) -> usize {
    while parent[node] != node {
        parent[node] = parent[parent[node]];
        node = parent[node];
    }
    node
}
