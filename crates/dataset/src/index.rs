//! Data folder → manifest: every file opened, hashed and decoded once, in parallel, unless it has not changed since it
//! was last indexed.

mod cache;
mod entry;
mod inspect;
mod patients;
pub(crate) mod synthetic;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::acquisition::Identity;
use crate::config::{IndexConfig, OnBadImage};
use crate::error::DatasetError;
use crate::histogram::Histogram;
use crate::left_out::{self, BadImage, Reason};
use crate::manifest::{ImageFacts, ImageRecord, Manifest, MaskFault, Masks, Parts, PatientSource};
use crate::mask::{MaskConfig, OnMask};
use crate::patient::{PatientFolders, PatientRules};
use crate::scan::{Candidate, ClassFolder, Pattern, Scan, scan};
use crate::small::{Small, Values};
use crate::split_name::Split;
use crate::walk::names::FORMATS;
use crate::walk::{Walk, relative};
use cache::{AT_ONCE, Cache};
use entry::{ImageEntry, MaskFacts};
use inspect::{Learned, With};
use patients::{Salting, identify, patient};

pub(crate) use cache::INSPECTION;
pub use cache::Reused;
#[doc(hidden)]
pub use synthetic::synthetic;

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
    let (rules, masks) = checked(config)?;
    let found = scan(config)?;
    let mut inspection = Inspection::new(config, masks.as_ref(), &rules, found.classes.len());
    let mut inspected = inspection.all(&found.candidates, progress)?;
    identify(config, &mut inspection.salting, &mut inspected)?;
    let Inspection {
        histograms,
        cache,
        known,
        ..
    } = inspection;
    let reused = Reused {
        images: known,
        notice: cache.close(&config.root, found.candidates.len()),
    };
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
        reused,
    })
}

/// Learns what an index needs to know of the `part`-th of `of` parts of the images, and keeps it in the index cache: several
/// processes share out the work, and each then indexes all images without opening them. Returns the number of images that
/// were known before. Without a cache nothing is done.
///
/// # Errors
/// As [`index_with_progress`], except for what single images or masks lack.
pub fn index_part(
    config: &IndexConfig,
    (part, of): (usize, usize),
    progress: Progress<'_>,
) -> Result<usize, DatasetError> {
    if config.cache.is_none() {
        return Ok(0);
    }
    let (rules, masks) = checked(config)?;
    let found = scan(config)?;
    let own = &found.candidates[collective::part(found.candidates.len(), part, of)];
    let mut inspection = Inspection::new(config, masks.as_ref(), &rules, found.classes.len());
    inspection.all(own, progress)?;
    Ok(inspection.known)
}

/// Patient rules and masks of the settings.
fn checked(config: &IndexConfig) -> Result<(PatientRules, Option<Masks>), DatasetError> {
    let rules = PatientRules::compile(&config.patients)?;
    let masks = config.masks.as_ref();
    let masks = masks.map(|masks| check_masks(config, masks)).transpose()?;
    Ok((rules, masks))
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

/// The inspection of all images, in the order of their paths.
struct Inspection<'c> {
    with: With<'c>,
    rules: &'c PatientRules,
    cache: Cache,
    salting: Salting<'c>,
    /// By class.
    histograms: Vec<Histogram>,
    /// Number of images that were not opened.
    known: usize,
}

/// An image, before the patients of all images are known.
struct Inspected {
    split: Option<Split>,
    facts: ImageFacts,
    /// What the patient is known from, if it is.
    source: Option<PatientSource>,
    /// Of a DICOM file, what its header identifies.
    identity: Option<Identity>,
    burned_in: bool,
    reveals: bool,
    turned: bool,
    depth: usize,
    fault: Option<MaskFault>,
}

impl<'c> Inspection<'c> {
    fn new(
        config: &'c IndexConfig,
        masks: Option<&'c Masks>,
        rules: &'c PatientRules,
        classes: usize,
    ) -> Self {
        Self {
            with: With {
                masks,
                decoder: config.decoder,
            },
            rules,
            cache: Cache::open(config.cache.as_deref(), &config.root, config.decoder),
            salting: Salting::new(config),
            histograms: vec![Histogram::default(); classes],
            known: 0,
        }
    }

    fn all(
        &mut self,
        candidates: &[Candidate],
        progress: Progress<'_>,
    ) -> Result<Vec<Result<Inspected, BadImage>>, DatasetError> {
        let done = AtomicUsize::new(0);
        let mut all = Vec::with_capacity(candidates.len());
        for some in candidates.chunks(AT_ONCE) {
            let learn = |candidate: &Candidate| {
                let learned = Learned::of(candidate, &self.with, Some(&self.cache));
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, candidates.len());
                learned
            };
            let mut learned: Vec<Learned> = some.par_iter().map(learn).collect();
            self.salting
                .hash_identifiers(&mut learned, some, &self.with)?;
            self.keep(&mut learned);
            self.known += learned.iter().filter(|image| image.known).count();
            // In the order of the paths, so that threads do not change the last digits.
            for (candidate, image) in some.iter().zip(learned) {
                all.push(self.inspected(candidate, image));
            }
        }
        Ok(all)
    }

    /// Keeps what is new, and lets go of the small copies that are kept.
    fn keep(&mut self, learned: &mut [Learned]) {
        let new = learned.iter_mut().filter(|image| image.keep);
        let (mut kept, mut values): (Vec<_>, Vec<_>) =
            new.map(|image| (image.kept(), &mut image.values)).unzip();
        let held = |values: &Option<Values>| values.as_ref().and_then(Values::read);
        let entries = kept.drain(..).zip(&values);
        let entries = entries.filter_map(|(entry, values)| match values {
            Some(_) => Some((entry, held(values)?)),
            None => Some((entry, vec![])),
        });
        let entries: Vec<_> = entries.collect();
        if entries.len() != values.len() {
            return;
        }
        for (value, stored) in values
            .iter_mut()
            .zip(self.cache.keep(&entries).into_iter().flatten())
        {
            **value = stored;
        }
    }

    fn inspected(
        &mut self,
        candidate: &Candidate,
        learned: Learned,
    ) -> Result<Inspected, BadImage> {
        let bad = |reason| BadImage {
            path: candidate.path.clone(),
            reason,
        };
        let image = learned.entry.image.map_err(bad)?;
        let values = learned
            .values
            .ok_or_else(|| bad("its pixels are gone".to_owned()))?;
        let mask = learned.entry.mask.map(|mask| mask.mask);
        let levels = image.levels.clone();
        let mut inspected = Inspected::new(candidate, (image, values), self.rules);
        if let Some(masks) = self.with.masks {
            inspected.add_mask(masks, candidate, mask);
        }
        if !inspected.is_left_out(self.with.masks) {
            self.histograms[candidate.class].add(&levels);
        }
        Ok(inspected)
    }
}

impl Inspected {
    fn new(
        candidate: &Candidate,
        (image, values): (ImageEntry, Values),
        rules: &PatientRules,
    ) -> Self {
        let dicom = image.dicom;
        let patient = patient(candidate, rules);
        let mut attributes = dicom
            .as_ref()
            .map(|d| d.attributes.clone())
            .unwrap_or_default();
        attributes.extend(candidate.attributes.clone());
        let facts = ImageFacts {
            path: candidate.path.clone(),
            class: candidate.class,
            patient: match &patient {
                Some((key, _)) => key.clone(),
                None => candidate.path.clone(),
            },
            attributes,
            spacing: dicom.as_ref().and_then(|dicom| dicom.spacing),
            masks: Vec::new(),
            mask_shares: None,
            mask_sha256: None,
            width: image.width,
            height: image.height,
            channels: image.channels,
            bit_depth: image.bit_depth,
            range: image.range,
            mean: image.mean,
            std: image.std,
            sha256: image.sha256,
            small: Small::new(image.signature, values),
        };
        Self {
            split: candidate.split,
            facts,
            source: patient.map(|(_, source)| source),
            burned_in: dicom.as_ref().is_some_and(|dicom| dicom.burned_in),
            reveals: dicom.as_ref().is_some_and(|dicom| dicom.reveals),
            identity: dicom.map(|dicom| Identity {
                patient: dicom.patient,
                study: dicom.study,
            }),
            turned: image.turned,
            depth: candidate.depth,
            fault: None,
        }
    }

    /// Whether the image is left out because of its mask.
    fn is_left_out(&self, masks: Option<&Masks>) -> bool {
        let policy = |fault: &MaskFault| masks.map(|masks| masks.config.on(fault));
        self.fault.as_ref().and_then(policy) == Some(OnMask::Skip)
    }

    /// Adds the mask, or what is wrong with it.
    fn add_mask(
        &mut self,
        masks: &Masks,
        candidate: &Candidate,
        mask: Option<Result<MaskFacts, String>>,
    ) {
        let file = candidate.masks.first().or(candidate.expected_mask.as_ref());
        let fault = |reason, missing| MaskFault {
            image: candidate.path.clone(),
            split: candidate.split,
            file: file.map(|file| masks.root.join(file)).unwrap_or_default(),
            reason,
            missing,
        };
        match mask {
            None => self.fault = Some(fault("there is no such file".to_owned(), true)),
            Some(Err(reason)) => self.fault = Some(fault(reason, false)),
            Some(Ok(mask)) => {
                self.facts.masks.clone_from(&candidate.masks);
                self.facts.mask_shares = mask.shares;
                self.facts.mask_sha256 = Some(mask.sha256);
            }
        }
    }
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
            self.revealing_paths += usize::from(image.reveals);
            self.burned_in += usize::from(image.burned_in);
            match image.source {
                Some(source) => *self.sources.entry(source).or_default() += 1,
                None => self.unknown.push((image.facts.path.clone(), image.depth)),
            }
            self.records
                .push(ImageRecord::new(image.split, image.facts));
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
