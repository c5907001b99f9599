//! Cache of decoded files, within a memory budget.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use files::sha256;
use imaging::{Framed, Picture, Rect};

use crate::{DatasetError, ImageRecord, Manifest};

/// Where a row's pixels come from.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) image: PathBuf,
    pub(super) masks: Vec<PathBuf>,
    pub(super) label: usize,
    pub(super) region: Option<Rect>,
    /// Of the image's content when it was indexed.
    pub(super) sha256: String,
    /// Of the mask's.
    pub(super) mask_sha256: Option<String>,
}

impl Files {
    pub(super) fn of(manifest: &Manifest, record: &ImageRecord) -> Self {
        Self {
            image: manifest.image_file(record),
            masks: manifest.mask_files(record),
            label: record.class,
            region: record.region,
            sha256: record.sha256.clone(),
            mask_sha256: record.mask_sha256.clone(),
        }
    }

    /// Whether the files have the content that was indexed.
    pub(super) fn are_as_indexed(&self) -> bool {
        let sums = self.masks.iter().map(|mask| sha256::of_file(mask).ok());
        let sums: Option<Vec<String>> = sums.collect();
        let mask = sums.map(|sums| match &sums[..] {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(sha256::hex(several.concat().as_bytes())),
        });
        sha256::of_file(&self.image).ok().as_ref() == Some(&self.sha256)
            && mask.as_ref() == Some(&self.mask_sha256)
    }
}

/// Cached content of a file: its frame if that is always the same, otherwise the whole image.
#[derive(Debug)]
pub(super) enum Prepared {
    Framed(Framed),
    Whole(Picture),
}

impl Prepared {
    fn bytes(&self) -> usize {
        match self {
            Self::Framed(framed) => framed.bytes(),
            Self::Whole(whole) => whole.bytes(),
        }
    }
}

/// Prepared images by row. Which of them fit in the budget depends on the order of access; the
/// samples do not.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Vec<OnceLock<Arc<Prepared>>>,
    used: AtomicUsize,
    budget: usize,
}

impl Cache {
    pub(super) fn new(rows: usize, budget: usize) -> Self {
        let slots = std::iter::repeat_with(OnceLock::new).take(rows).collect();
        Self {
            slots,
            used: AtomicUsize::new(0),
            budget,
        }
    }

    pub(super) fn get_or_read(
        &self,
        row: usize,
        read: impl FnOnce() -> Result<Prepared, DatasetError>,
    ) -> Result<Arc<Prepared>, DatasetError> {
        if let Some(prepared) = self.slots[row].get() {
            return Ok(prepared.clone());
        }
        let prepared = Arc::new(read()?);
        let bytes = prepared.bytes();
        let fits = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.budget;
        if !fits || self.slots[row].set(prepared.clone()).is_err() {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(prepared)
    }
}
