//! Data folder → manifest: every file opened, hashed and decoded once, in parallel.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::decode::{decode, intensities};
use crate::manifest::{MaskFault, Masks, Parts};
use crate::mask::{Mask, MaskConfig, MaskPlace, OnMask};
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
/// [`OnBadImage::Fail`]. Masks that are missing or bad are listed in [`Manifest::mask_faults`] and
/// handled as [`MaskConfig`] says.
///
/// # Errors
/// A missing data, split or class folder, fewer than two classes, a class without a usable image,
/// a patient rule that does not compile, or (when asked to) the first bad file by path.
pub fn index_with_progress(
    config: &IndexConfig,
    progress: Progress<'_>,
) -> Result<Manifest, DatasetError> {
    let rules = PatientRules::compile(&config.patients)?;
    let masks = config
        .masks
        .as_ref()
        .map(|masks| check_masks(config, masks));
    let masks = masks.transpose()?;
    let found = scan(config)?;
    let inspected = inspect_all(&found, masks.as_ref(), &rules, progress);
    let sorted = sort_out(&found, masks.as_ref(), inspected);
    if let (OnBadImage::Fail, Some(bad)) = (config.on_bad_image, sorted.bad_images.first()) {
        let path = config.root.join(&bad.path);
        return Err(DatasetError::BadImage {
            path,
            reason: bad.reason.clone(),
        });
    }
    if let Some(masks) = &masks {
        refuse_faults(masks, &sorted.faults)?;
    }
    refuse_empty_classes(&found, &sorted.records)?;
    let mut bad_images = sorted.bad_images;
    bad_images.extend(sorted.without_mask);
    bad_images.sort_by(|a, b| a.path.cmp(&b.path));
    Manifest::from_parts(Parts {
        root: config.root.clone(),
        masks,
        classes: found.classes,
        records: sorted.records,
        bad_images,
        mask_faults: sorted.faults,
        unmatched_patients: match config.patients.is_empty() {
            true => 0,
            false => sorted.unmatched,
        },
        ignored_files: found.ignored,
    })
}

fn check_masks(config: &IndexConfig, masks: &MaskConfig) -> Result<Masks, DatasetError> {
    let wrong = |reason: String| DatasetError::setting("mask", "values", &reason);
    masks.coding.check().map_err(wrong)?;
    let root = match &masks.place {
        MaskPlace::Tree(tree) if !tree.is_dir() => {
            return Err(DatasetError::NoDataFolder { path: tree.clone() });
        }
        MaskPlace::Beside(pattern) if !pattern.contains("{stem}") || pattern.contains('/') => {
            let reason = "must be a file name that holds {stem}, such as {stem}_mask.png";
            return Err(DatasetError::setting("masks", pattern, reason));
        }
        MaskPlace::Tree(tree) => tree.clone(),
        MaskPlace::Beside(_) | MaskPlace::Column => config.root.clone(),
    };
    Ok(Masks {
        root,
        config: masks.clone(),
    })
}

struct Inspected {
    record: ImageRecord,
    matched: bool,
    fault: Option<MaskFault>,
}

fn inspect_all(
    found: &Scan,
    masks: Option<&Masks>,
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
    masks: Option<&Masks>,
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
    let stem = candidate.file.file_stem().and_then(|stem| stem.to_str());
    let key = candidate
        .patient
        .clone()
        .or_else(|| stem.and_then(|stem| rules.key(stem)));
    let mut record = ImageRecord {
        path: candidate.path.clone(),
        split: candidate.split,
        class: candidate.class,
        patient: key.clone().unwrap_or_else(|| candidate.path.clone()),
        mask: None,
        mask_shares: None,
        mask_sha256: None,
        width,
        height,
        channels: color.channel_count(),
        bit_depth: (color.bits_per_pixel() / u16::from(color.channel_count())) as u8,
        mean,
        std,
        sha256: hex(&Sha256::digest(&bytes)),
    };
    let fault = masks.and_then(|masks| inspect_mask(masks, candidate, &mut record).err());
    Ok(Inspected {
        record,
        matched: key.is_some(),
        fault,
    })
}

/// Puts the mask into the record, or says what is wrong with it.
fn inspect_mask(
    masks: &Masks,
    candidate: &Candidate,
    record: &mut ImageRecord,
) -> Result<(), MaskFault> {
    let file = candidate.mask.as_ref().map(|mask| masks.root.join(mask));
    let fault = |reason, missing| MaskFault {
        image: record.path.clone(),
        split: record.split,
        file: file.clone().unwrap_or_default(),
        reason,
        missing,
    };
    let Some(file) = file.as_ref().filter(|file| file.is_file()) else {
        return Err(fault("there is no such file".to_owned(), true));
    };
    let (mask, sha256) = read_mask(file, masks, record).map_err(|reason| fault(reason, false))?;
    record.mask = candidate.mask.clone();
    record.mask_shares = mask.shares(masks.config.coding.classes());
    record.mask_sha256 = Some(sha256);
    Ok(())
}

fn read_mask(
    file: &PathBuf,
    masks: &Masks,
    record: &ImageRecord,
) -> Result<(Mask, String), String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let mask = Mask::read(&bytes, &masks.config.coding)?;
    mask.check_size(record.width, record.height, masks.config.resize)?;
    Ok((mask, hex(&Sha256::digest(&bytes))))
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

#[derive(Default)]
struct Sorted {
    records: Vec<ImageRecord>,
    bad_images: Vec<BadImage>,
    /// Good images that are left out for their masks.
    without_mask: Vec<BadImage>,
    faults: Vec<MaskFault>,
    unmatched: usize,
}

fn sort_out(
    found: &Scan,
    masks: Option<&Masks>,
    inspected: Vec<Result<Inspected, BadImage>>,
) -> Sorted {
    let mut sorted = Sorted {
        bad_images: found.unreadable.clone(),
        ..Sorted::default()
    };
    for result in inspected {
        match result {
            Ok(image) => sorted.add(image, masks),
            Err(bad) => sorted.bad_images.push(bad),
        }
    }
    sorted.bad_images.sort_by(|a, b| a.path.cmp(&b.path));
    sorted
}

impl Sorted {
    fn add(&mut self, image: Inspected, masks: Option<&Masks>) {
        let policy = |fault: &MaskFault| masks.map(|masks| masks.config.on(fault));
        let skip = image.fault.as_ref().and_then(policy) == Some(OnMask::Skip);
        if let (true, Some(fault)) = (skip, &image.fault) {
            self.without_mask.push(BadImage {
                path: fault.image.clone(),
                reason: format!("mask {}: {}", fault.file.display(), fault.reason),
            });
        }
        self.faults.extend(image.fault);
        if !skip {
            self.unmatched += usize::from(!image.matched);
            self.records.push(image.record);
        }
    }
}

impl MaskConfig {
    fn on(&self, fault: &MaskFault) -> OnMask {
        match fault.missing {
            true => self.on_missing,
            false => self.on_bad,
        }
    }
}

fn refuse_faults(masks: &Masks, faults: &[MaskFault]) -> Result<(), DatasetError> {
    let refused = |fault: &&MaskFault| masks.config.on(fault) == OnMask::Fail;
    let Some(fault) = faults.iter().find(refused) else {
        return Ok(());
    };
    let of_image = || fault.file.as_os_str().is_empty();
    Err(DatasetError::BadMask {
        path: match of_image() {
            true => PathBuf::from(format!("of {}", fault.image)),
            false => fault.file.clone(),
        },
        reason: fault.reason.clone(),
        key: match fault.missing {
            true => "on_missing_mask",
            false => "on_bad_mask",
        },
    })
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
