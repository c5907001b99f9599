//! Numbers of patients and of their images. A patient is known by the first of its rows, so that numbers are sorted here
//! where strings would have to be compared.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::{ImageRecord, Manifest, Split};

/// The images of a patient in a split.
pub(super) struct InSplit {
    /// `None` for images in no split.
    pub(super) split: Option<Split>,
    /// The patient's first row, in whichever split.
    pub(super) first: usize,
    /// Number of the patient's images in this split.
    pub(super) images: usize,
}

/// Each patient in each split in which it has images: the splits in order, images in no split last.
pub(super) fn in_splits(manifest: &Manifest) -> Vec<InSplit> {
    let group = |(split, first): (u32, u32), images| InSplit {
        split: Split::ALL.get(split as usize).copied(),
        first: first as usize,
        images,
    };
    let of_rows = |record: &ImageRecord, first| (split_place(record.split), first);
    counted(manifest, of_rows)
        .map(|(key, images)| group(key, images))
        .collect()
}

/// Number of patients with images of a class in a split, by the split's place in [`in_splits`] and the class.
pub(super) fn in_classes(manifest: &Manifest) -> BTreeMap<(u32, usize), usize> {
    let mut patients = BTreeMap::new();
    let of_rows =
        |record: &ImageRecord, first| (split_place(record.split), record.class as u32, first);
    for ((split, class, _), _) in counted(manifest, of_rows) {
        *patients.entry((split, class as usize)).or_default() += 1;
    }
    patients
}

/// Number of images of each patient.
pub(super) fn images(manifest: &Manifest) -> Vec<usize> {
    let each = counted(manifest, |_, first| first);
    each.map(|(_, images)| images).collect()
}

/// A split's place in the order: images in no split come last.
pub(super) fn split_place(split: Option<Split>) -> u32 {
    let place = Split::ALL.iter().position(|other| split == Some(*other));
    place.unwrap_or(Split::ALL.len()) as u32
}

/// Every key of the rows, in order, and the number of rows that have it. `key` is given the first row of the patient.
fn counted<K: Ord + Copy + Send>(
    manifest: &Manifest,
    key: impl Fn(&ImageRecord, u32) -> K + Sync,
) -> impl Iterator<Item = (K, usize)> {
    let firsts = &manifest.first_of_same().patient;
    let rows = manifest.rows().par_iter().zip(firsts);
    let mut keys: Vec<K> = rows.map(|(row, first)| key(row, *first as u32)).collect();
    keys.par_sort_unstable();
    let mut at = 0;
    std::iter::from_fn(move || {
        let key = *keys.get(at)?;
        let images = keys[at..].iter().take_while(|other| **other == key).count();
        at += images;
        Some((key, images))
    })
}
