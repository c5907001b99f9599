//! The table of images: a Polars frame for queries, typed rows for code.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use polars::prelude::*;
use serde::Serialize;

use files::sha256;
use imaging::{
    Decoder, Frame, Framed, ImageFile, Mask, MaskCoding, PixelSpacing, Rect, UNKNOWN, intensities,
};

use crate::error::DatasetError;
use crate::histogram::Histogram;
use crate::index::Reused;
use crate::left_out::{BadImage, LeftOut};
use crate::mask::MaskConfig;
use crate::patient::PatientFolders;
use crate::same::{Facts, FirstOfSame};
use crate::small::{Small, reduced};
use crate::split_name::Split;

/// One usable image: what is known of its file, and what a run makes of it. Clones share the former.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRecord {
    /// The split it belongs to, if any.
    pub split: Option<Split>,
    /// The part of the image that networks and baselines see, in its own pixels; all of it if `None`.
    pub region: Option<Rect>,
    facts: Arc<ImageFacts>,
}

/// What is known of an image, whatever a run makes of it; the fields of an [`ImageRecord`], which dereferences to it.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFacts {
    /// Relative to [`Manifest::root`], '/'-separated.
    pub path: String,
    /// Label: index into [`Manifest::classes`].
    pub class: usize,
    /// Patient key; the path if the patient is unknown.
    pub patient: String,
    /// What the table or the DICOM header says about the image besides, by the names of the columns.
    pub attributes: BTreeMap<String, String>,
    /// Distance between pixels, if the file states it.
    pub spacing: Option<PixelSpacing>,
    /// Mask files relative to the masks' folder: none if there is no valid mask, several if they are
    /// parts of one.
    pub masks: Vec<String>,
    /// Share of each mask class among the mask's known pixels; `None` without a mask or if all
    /// its pixels are ignored.
    pub mask_shares: Option<Vec<f64>>,
    /// SHA-256 of the mask file's bytes, hexadecimal; of the hashes if there are several files.
    pub mask_sha256: Option<String>,
    /// Width in pixels, in the orientation that the file specifies.
    pub width: u32,
    /// Height in pixels, in the same orientation.
    pub height: u32,
    /// 1 to 4, as stored.
    pub channels: u8,
    /// 8 or 16 bits per channel.
    pub bit_depth: u8,
    /// Lowest and highest grey value in [0, 1].
    pub range: [f64; 2],
    /// Mean of the grey values in [0, 1].
    pub mean: f64,
    /// Standard deviation of the grey values in [0, 1].
    pub std: f64,
    /// SHA-256 of the file's bytes, hexadecimal.
    pub sha256: String,
    /// By which near-identical images are found: 4 kB per image, in memory or in the index cache.
    pub(crate) small: Small,
}

impl Deref for ImageRecord {
    type Target = ImageFacts;

    fn deref(&self) -> &ImageFacts {
        &self.facts
    }
}

impl ImageRecord {
    /// An image of which all is used.
    pub(crate) fn new(split: Option<Split>, facts: ImageFacts) -> Self {
        Self {
            split,
            region: None,
            facts: Arc::new(facts),
        }
    }
}

impl ImageFacts {
    /// Whether there is a valid mask.
    pub fn has_mask(&self) -> bool {
        !self.masks.is_empty()
    }

    /// The mask's files as one string; `None` without a mask.
    fn mask_text(&self) -> Option<String> {
        self.has_mask().then(|| self.masks.join(";"))
    }

    /// Share of the mask's known pixels that are not background (class 0).
    pub fn mask_share(&self) -> Option<f64> {
        let shares = self.mask_shares.as_ref()?;
        Some(shares.iter().skip(1).sum())
    }

    /// Whether it has a mask with only background.
    pub fn mask_is_empty(&self) -> bool {
        self.mask_share() == Some(0.0)
    }
}

/// What an image's patient is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PatientSource {
    /// The table's patient column, as salted hashes.
    Table,
    /// A rule of [`IndexConfig::patients`](crate::IndexConfig::patients).
    Rule,
    /// The Patient ID in the DICOM header, as a salted hash.
    Header,
    /// The study in the DICOM header, which has no usable Patient ID: other studies may be of the same patient.
    Study,
}

/// An image whose mask is missing or bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MaskFault {
    /// The image, relative to the root.
    pub image: String,
    /// The split of the image's folder, or of its row in the table.
    pub split: Option<Split>,
    /// Where the mask was expected; empty if the table names none.
    pub file: PathBuf,
    /// The reason as text.
    pub reason: String,
    /// Whether the file is missing, rather than bad.
    pub missing: bool,
}

/// The masks' folder, and the settings that they were read with.
#[derive(Clone, Debug)]
pub(crate) struct Masks {
    pub(crate) root: PathBuf,
    pub(crate) config: MaskConfig,
}

/// Every usable image of a data set, sorted by path and therefore the same on every machine. Clones share everything.
#[derive(Clone, Debug)]
pub struct Manifest {
    parts: Arc<Parts>,
    frame: DataFrame,
    first_of_same: Arc<OnceLock<FirstOfSame>>,
}

/// Everything in a manifest that is not derived.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) root: PathBuf,
    pub(crate) masks: Option<Masks>,
    pub(crate) classes: Vec<String>,
    pub(crate) records: Vec<ImageRecord>,
    pub(crate) bad_images: Vec<BadImage>,
    pub(crate) mask_faults: Vec<MaskFault>,
    /// By class, the grey values of its images.
    pub(crate) histograms: Vec<Histogram>,
    pub(crate) unknown_patients: usize,
    pub(crate) patient_rules: bool,
    /// Number of images whose patient is known from each source.
    pub(crate) patient_sources: BTreeMap<PatientSource, usize>,
    /// Number of images whose path holds the Patient ID of the header.
    pub(crate) revealing_paths: usize,
    /// Number of images with text in their pixels, according to the header.
    pub(crate) burned_in: usize,
    pub(crate) patient_folders: Option<PatientFolders>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) unmatched_masks: Vec<String>,
    /// What was noticed while the files were listed, in sentences.
    pub(crate) remarks: Vec<String>,
    pub(crate) turned_images: usize,
    pub(crate) decoder: Decoder,
    pub(crate) reused: Reused,
}

impl Manifest {
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, DatasetError> {
        let frame = frame(&parts)?;
        Ok(Self {
            parts: Arc::new(parts),
            frame,
            first_of_same: Arc::default(),
        })
    }

    /// The images, one per row of [`Manifest::frame`], in the same order.
    pub fn rows(&self) -> &[ImageRecord] {
        &self.parts.records
    }

    /// Columns: `path`, `split` (null if there is none), `class`, `label`, `patient`, `mask` (null
    /// if there is none, several files joined by `;`), `width`, `height`, `channels`, `bit_depth`,
    /// `mean`, `std`, `sha256`, `mask_share` (of all mask classes except the background; null without
    /// a mask), `min`, `max`; then, if any image has it, each attribute (null where it is not known) and `rows_mm` and
    /// `columns_mm`, the distances between pixels.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// The classes in the order of their labels.
    pub fn classes(&self) -> &[String] {
        &self.parts.classes
    }

    /// The folder that the paths are relative to.
    pub fn root(&self) -> &Path {
        &self.parts.root
    }

    /// Whether masks were requested (an image may still lack its own).
    pub fn has_masks(&self) -> bool {
        self.parts.masks.is_some()
    }

    /// What mask values mean, if masks were requested.
    pub fn mask_coding(&self) -> Option<&MaskCoding> {
        self.parts.masks.as_ref().map(|masks| &masks.config.coding)
    }

    /// Names of the mask's pixel classes, if masks were requested.
    pub fn pixel_classes(&self) -> Option<Vec<String>> {
        Some(self.mask_coding()?.pixel_classes(self.classes()))
    }

    /// The true class of each pixel of an image at its own size, row by row;
    /// [`Manifest::UNKNOWN_PIXEL`] where it is unknown. `None` if the image has no mask.
    ///
    /// # Errors
    /// [`DatasetError::Vanished`] if the mask can no longer be read.
    pub fn true_pixels(&self, record: &ImageRecord) -> Result<Option<Vec<u8>>, DatasetError> {
        let files = self.mask_files(record);
        let (Some(first), Some(coding)) = (files.first(), self.mask_coding()) else {
            return Ok(None);
        };
        let mask = Mask::open(&files, coding, record.class, self.decoder()).and_then(|mask| {
            // Whether another size is allowed was decided when it was indexed.
            let fits = mask.check_size(record.width, record.height, true);
            fits.map(|()| mask)
        });
        let mask = mask.map_err(|reason| DatasetError::bad_image(first, reason).vanished())?;
        Ok(Some(
            mask.over(record.height as usize, record.width as usize),
        ))
    }

    /// Reads an image's file.
    ///
    /// # Errors
    /// [`DatasetError::Vanished`] if it can no longer be read.
    pub fn read(&self, record: &ImageRecord) -> Result<ImageFile, DatasetError> {
        let file = ImageFile::read(&self.image_file(record), self.decoder());
        file.map_err(|error| DatasetError::from(error).vanished())
    }

    /// Reads an image and fits the part of it that networks see, its region, into a frame.
    ///
    /// # Errors
    /// As [`Manifest::framed`].
    pub fn framed_region(
        &self,
        record: &ImageRecord,
        frame: Frame,
    ) -> Result<Framed, DatasetError> {
        let framed = self.read(record)?.framed_part(record.region, frame);
        framed.map_err(|error| DatasetError::from(error).vanished())
    }

    /// Reads a whole image and fits it into a frame.
    ///
    /// # Errors
    /// As [`Decoder::framed`], except [`DatasetError::Vanished`] if the file can no longer be read.
    pub fn framed(&self, record: &ImageRecord, frame: Frame) -> Result<Framed, DatasetError> {
        let framed = self.decoder().framed(&self.image_file(record), frame);
        framed.map_err(|error| DatasetError::from(error).vanished())
    }

    /// Marks a pixel of unknown class in [`Manifest::true_pixels`].
    pub const UNKNOWN_PIXEL: u8 = UNKNOWN;

    /// The masks that are missing or bad, by image; images left out because of them are also in
    /// [`Manifest::bad_images`].
    pub fn mask_faults(&self) -> &[MaskFault] {
        &self.parts.mask_faults
    }

    /// The share of a class's pixels in each of `bins` equal bins of grey, with equal weight for each image; from the
    /// decoding when the data were indexed.
    pub(crate) fn pixel_shares(&self, class: usize, bins: usize) -> Vec<f64> {
        let of_class = self.parts.histograms.get(class);
        of_class.map_or_else(|| vec![0.0; bins], |own| own.shares(bins))
    }

    /// The files that were left out.
    pub fn bad_images(&self) -> &[BadImage] {
        &self.parts.bad_images
    }

    /// Number of images whose patient no rule and no table cell gives: each counts as a separate
    /// patient. 0 if there are neither rules nor cells.
    pub fn unmatched_patients(&self) -> usize {
        match self.parts.patient_rules || self.patients_are_known() {
            true => self.parts.unknown_patients,
            false => 0,
        }
    }

    /// Whether it is known which images are of one patient.
    pub fn patients_are_known(&self) -> bool {
        self.parts.unknown_patients < self.rows().len()
    }

    /// What the patients are known from, with the number of images.
    pub fn patient_sources(&self) -> &BTreeMap<PatientSource, usize> {
        &self.parts.patient_sources
    }

    /// Number of images whose path holds the Patient ID of their DICOM header.
    pub fn revealing_paths(&self) -> usize {
        self.parts.revealing_paths
    }

    /// Number of images whose DICOM header says that there is text in the pixels, which may identify the patient.
    pub fn burned_in(&self) -> usize {
        self.parts.burned_in
    }

    /// The names of all attributes that an image has, in order.
    pub fn attribute_names(&self) -> BTreeSet<&str> {
        let names = self.rows().iter().flat_map(|r| r.attributes.keys());
        names.map(String::as_str).collect()
    }

    /// Folders that may be patients but are not treated as such.
    pub fn patient_folders(&self) -> Option<&PatientFolders> {
        self.parts.patient_folders.as_ref()
    }

    /// Files below the data folder that are not samples, by reason.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.parts.left_out
    }

    /// Mask files that belong to no image, relative to the masks' folder.
    pub fn unmatched_masks(&self) -> &[String] {
        &self.parts.unmatched_masks
    }

    /// Number of images whose patient is not known.
    pub(crate) fn unknown_patients(&self) -> usize {
        self.parts.unknown_patients
    }

    /// What was noticed while the files were listed.
    pub(crate) fn remarks(&self) -> &[String] {
        &self.parts.remarks
    }

    /// Number of images that are rotated or mirrored according to their files (EXIF orientation).
    pub fn turned_images(&self) -> usize {
        self.parts.turned_images
    }

    /// How the files are read.
    pub fn decoder(&self) -> Decoder {
        self.parts.decoder
    }

    /// Path of the image of `record`.
    pub fn image_file(&self, record: &ImageRecord) -> PathBuf {
        self.parts.root.join(&record.path)
    }

    /// Paths of the mask of `record`: none without a mask, several if they are parts of one.
    pub fn mask_files(&self, record: &ImageRecord) -> Vec<PathBuf> {
        let root = self.parts.masks.as_ref().map(|masks| &masks.root);
        let of_root = |root: &PathBuf| record.masks.iter().map(|m| root.join(m)).collect();
        root.map(of_root).unwrap_or_default()
    }

    /// Images of each class among `rows`; rows out of range are not counted.
    pub fn class_counts(&self, rows: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.classes().len()];
        rows.iter()
            .filter_map(|&row| self.rows().get(row))
            .for_each(|record| counts[record.class] += 1);
        counts
    }

    /// The values of an image's small copy; from the image itself if the index cache no longer has them.
    ///
    /// # Errors
    /// [`DatasetError::Vanished`] if the image can no longer be read either, or has changed.
    pub(crate) fn small_values<'r>(
        &self,
        record: &'r ImageRecord,
    ) -> Result<Cow<'r, [u8]>, DatasetError> {
        if let Some(values) = record.small.values() {
            return Ok(values);
        }
        let file = self.image_file(record);
        let read = || {
            let decoded = self.decoder().decode(&self.decoder().read(&file)?)?;
            let width = decoded.pixels.width() as usize;
            let values = reduced(&intensities(decoded.pixels), width);
            let same = record.small.signature().fits(&values);
            same.then_some(values).ok_or("it has changed".to_owned())
        };
        let values = read().map_err(|reason| DatasetError::bad_image(&file, reason).vanished())?;
        Ok(Cow::Owned(values))
    }

    /// What the index cache spared, and whether something was wrong with it. No result depends on it.
    pub fn reused(&self) -> &Reused {
        &self.parts.reused
    }

    /// SHA-256 over classes, paths, labels and content hashes of images and masks: the same if the
    /// data are the same.
    pub fn fingerprint(&self) -> String {
        let mut sum = sha256::Running::default();
        for class in self.classes() {
            sum.update(format!("{class}\n").as_bytes());
        }
        for r in self.rows() {
            let mask = r.mask_text().unwrap_or_default();
            let of_mask = r.mask_sha256.as_deref().unwrap_or("");
            let line = format!("{}\t{}\t{mask}\t{}{of_mask}\n", r.path, r.class, r.sha256);
            sum.update(line.as_bytes());
        }
        sum.hex()
    }

    /// Rows of the same patients and of the same files; determined once for all manifests of the same images.
    pub(crate) fn first_of_same(&self) -> &FirstOfSame {
        let facts = |row: usize| Facts {
            patient: &self.rows()[row].patient,
            file: &self.rows()[row].sha256,
        };
        self.first_of_same
            .get_or_init(|| FirstOfSame::of(self.rows().len(), facts))
    }

    /// The same images, each in the split that `split` assigns to its row.
    pub(crate) fn in_splits(
        &self,
        split: impl Fn(usize) -> Option<Split>,
    ) -> Result<Self, DatasetError> {
        let mut parts = Parts::clone(&self.parts);
        for (row, record) in parts.records.iter_mut().enumerate() {
            record.split = split(row);
        }
        let mut frame = self.frame.clone();
        frame.with_column(split_column(&parts.records))?;
        Ok(Self {
            parts: Arc::new(parts),
            frame,
            first_of_same: Arc::clone(&self.first_of_same),
        })
    }

    /// The same images, of each of which only a part is used from now on; one region per row. Loaders and
    /// [`Manifest::framed_region`] use it; [`Manifest::framed`] and [`Manifest::read`] return whole images.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for another number of regions than rows, or a region that is not inside its image.
    pub fn with_regions(&self, regions: &[Rect]) -> Result<Self, DatasetError> {
        if regions.len() != self.rows().len() {
            let reason = format!(
                "are not one per image: there are {} images",
                self.rows().len()
            );
            return Err(DatasetError::setting("regions", regions.len(), &reason));
        }
        let mut parts = Parts::clone(&self.parts);
        for (record, region) in parts.records.iter_mut().zip(regions) {
            let inside = |from: usize, side: usize, of: u32| {
                side > 0 && from.checked_add(side).is_some_and(|end| end <= of as usize)
            };
            if !inside(region.top, region.height, record.height)
                || !inside(region.left, region.width, record.width)
            {
                let reason = format!("is not inside {}", record.path);
                return Err(DatasetError::setting(
                    "region",
                    format!("{region:?}"),
                    &reason,
                ));
            }
            record.region = Some(*region);
        }
        // The frame has no column of regions.
        Ok(Self {
            parts: Arc::new(parts),
            frame: self.frame.clone(),
            first_of_same: Arc::clone(&self.first_of_same),
        })
    }

    /// Writes the frame as CSV, whole or not at all.
    ///
    /// # Errors
    /// [`DatasetError::Io`] if the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<(), DatasetError> {
        let mut csv = Vec::new();
        CsvWriter::new(&mut csv).finish(&mut self.frame.clone())?;
        files::write(path, &csv).map_err(|e| DatasetError::io("write", path, e))
    }
}

fn split_column(records: &[ImageRecord]) -> Column {
    text("split", records.iter().map(|r| r.split.map(Split::name)))
}

/// A column of texts, which are copied once, into the column.
fn text<'t>(name: &str, values: impl Iterator<Item = Option<&'t str>>) -> Column {
    StringChunked::from_iter_options(name.into(), values).into_column()
}

fn frame(parts: &Parts) -> Result<DataFrame, DatasetError> {
    let r = &parts.records;
    fn strings<'p>(
        name: &str,
        parts: &'p Parts,
        of: impl Fn(&'p ImageRecord) -> &'p str,
    ) -> Column {
        text(name, parts.records.iter().map(|record| Some(of(record))))
    }
    let integers = |name: &str, of: &dyn Fn(&ImageRecord) -> u32| {
        Column::new(name.into(), r.iter().map(of).collect::<Vec<_>>())
    };
    let reals = |name: &str, of: &dyn Fn(&ImageRecord) -> f64| {
        Column::new(name.into(), r.iter().map(of).collect::<Vec<_>>())
    };
    let masks: StringChunked = r.iter().map(|record| record.mask_text()).collect();
    let mut columns = vec![
        strings("path", parts, |r| &r.path),
        split_column(r),
        strings("class", parts, |r| &parts.classes[r.class]),
        integers("label", &|r| r.class as u32),
        strings("patient", parts, |r| &r.patient),
        masks.with_name("mask".into()).into_column(),
        integers("width", &|r| r.width),
        integers("height", &|r| r.height),
        integers("channels", &|r| u32::from(r.channels)),
        integers("bit_depth", &|r| u32::from(r.bit_depth)),
        reals("mean", &|r| r.mean),
        reals("std", &|r| r.std),
        strings("sha256", parts, |r| &r.sha256),
        Column::new(
            "mask_share".into(),
            r.iter().map(|r| r.mask_share()).collect::<Vec<_>>(),
        ),
        reals("min", &|r| r.range[0]),
        reals("max", &|r| r.range[1]),
    ];
    let names: BTreeSet<&String> = r.iter().flat_map(|r| r.attributes.keys()).collect();
    for name in names {
        let values = r.iter().map(|r| r.attributes.get(name).map(String::as_str));
        columns.push(text(name, values));
    }
    if r.iter().any(|r| r.spacing.is_some()) {
        let distances = |name: &str, of: fn(&PixelSpacing) -> f64| {
            let values = r.iter().map(|r| r.spacing.as_ref().map(of));
            Column::new(name.into(), values.collect::<Vec<Option<f64>>>())
        };
        columns.push(distances("rows_mm", |spacing| spacing.rows_mm));
        columns.push(distances("columns_mm", |spacing| spacing.columns_mm));
    }
    Ok(DataFrame::new(r.len(), columns)?)
}

/// Columns of the frame that no attribute may be named like.
pub(crate) const COLUMNS: [&str; 18] = [
    "path",
    "split",
    "class",
    "label",
    "patient",
    "mask",
    "width",
    "height",
    "channels",
    "bit_depth",
    "mean",
    "std",
    "sha256",
    "mask_share",
    "min",
    "max",
    "rows_mm",
    "columns_mm",
];
