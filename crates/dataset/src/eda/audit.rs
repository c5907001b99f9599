//! Checks for leakage: the same patient or the same file in more than one split.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::patients::InSplit;
use super::split_name;
use crate::Manifest;
use crate::groups::first_positions;

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

pub(super) fn duplicates(manifest: &Manifest) -> Vec<DuplicateGroup> {
    let mut groups = BTreeMap::<usize, Vec<usize>>::new();
    let firsts = manifest.first_of_same().file.iter().enumerate();
    for (row, first) in firsts.filter(|(row, first)| row != *first) {
        let group = groups.entry(*first).or_insert_with(|| vec![*first]);
        group.push(row);
    }
    let duplicates = groups.values();
    duplicates
        .map(|group| duplicate_group(manifest, group))
        .collect()
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

pub(super) fn leaked_patients(manifest: &Manifest, in_splits: &[InSplit]) -> Vec<LeakedPatient> {
    let used: Vec<&InSplit> = in_splits.iter().filter(|own| own.split.is_some()).collect();
    let mut by_patient = BTreeMap::<&str, BTreeMap<_, usize>>::new();
    let firsts = first_positions(used.iter().map(|own| own.first), manifest.rows().len());
    for (i, first) in firsts
        .into_iter()
        .enumerate()
        .filter(|(i, first)| first != i)
    {
        for own in [used[first], used[i]] {
            let patient = &manifest.rows()[own.first].patient;
            let splits = by_patient.entry(patient).or_default();
            splits.insert(own.split, own.images);
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
