//! Manifests of any number of rows, for measuring what does not depend on image files.

use std::path::Path;

use random::Rng;
use rayon::prelude::*;

use super::cache::{AT_ONCE, Cache};
use super::entry::{Entry, ImageEntry};
use super::{Inspected, Reused};
use crate::config::PatientRule;
use crate::error::DatasetError;
use crate::histogram::{Histogram, levels};
use crate::manifest::{ImageRecord, Manifest, Parts};
use crate::patient::PatientRules;
use crate::scan::Candidate;
use crate::small::{SIDE, Small};
use crate::split_name::Split;
use imaging::Decoder;

/// Points of the grid from which an image is interpolated, per side.
pub(crate) const GRID: usize = 6;

/// A manifest of `rows` images that do not exist, with their small copies in an index cache in `folder`: two classes,
/// about three images of a patient, a test split of a fifth. All images have a common pattern, as radiographs have; one
/// in a hundred is nearly a copy of the one before, and one in two hundred has the same bytes.
///
/// # Errors
/// [`DatasetError::Frame`] only.
pub fn synthetic(rows: usize, folder: &Path) -> Result<Manifest, DatasetError> {
    let rules = PatientRules::compile(&[PatientRule {
        pattern: "(?<number>p[0-9]+)_".to_owned(),
        template: String::new(),
        prefix: String::new(),
    }])?;
    let mut cache = Cache::open(Some(folder), folder, Decoder::default());
    let mut histograms = vec![Histogram::default(); 2];
    let mut records = Vec::with_capacity(rows);
    for first in (0..rows).step_by(AT_ONCE) {
        let numbers = first..(first + AT_ONCE).min(rows);
        let drawn: Vec<(Candidate, Entry, Small)> = numbers.into_par_iter().map(drawn).collect();
        let kept: Vec<(Entry, Vec<u8>)> = drawn.iter().filter_map(kept).collect();
        let stored = cache.keep(&kept).unwrap_or_default();
        let mut stored = stored.into_iter().flatten();
        for (candidate, entry, small) in drawn {
            let values = stored.next().unwrap_or_else(|| small.into_parts().1);
            let Ok(image) = entry.image else { continue };
            histograms[candidate.class].add(&image.levels);
            let inspected = Inspected::new(&candidate, (image, values), &rules);
            records.push(ImageRecord::new(inspected.split, inspected.facts));
        }
    }
    records.sort_by(|a, b| a.path.cmp(&b.path));
    Manifest::from_parts(Parts {
        root: folder.to_owned(),
        masks: None,
        classes: vec!["NORMAL".to_owned(), "PNEUMONIA".to_owned()],
        records,
        bad_images: vec![],
        mask_faults: vec![],
        histograms,
        unknown_patients: 0,
        patient_rules: true,
        patient_sources: [(crate::PatientSource::Rule, rows)].into(),
        revealing_paths: 0,
        burned_in: 0,
        patient_folders: None,
        left_out: vec![],
        unmatched_masks: vec![],
        remarks: vec![],
        turned_images: 0,
        decoder: Decoder::default(),
        reused: Reused::default(),
    })
}

fn kept((_, entry, small): &(Candidate, Entry, Small)) -> Option<(Entry, Vec<u8>)> {
    Some((entry.clone(), small.values()?.into_owned()))
}

fn drawn(number: usize) -> (Candidate, Entry, Small) {
    // The image that this one is a copy of, or its own number.
    let of = match number % 200 {
        50 | 100 | 150 => number - 1,
        _ => number,
    };
    let mut rng = Rng::stream(1, of as u64);
    let (patient, class) = (rng.below(1 << 40) as u64 * 3 + of as u64 % 3, rng.below(2));
    let patient = patient / 3 % (1 + of as u64 / 3 + 1);
    let split = match patient % 5 {
        0 => Split::Test,
        _ => Split::Train,
    };
    let grid: Vec<f32> = (0..GRID * GRID)
        .map(|i| 0.5 + 0.2 * (i as f32 * 0.9).sin() + 0.3 * (rng.unit_f32() - 0.5))
        .collect();
    let noise = if number == of { 0.0 } else { 0.01 };
    let values: Vec<f32> = (0..SIDE * SIDE)
        .map(|i| (at(&grid, i) + noise * (i % 7) as f32 / 7.0).clamp(0.0, 1.0))
        .collect();
    let small = Small::of(&values, SIDE);
    let folder = ["NORMAL", "PNEUMONIA"][class];
    let candidate = Candidate {
        split: Some(split),
        class,
        path: format!("{split}/{folder}/p{patient:07}_{number:08}.png"),
        depth: 2,
        ..Candidate::default()
    };
    // A copy with the same bytes, or with bytes of its own.
    let content = if number % 200 == 100 { of } else { number };
    let image = ImageEntry {
        width: 1000 + rng.below(1000) as u32,
        height: 1000 + rng.below(1000) as u32,
        channels: 1,
        bit_depth: 8,
        range: [0.0, 1.0],
        mean: values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64,
        std: 0.2 + 0.1 * rng.unit(),
        sha256: files::sha256::hex(&content.to_le_bytes()),
        turned: false,
        levels: levels(&values),
        signature: small.signature().clone(),
        dicom: None,
    };
    let entry = Entry {
        path: candidate.path.clone(),
        stamp: None,
        image: Ok(image),
        mask: None,
    };
    (candidate, entry, small)
}

/// The value at a pixel of what a grid of points is interpolated to.
pub(crate) fn at(grid: &[f32], pixel: usize) -> f32 {
    let place = |i: usize| {
        let place = i as f32 * (GRID - 1) as f32 / SIDE as f32;
        (place as usize, place.fract())
    };
    let ((row, down), (column, right)) = (place(pixel / SIDE), place(pixel % SIDE));
    let value = |r: usize, c: usize| grid[(row + r) * GRID + column + c];
    let [upper, lower] = [0, 1].map(|r| value(r, 0) * (1.0 - right) + value(r, 1) * right);
    upper * (1.0 - down) + lower * down
}
