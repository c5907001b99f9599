//! Manifests of images that do not exist, for tests.

use crate::manifest::{Manifest, Parts};
use crate::{ImageFacts, ImageRecord, Split};

/// One row as (split, class, patient, content).
pub(crate) type Row = (Option<Split>, usize, u32, u32);

/// A manifest with these rows.
pub(crate) fn manifest(classes: usize, rows: &[Row]) -> Manifest {
    manifest_of(classes, rows, |_, _| {})
}

/// As [`manifest`], with the facts of each row changed by `adjust`.
pub(crate) fn manifest_of(
    classes: usize,
    rows: &[Row],
    adjust: impl Fn(usize, &mut ImageFacts),
) -> Manifest {
    let facts = |(i, &(_, class, patient, content)): (usize, &Row)| ImageFacts {
        path: format!("{i:05}.png"),
        class,
        patient: patient.to_string(),
        attributes: std::collections::BTreeMap::new(),
        spacing: None,
        masks: Vec::new(),
        mask_shares: None,
        mask_sha256: None,
        width: 8,
        height: 8,
        channels: 1,
        bit_depth: 8,
        range: [0.0, 1.0],
        mean: 0.5,
        std: 0.1,
        sha256: content.to_string(),
        small: crate::small::Small::of(&[0.5], 1),
    };
    let records = rows.iter().enumerate().map(|row| {
        let mut facts = facts(row);
        adjust(row.0, &mut facts);
        ImageRecord::new(row.1.0, facts)
    });
    Manifest::from_parts(Parts {
        root: "data".into(),
        masks: None,
        classes: (0..classes).map(|class| format!("c{class}")).collect(),
        records: records.collect(),
        bad_images: Vec::new(),
        mask_faults: Vec::new(),
        unknown_patients: 0,
        patient_rules: true,
        histograms: Vec::new(),
        patient_sources: std::collections::BTreeMap::new(),
        revealing_paths: 0,
        burned_in: 0,
        patient_folders: None,
        left_out: Vec::new(),
        unmatched_masks: Vec::new(),
        remarks: vec![],
        turned_images: 0,
        decoder: imaging::Decoder::default(),
        reused: crate::Reused::default(),
    })
    .unwrap()
}
