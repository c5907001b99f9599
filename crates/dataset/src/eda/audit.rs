//! Checks for leakage: the same patient or the same file in more than one split.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::split_name;
use crate::groups::{first_positions, group_rows};
use crate::{DatasetError, Manifest};

/// Files with the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DuplicateGroup {
    /// SHA-256 of the bytes, hexadecimal.
    pub sha256: String,
    /// Two or more, sorted.
    pub paths: Vec<String>,
    /// Whether the copies are in more than one split.
    pub crosses_splits: bool,
    /// Whether they have more than one label, of which at least one is wrong.
    pub crosses_classes: bool,
    /// Whether they belong to more than one patient by name.
    pub crosses_patients: bool,
}

/// A patient in more than one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeakedPatient {
    /// The patient's key.
    pub patient: String,
    /// The splits of its images.
    pub splits: Vec<SplitCount>,
}

/// Images of one patient in one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitCount {
    /// "train", "val" or "test".
    pub split: String,
    /// Its images there.
    pub images: usize,
}

pub(super) fn duplicates(manifest: &Manifest) -> Result<Vec<DuplicateGroup>, DatasetError> {
    let groups = group_rows(manifest.frame(), &["sha256"])?;
    let duplicates = groups.iter().filter(|group| group.len() > 1);
    Ok(duplicates
        .map(|group| duplicate_group(manifest, group))
        .collect())
}

fn duplicate_group(manifest: &Manifest, group: &[usize]) -> DuplicateGroup {
    let records = || group.iter().map(|&row| &manifest.rows()[row]);
    DuplicateGroup {
        sha256: manifest.rows()[group[0]].sha256.clone(),
        paths: records().map(|r| r.path.clone()).collect(),
        // A copy that was left out is in no split and is not used.
        crosses_splits: differ(records().filter_map(|r| r.split)),
        crosses_classes: differ(records().map(|r| r.class)),
        crosses_patients: differ(records().map(|r| r.patient.as_str())),
    }
}

fn differ<T: Ord>(values: impl Iterator<Item = T>) -> bool {
    values.collect::<BTreeSet<_>>().len() > 1
}

/// `in_splits` has the rows of each patient in each split.
pub(super) fn leaked_patients(manifest: &Manifest, in_splits: &[Vec<usize>]) -> Vec<LeakedPatient> {
    let record = |group: &Vec<usize>| &manifest.rows()[group[0]];
    let of_splits = in_splits
        .iter()
        .filter(|group| record(group).split.is_some());
    let groups: Vec<&Vec<usize>> = of_splits.collect();
    let mut by_patient = BTreeMap::<&str, BTreeMap<_, usize>>::new();
    let same = &manifest.first_of_same().patient;
    let firsts = first_positions(groups.iter().map(|group| same[group[0]]), same.len());
    for (i, first) in firsts
        .into_iter()
        .enumerate()
        .filter(|(i, first)| first != i)
    {
        for group in [groups[first], groups[i]] {
            let record = record(group);
            let splits = by_patient.entry(&record.patient).or_default();
            splits.insert(record.split, group.len());
        }
    }
    by_patient
        .into_iter()
        .map(|(patient, splits)| leaked_patient(patient, splits))
        .collect()
}

fn leaked_patient(patient: &str, splits: BTreeMap<Option<crate::Split>, usize>) -> LeakedPatient {
    let count = |(split, images)| SplitCount {
        split: split_name(split),
        images,
    };
    LeakedPatient {
        patient: patient.to_owned(),
        splits: splits.into_iter().map(count).collect(),
    }
}
