//! Inspects an image and its mask, unless the index cache knows them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use files::sha256;
use imaging::{Decoder, Header, Mask, intensities};

use super::cache::Cache;
use super::entry::{DicomEntry, Entry, ImageEntry, MaskEntry, MaskFacts, Stamp};
use crate::acquisition::attributes;
use crate::histogram::levels;
use crate::manifest::Masks;
use crate::scan::Candidate;
use crate::small::{Small, Values};

/// What is known of a candidate after its inspection.
pub(super) struct Learned {
    pub(super) entry: Entry,
    /// The small copy; `None` for a file that cannot be used.
    pub(super) values: Option<Values>,
    /// Of a DICOM file that was read now: its identifiers are not yet hashed.
    pub(super) header: Option<Box<Header>>,
    /// Whether the image was not read, because it is unchanged.
    pub(super) known: bool,
    /// Whether the cache is to keep the entry, which it does not have yet.
    pub(super) keep: bool,
    /// Whether it may keep the mask with it.
    keep_mask: bool,
}

/// How to inspect.
pub(super) struct With<'c> {
    pub(super) masks: Option<&'c Masks>,
    pub(super) decoder: Decoder,
}

impl Learned {
    /// From the cache where image and mask are unchanged; `cache` is `None` to read the image in any case.
    pub(super) fn of(candidate: &Candidate, with: &With<'_>, cache: Option<&Cache>) -> Self {
        let now = SystemTime::now();
        let stamp = Stamp::of(&candidate.file);
        let known = cache.zip(stamp).and_then(|(cache, stamp)| {
            let (entry, values) = cache.find(&candidate.path, stamp)?;
            Some(Self::known(entry, values))
        });
        let mut learned = known.unwrap_or_else(|| Self::read(candidate, with.decoder, stamp, now));
        learned.add_mask(candidate, with, now);
        learned
    }

    /// What the cache is to keep: a mask that cannot be relied on is read again next time.
    pub(super) fn kept(&self) -> Entry {
        let mut entry = self.entry.clone();
        if !self.keep_mask {
            entry.mask = None;
        }
        entry
    }

    fn known(entry: Entry, values: Option<Values>) -> Self {
        Self {
            entry,
            values,
            header: None,
            known: true,
            keep: false,
            keep_mask: true,
        }
    }

    fn read(
        candidate: &Candidate,
        decoder: Decoder,
        stamp: Option<Stamp>,
        now: SystemTime,
    ) -> Self {
        let bytes = decoder.read(&candidate.file);
        // What the system refuses today it may allow tomorrow, although the file stays the same.
        let lasting = bytes.is_ok();
        let read = bytes.and_then(|bytes| read(&bytes, decoder, &candidate.path));
        let (image, values, header) = match read {
            Ok((image, values, header)) => (Ok(image), Some(values), header),
            Err(reason) => (Err(reason), None, None),
        };
        Self {
            keep: lasting && is_settled(&candidate.file, stamp, now),
            entry: Entry {
                path: candidate.path.clone(),
                stamp,
                image,
                mask: None,
            },
            values,
            header,
            known: false,
            keep_mask: true,
        }
    }

    /// Reads the mask, unless the entry has it.
    fn add_mask(&mut self, candidate: &Candidate, with: &With<'_>, now: SystemTime) {
        let (Ok(image), Some(masks)) = (&self.entry.image, with.masks) else {
            return;
        };
        if candidate.masks.is_empty() {
            self.entry.mask = None;
            return;
        }
        let settings = mask_settings(masks, with.decoder);
        let files = MaskEntry::stamped(&masks.root, &candidate.masks);
        let is_same = |mask: &MaskEntry| mask.settings == settings && mask.files == files;
        let complete = files.iter().all(|(_, stamp)| stamp.is_some());
        if complete && self.entry.mask.as_ref().is_some_and(is_same) {
            return;
        }
        let paths: Vec<PathBuf> = candidate.masks.iter().map(|m| masks.root.join(m)).collect();
        let bytes = paths.iter().map(|path| with.decoder.read(path));
        let bytes: Result<Vec<Vec<u8>>, String> = bytes.collect();
        let lasting = bytes.is_ok();
        let mask = bytes.and_then(|bytes| read_mask(&bytes, masks, with.decoder, image));
        let mut stamps = paths.iter().zip(&files);
        let settled = stamps.all(|(path, (_, stamp))| is_settled(path, *stamp, now));
        self.keep_mask = lasting && settled;
        self.keep |= self.known && self.keep_mask;
        self.entry.mask = Some(MaskEntry {
            settings,
            files,
            mask,
        });
    }
}

/// Whether a file is as it was before it was read, and a later change would be noticed.
fn is_settled(file: &Path, stamp: Option<Stamp>, before: SystemTime) -> bool {
    stamp.is_some_and(|stamp| stamp.is_settled(before)) && Stamp::of(file) == stamp
}

/// What the reading of masks depends on.
fn mask_settings(masks: &Masks, decoder: Decoder) -> String {
    let config = &masks.config;
    let all = format!("{:?} {} {decoder:?}", config.coding, config.resize);
    let root = masks.root.as_os_str().as_encoded_bytes();
    sha256::of_parts([all.as_bytes(), b"\0", root])
}

type Read = (ImageEntry, Values, Option<Box<Header>>);

fn read(bytes: &[u8], decoder: Decoder, path: &str) -> Result<Read, String> {
    let decoded = decoder.decode(bytes)?;
    let (image, turned) = (decoded.pixels, decoded.turned);
    let (width, height, color) = (image.width(), image.height(), image.color());
    let values = intensities(image);
    let (mean, std) = mean_and_std(&values);
    let (signature, small) = Small::of(&values, width as usize).into_parts();
    let image = ImageEntry {
        width,
        height,
        channels: color.channel_count(),
        bit_depth: (color.bits_per_pixel() / u16::from(color.channel_count())) as u8,
        range: range(&values),
        mean,
        std,
        sha256: sha256::hex(bytes),
        turned,
        levels: levels(&values),
        signature,
        dicom: decoded.header.as_deref().map(|header| dicom(header, path)),
    };
    Ok((image, small, decoded.header))
}

/// Without the identifiers, which are hashed once their salt is known.
fn dicom(header: &Header, path: &str) -> DicomEntry {
    // A short identifier may be in the path by chance.
    let reveals = |id: &str| id.len() >= 4 && path.contains(id);
    DicomEntry {
        attributes: attributes(header),
        spacing: header.pixel_spacing,
        burned_in: header.burned_in_annotation == Some(true),
        reveals: header
            .patient_id
            .as_ref()
            .is_some_and(|id| reveals(id.reveal())),
        ..DicomEntry::default()
    }
}

/// The mask's facts, with the hash of the bytes of a single file, or of the hashes of several.
fn read_mask(
    bytes: &[Vec<u8>],
    masks: &Masks,
    decoder: Decoder,
    image: &ImageEntry,
) -> Result<MaskFacts, String> {
    let mask = Mask::of_bytes(bytes, &masks.config.coding, decoder)?;
    mask.check_size(image.width, image.height, masks.config.resize)?;
    let hashes: Vec<String> = bytes.iter().map(|b| sha256::hex(b)).collect();
    Ok(MaskFacts {
        shares: mask.shares(masks.config.coding.classes()),
        sha256: match &hashes[..] {
            [one] => one.clone(),
            several => sha256::hex(several.concat().as_bytes()),
        },
    })
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
