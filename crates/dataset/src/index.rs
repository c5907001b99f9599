//! Data folder → manifest: every file opened, hashed and decoded once, in parallel.

mod patients;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::acquisition::attributes;
use crate::config::{IndexConfig, OnBadImage};
use crate::error::DatasetError;
use crate::histogram::{Histogram, LEVELS, levels};
use crate::left_out::{self, BadImage, Reason};
use crate::manifest::{ImageRecord, Manifest, MaskFault, Masks, Parts, PatientSource};
use crate::mask::{MaskConfig, OnMask};
use crate::patient::{PatientFolders, PatientRules};
use crate::scan::{Candidate, ClassFolder, Pattern, Scan, scan};
use crate::small::Small;
use crate::walk::names::FORMATS;
use crate::walk::{Walk, relative};
use files::sha256;
use imaging::{Decoder, Header, Mask, intensities};
use patients::{identify, patient};

/// Called with (files done, files in total) after each file, from several threads at once.
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
/// handled as [`MaskConfig`] specifies.
///
/// # Errors
/// A missing data, split or class folder, fewer than two classes, a class without a usable image,
/// a patient rule that does not compile, or (if configured) the first bad file by path.
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
    let with = With {
        masks: masks.as_ref(),
        rules: &rules,
        decoder: config.decoder,
    };
    let (mut inspected, histograms) = inspect_all(&found, &with, progress);
    identify(config, &mut inspected)?;
    let sorted = sort_out(&found, masks.as_ref(), inspected);
    if let (OnBadImage::Fail, Some(bad)) = (config.on_bad_image, sorted.bad_images.first()) {
        let path = config.root.join(&bad.path);
        return Err(DatasetError::RefusedImage {
            path,
            reason: bad.reason.clone(),
        });
    }
    if let Some(masks) = &masks {
        refuse_faults(masks, &sorted.faults)?;
    }
    refuse_empty_classes(config, &found, &sorted)?;
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
        patient_folders: PatientFolders::suspected(&sorted.unknown),
        histograms,
        patient_sources: sorted.sources,
        revealing_paths: sorted.revealing_paths,
        burned_in: sorted.burned_in,
        unknown_patients: sorted.unknown.len(),
        patient_rules: !config.patients.is_empty(),
        left_out: found.left_out.finish(),
        unmatched_masks: found.unmatched_masks,
        remarks: found.remarks,
        turned_images: sorted.turned,
        decoder: config.decoder,
    })
}

fn check_masks(config: &IndexConfig, masks: &MaskConfig) -> Result<Masks, DatasetError> {
    let wrong = |reason: String| DatasetError::setting("mask", "values", &reason);
    masks.coding.check().map_err(wrong)?;
    let refuse = |pattern: &str, reason: &str| DatasetError::setting("masks", pattern, reason);
    for root in masks.trees() {
        if !root.is_dir() {
            return Err(DatasetError::NoDataFolder { path: root.clone() });
        }
        if same_folder(root, &config.root) {
            let reason = "is the images' own folder; name the folder of the masks, or the pattern \
                          of masks next to the images, such as {stem}_mask.png or \
                          ../masks/{stem}.png";
            return Err(refuse(&root.to_string_lossy(), reason));
        }
    }
    for pattern in masks.patterns() {
        Pattern::new(pattern).map_err(|reason| refuse(pattern, &reason))?;
    }
    Ok(Masks {
        root: masks.root(&config.root),
        config: masks.clone(),
    })
}

fn same_folder(a: &Path, b: &Path) -> bool {
    match (std::fs::canonicalize(a), std::fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Settings for the inspection of every image.
struct With<'c> {
    masks: Option<&'c Masks>,
    rules: &'c PatientRules,
    decoder: Decoder,
}

struct Inspected {
    record: ImageRecord,
    /// What the patient is known from, if it is.
    source: Option<PatientSource>,
    /// What a DICOM file says about its image.
    header: Option<Box<Header>>,
    turned: bool,
    depth: usize,
    fault: Option<MaskFault>,
}

fn inspect_all(
    found: &Scan,
    with: &With<'_>,
    progress: Progress<'_>,
) -> (Vec<Result<Inspected, BadImage>>, Vec<Histogram>) {
    let done = AtomicUsize::new(0);
    let total = found.candidates.len();
    let inspect_one = |candidate: &Candidate| {
        let inspected = inspect(candidate, with);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        inspected
    };
    let mut all = Vec::with_capacity(total);
    let mut histograms = vec![Histogram::default(); found.classes.len()];
    for candidates in found.candidates.chunks(AT_ONCE) {
        let inspected: Vec<_> = candidates.par_iter().map(inspect_one).collect();
        // In the order of the paths, so that threads do not change the last digits.
        for image in inspected {
            all.push(image.map(|(image, counts)| {
                if !image.is_left_out(with.masks) {
                    histograms[image.record.class].add(&counts);
                }
                image
            }));
        }
    }
    (all, histograms)
}

/// Images whose grey values are counted before they are added up: 1 kB each.
const AT_ONCE: usize = 4096;

/// An image, and its pixels by their grey value.
fn inspect(
    candidate: &Candidate,
    with: &With<'_>,
) -> Result<(Inspected, Box<[u32; LEVELS]>), BadImage> {
    let bad = |reason| BadImage {
        path: candidate.path.clone(),
        reason,
    };
    let bytes = with.decoder.read(&candidate.file).map_err(bad)?;
    let decoded = with.decoder.decode(&bytes).map_err(bad)?;
    let (image, turned) = (decoded.pixels, decoded.turned);
    let (width, height, color) = (image.width(), image.height(), image.color());
    let values = intensities(image);
    let (mean, std) = mean_and_std(&values);
    let counts = Box::new(levels(&values));
    let header = decoded.header;
    let patient = patient(candidate, with.rules);
    let mut attributes = header.as_deref().map(attributes).unwrap_or_default();
    attributes.extend(candidate.attributes.clone());
    let mut record = ImageRecord {
        path: candidate.path.clone(),
        split: candidate.split,
        class: candidate.class,
        patient: match &patient {
            Some((key, _)) => key.clone(),
            None => candidate.path.clone(),
        },
        attributes,
        spacing: header.as_deref().and_then(|header| header.pixel_spacing),
        masks: Vec::new(),
        mask_shares: None,
        mask_sha256: None,
        region: None,
        width,
        height,
        channels: color.channel_count(),
        bit_depth: (color.bits_per_pixel() / u16::from(color.channel_count())) as u8,
        range: range(&values),
        mean,
        std,
        sha256: sha256::hex(&bytes),
        small: Small::of(&values, width as usize),
    };
    let fault = with
        .masks
        .and_then(|masks| inspect_mask(masks, candidate, with.decoder, &mut record).err());
    let inspected = Inspected {
        record,
        source: patient.map(|(_, source)| source),
        header,
        turned,
        depth: candidate.depth,
        fault,
    };
    Ok((inspected, counts))
}

impl Inspected {
    /// Whether the image is left out because of its mask.
    fn is_left_out(&self, masks: Option<&Masks>) -> bool {
        let policy = |fault: &MaskFault| masks.map(|masks| masks.config.on(fault));
        self.fault.as_ref().and_then(policy) == Some(OnMask::Skip)
    }
}

/// Adds the mask to the record, or returns what is wrong with it.
fn inspect_mask(
    masks: &Masks,
    candidate: &Candidate,
    decoder: Decoder,
    record: &mut ImageRecord,
) -> Result<(), MaskFault> {
    let files: Vec<PathBuf> = candidate.masks.iter().map(|m| masks.root.join(m)).collect();
    let expected = candidate.expected_mask.as_ref().map(|m| masks.root.join(m));
    let fault = |reason, missing| MaskFault {
        image: record.path.clone(),
        split: record.split,
        file: files.first().cloned().or(expected).unwrap_or_default(),
        reason,
        missing,
    };
    if files.is_empty() {
        return Err(fault("there is no such file".to_owned(), true));
    }
    match read_mask(&files, masks, decoder, record) {
        Ok((mask, sha256)) => {
            record.masks.clone_from(&candidate.masks);
            record.mask_shares = mask.shares(masks.config.coding.classes());
            record.mask_sha256 = Some(sha256);
            Ok(())
        }
        Err(reason) => Err(fault(reason, false)),
    }
}

/// The mask and its hash: of the bytes of a single file, or of the hashes of several.
fn read_mask(
    files: &[PathBuf],
    masks: &Masks,
    decoder: Decoder,
    record: &ImageRecord,
) -> Result<(Mask, String), String> {
    let bytes: Vec<_> = files
        .iter()
        .map(|f| decoder.read(f))
        .collect::<Result<_, _>>()?;
    let mask = Mask::of_bytes(&bytes, &masks.config.coding, decoder)?;
    mask.check_size(record.width, record.height, masks.config.resize)?;
    let hashes: Vec<String> = bytes.iter().map(|b| sha256::hex(b)).collect();
    Ok((
        mask,
        match &hashes[..] {
            [one] => one.clone(),
            several => sha256::hex(several.concat().as_bytes()),
        },
    ))
}

fn range(values: &[f32]) -> [f64; 2] {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let greatest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    [least, greatest].map(f64::from)
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

#[derive(Default)]
struct Sorted {
    records: Vec<ImageRecord>,
    bad_images: Vec<BadImage>,
    /// Good images that are left out because of their masks.
    without_mask: Vec<BadImage>,
    faults: Vec<MaskFault>,
    /// Path and depth of the images whose patient is unknown.
    unknown: Vec<(String, usize)>,
    /// What patients are known from, with the number of images.
    sources: BTreeMap<PatientSource, usize>,
    /// Images that were rotated or mirrored according to their files.
    turned: usize,
    /// Images whose paths hold the Patient ID.
    revealing_paths: usize,
    /// Images with text in their pixels, according to their headers.
    burned_in: usize,
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
        let skip = image.is_left_out(masks);
        if let (true, Some(fault)) = (skip, &image.fault) {
            self.without_mask.push(BadImage {
                path: fault.image.clone(),
                reason: format!("mask {}: {}", fault.file.display(), fault.reason),
            });
        }
        if !skip {
            self.turned += usize::from(image.turned);
            self.revealing_paths += usize::from(image.reveals());
            let burned_in = image.header.as_ref().and_then(|h| h.burned_in_annotation);
            self.burned_in += usize::from(burned_in == Some(true));
            match image.source {
                Some(source) => *self.sources.entry(source).or_default() += 1,
                None => self.unknown.push((image.record.path.clone(), image.depth)),
            }
            self.records.push(image.record);
        }
        self.faults.extend(image.fault);
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

fn refuse_empty_classes(
    config: &IndexConfig,
    found: &Scan,
    sorted: &Sorted,
) -> Result<(), DatasetError> {
    if config.incomplete && !sorted.records.is_empty() {
        return Ok(());
    }
    let filled: BTreeSet<_> = sorted.records.iter().map(|r| (r.split, r.class)).collect();
    let mut folders = found.folders.iter();
    match folders.find(|f| !filled.contains(&(f.split, f.class))) {
        None => Ok(()),
        Some(empty) => Err(DatasetError::EmptyClass {
            class: found.classes[empty.class].clone(),
            path: empty.folder.clone(),
            why: why_empty(config, empty, sorted),
        }),
    }
}

/// What there is instead of images, and what to do.
fn why_empty(config: &IndexConfig, empty: &ClassFolder, sorted: &Sorted) -> String {
    // A table's rows have no folder of their own.
    let below = relative(&config.root, &empty.folder).unwrap_or_default();
    let bad = sorted.bad_images.iter().chain(&sorted.without_mask);
    let bad: Vec<&BadImage> = match empty.folder.is_dir() {
        true => bad
            .filter(|b| Path::new(&b.path).starts_with(&below))
            .collect(),
        false => bad.collect(),
    };
    if let Some(first) = bad.first() {
        let (n, path, reason) = (bad.len(), &first.path, &first.reason);
        return format!("{n} cannot be used; the first is {path}: {reason}");
    }
    let mut walk = Walk::new(&config.root, [empty.folder.as_path()], []);
    // The folder was listed a moment ago; if that fails now, there is nothing to add.
    let _listed = walk.images(&empty.folder);
    let groups = walk.tally.finish();
    let unread: Vec<_> = groups
        .into_iter()
        .filter(|g| g.reason == Reason::Format)
        .collect();
    match unread.is_empty() {
        true => "add images, or remove the folder".to_owned(),
        false => format!(
            "it holds {}, but only {FORMATS} are read: convert them to PNG, or remove the folder",
            left_out::listed(&unread)
        ),
    }
}
