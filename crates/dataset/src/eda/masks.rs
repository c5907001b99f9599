//! Statistics of the masks: how many there are, how many are empty, how much they cover.

use std::collections::BTreeMap;

use serde::Serialize;

use super::split_name;
use crate::{ImageRecord, Manifest, Split};

/// The masks of one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MaskSummary {
    /// "train", "val", "test" or "unassigned".
    pub split: String,
    /// Images in it.
    pub images: usize,
    /// Images with a valid mask.
    pub with_mask: usize,
    /// Images without a mask file.
    pub missing: usize,
    /// Images whose mask is unusable.
    pub bad: usize,
    /// Masks with only background: allowed, but worth knowing, because an overlap score of an empty
    /// mask is either 0 or 1.
    pub empty: usize,
    /// Masks without a single known pixel.
    pub all_ignored: usize,
    /// Every mask class, including the background.
    pub areas: Vec<MaskArea>,
    /// For each image class, the mean share of its masks that is not background.
    pub foreground_by_class: Vec<MaskArea>,
}

/// Area of a pixel class, or foreground area in an image class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MaskArea {
    /// Its name.
    pub class: String,
    /// Masks that contain the pixel class; for an image class, its masks.
    pub images: usize,
    /// Mean over masks of the share of the known pixels.
    pub mean_share: f64,
}

/// One summary per split, unassigned last; none if no masks were requested. Images that were left
/// out because of their masks count in the split of their folder.
pub(super) fn summaries(manifest: &Manifest) -> Vec<MaskSummary> {
    if !manifest.has_masks() {
        return vec![];
    }
    let mut splits = BTreeMap::<(bool, Option<Split>), Vec<&ImageRecord>>::new();
    for record in manifest.rows() {
        let split = (record.split.is_none(), record.split);
        splits.entry(split).or_default().push(record);
    }
    splits
        .into_iter()
        .map(|((_, split), records)| summary(manifest, split, &records))
        .collect()
}

fn summary(manifest: &Manifest, split: Option<Split>, records: &[&ImageRecord]) -> MaskSummary {
    let names = manifest.mask_coding().map(|coding| coding.class_names());
    let counted = |keep: fn(&ImageRecord) -> bool| records.iter().filter(|r| keep(r)).count();
    let (missing, bad) = faults(manifest, split, records);
    MaskSummary {
        split: split_name(split),
        images: records.len(),
        with_mask: counted(|r| r.has_mask()),
        missing,
        bad,
        empty: counted(|r| r.mask_is_empty()),
        all_ignored: counted(|r| r.has_mask() && r.mask_shares.is_none()),
        areas: areas(names.unwrap_or_default(), records),
        foreground_by_class: foreground(manifest, records),
    }
}

/// Missing and bad masks: indexed images count in their current split, others in that of their folder.
fn faults(manifest: &Manifest, split: Option<Split>, records: &[&ImageRecord]) -> (usize, usize) {
    let (mut missing, mut bad) = (0, 0);
    for fault in manifest.mask_faults() {
        // Rows are sorted by path, and so are those of a split.
        let here = match manifest
            .rows()
            .binary_search_by(|r| r.path.cmp(&fault.image))
        {
            Ok(_) => records
                .binary_search_by(|r| r.path.cmp(&fault.image))
                .is_ok(),
            Err(_) => fault.split == split,
        };
        missing += usize::from(here && fault.missing);
        bad += usize::from(here && !fault.missing);
    }
    (missing, bad)
}

fn areas(names: Vec<String>, records: &[&ImageRecord]) -> Vec<MaskArea> {
    let shares: Vec<&Vec<f64>> = records
        .iter()
        .filter_map(|r| r.mask_shares.as_ref())
        .collect();
    let area = |(class, name): (usize, String)| {
        let of_class = || shares.iter().filter_map(|shares| shares.get(class));
        MaskArea {
            class: name,
            images: of_class().filter(|share| **share > 0.0).count(),
            mean_share: of_class().sum::<f64>() / shares.len().max(1) as f64,
        }
    };
    names.into_iter().enumerate().map(area).collect()
}

fn foreground(manifest: &Manifest, records: &[&ImageRecord]) -> Vec<MaskArea> {
    let area = |(label, name): (usize, &String)| {
        let of_class = records.iter().filter(|r| r.class == label);
        let shares: Vec<f64> = of_class.filter_map(|r| r.mask_share()).collect();
        MaskArea {
            class: name.clone(),
            images: shares.len(),
            mean_share: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
        }
    };
    manifest.classes().iter().enumerate().map(area).collect()
}
