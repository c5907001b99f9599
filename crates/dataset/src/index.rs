//! Data folder → manifest: every file opened, hashed and decoded once, in parallel.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::decode::{decode, intensities};
use crate::manifest::Parts;
use crate::patient::PatientRules;
use crate::scan::{Candidate, Scan, scan};
use crate::{BadImage, DatasetError, ImageRecord, IndexConfig, Manifest, OnBadImage};

/// Called with (files done, files in all) after each file, from several threads at once.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Indexes a data folder without reporting progress.
///
/// # Errors
/// As [`index_with_progress`].
pub fn index(config: &IndexConfig) -> Result<Manifest, DatasetError> {
    index_with_progress(config, &|_, _| {})
}

/// Indexes a data folder: finds the images, reads, hashes and decodes each.
///
/// Files that cannot be used are listed in [`Manifest::bad_images`], or end the indexing with
/// [`OnBadImage::Fail`]. A mask that cannot be used counts as bad too, and its image goes without.
///
/// # Errors
/// A missing data, split or class folder, fewer than two classes, a class without a usable image,
/// a patient rule that does not compile, or (when asked to) the first bad file by path.
pub fn index_with_progress(
    config: &IndexConfig,
    progress: Progress<'_>,
) -> Result<Manifest, DatasetError> {
    let rules = PatientRules::compile(&config.patients)?;
    if let Some(path) = config.masks.as_ref().filter(|masks| !masks.is_dir()) {
        return Err(DatasetError::NoDataFolder { path: path.clone() });
    }
    let found = scan(config)?;
    let inspected = inspect_all(&found, config.masks.as_deref(), &rules, progress);
    let (records, bad_images, unmatched) = sort_out(&found, inspected);
    if let (OnBadImage::Fail, Some(bad)) = (config.on_bad_image, bad_images.first()) {
        let path = config.root.join(&bad.path);
        return Err(DatasetError::BadImage {
            path,
            reason: bad.reason.clone(),
        });
    }
    refuse_empty_classes(&found, &records)?;
    Manifest::from_parts(Parts {
        root: config.root.clone(),
        masks: config.masks.clone(),
        classes: found.classes,
        records,
        bad_images,
        unmatched_patients: if config.patients.is_empty() {
            0
        } else {
            unmatched
        },
        ignored_files: found.ignored,
    })
}

struct Inspected {
    record: ImageRecord,
    matched: bool,
    bad_mask: Option<BadImage>,
}

fn inspect_all(
    found: &Scan,
    masks: Option<&Path>,
    rules: &PatientRules,
    progress: Progress<'_>,
) -> Vec<Result<Inspected, BadImage>> {
    let done = AtomicUsize::new(0);
    let total = found.candidates.len();
    let inspect_one = |candidate: &Candidate| {
        let inspected = inspect(candidate, masks, rules);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        inspected
    };
    found.candidates.par_iter().map(inspect_one).collect()
}

fn inspect(
    candidate: &Candidate,
    masks: Option<&Path>,
    rules: &PatientRules,
) -> Result<Inspected, BadImage> {
    let bad = |reason| BadImage {
        path: candidate.path.clone(),
        reason,
    };
    let bytes = std::fs::read(&candidate.file).map_err(|error| bad(error.to_string()))?;
    let image = decode(&bytes).map_err(bad)?;
    let (width, height, color) = (image.width(), image.height(), image.color());
    let (mean, std) = mean_and_std(&intensities(image));
    let key = candidate
        .file
        .file_stem()
        .and_then(|stem| rules.key(stem.to_str()?));
    let (mask, bad_mask) = inspect_mask(masks, &candidate.path);
    let record = ImageRecord {
        path: candidate.path.clone(),
        split: candidate.split,
        class: candidate.class,
        patient: key.clone().unwrap_or_else(|| candidate.path.clone()),
        mask,
        width,
        height,
        channels: color.channel_count(),
        bit_depth: (color.bits_per_pixel() / u16::from(color.channel_count())) as u8,
        mean,
        std,
        sha256: hex(&Sha256::digest(&bytes)),
    };
    Ok(Inspected {
        record,
        matched: key.is_some(),
        bad_mask,
    })
}

/// The mask of `path`, relative to the mask tree: the same path with `.png`, or the same name.
fn inspect_mask(masks: Option<&Path>, path: &str) -> (Option<String>, Option<BadImage>) {
    let Some(masks) = masks else {
        return (None, None);
    };
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let mask = format!("{stem}.png");
    let file: PathBuf = masks.join(&mask);
    if !file.is_file() {
        return (None, None);
    }
    let read = std::fs::read(&file).map_err(|error| error.to_string());
    match read.and_then(|bytes| decode(&bytes)) {
        Ok(_) => (Some(mask), None),
        Err(reason) => {
            let path = file.to_string_lossy().into_owned();
            (
                None,
                Some(BadImage {
                    path,
                    reason: format!("mask: {reason}"),
                }),
            )
        }
    }
}

fn mean_and_std(values: &[f32]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let var = values
        .iter()
        .map(|&v| (f64::from(v) - mean).powi(2))
        .sum::<f64>()
        / n;
    (mean, var.sqrt())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sort_out(
    found: &Scan,
    inspected: Vec<Result<Inspected, BadImage>>,
) -> (Vec<ImageRecord>, Vec<BadImage>, usize) {
    let (mut records, mut bad, mut unmatched) = (Vec::new(), found.unreadable.clone(), 0);
    for result in inspected {
        match result {
            Ok(image) => {
                unmatched += usize::from(!image.matched);
                bad.extend(image.bad_mask);
                records.push(image.record);
            }
            Err(reason) => bad.push(reason),
        }
    }
    bad.sort_by(|a, b| a.path.cmp(&b.path));
    (records, bad, unmatched)
}

fn refuse_empty_classes(found: &Scan, records: &[ImageRecord]) -> Result<(), DatasetError> {
    let filled: BTreeSet<_> = records.iter().map(|r| (r.split, r.class)).collect();
    match found
        .folders
        .iter()
        .find(|f| !filled.contains(&(f.split, f.class)))
    {
        None => Ok(()),
        Some(empty) => Err(DatasetError::EmptyClass {
            class: found.classes[empty.class].clone(),
            path: empty.folder.clone(),
        }),
    }
}
