//! Rows → batches: decoded, resized, transformed and normalised ahead of the consumer.

mod batches;
mod disk;
mod prepare;
mod sample;
mod share;

use std::sync::Arc;

pub use batches::{Batch, EpochBatches};
pub use disk::DiskCache;
pub use sample::{Sample, SampleKey, Transform};
pub use share::Share;

use disk::Disk;
use prepare::{Cache, Files};

use imaging::{Decoder, Fit, Frame, MaskCoding, Rect};
use random::Rng;

use crate::{DatasetError, Manifest};

/// A window that is cut from an image at its own size, then resized to the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Height in pixels; smaller images keep their own height.
    pub height: usize,
    /// Width in pixels; smaller images keep their own width.
    pub width: usize,
    /// Whether the position is random, by (seed, epoch, row) and new in every epoch, or the middle.
    pub random: bool,
}

impl Crop {
    /// The window in an image of `size` (height, width); the middle without a key.
    pub fn window(&self, size: (usize, usize), key: Option<SampleKey>) -> Rect {
        let (height, width) = (self.height.min(size.0), self.width.min(size.1));
        let spare = (size.0 - height, size.1 - width);
        let (top, left) = match key.filter(|_| self.random) {
            None => (spare.0 / 2, spare.1 / 2),
            Some(key) => {
                let mut rng = Rng::keyed(key.rng_seed(), &[CROP]);
                (rng.below(spare.0 + 1), rng.below(spare.1 + 1))
            }
        };
        Rect {
            top,
            left,
            height,
            width,
        }
    }
}

/// Separates the random stream of the crops from that of the transforms, which have the same key.
const CROP: u64 = 0x6372_6F70;

/// How rows become batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Pixels down, after resizing.
    pub height: usize,
    /// Pixels across, after resizing.
    pub width: usize,
    /// How an image of another shape is fitted into that size.
    pub fit: Fit,
    /// The part of an image that is used; `None`: its region, or all of it if it has none. Images with regions are not
    /// cropped.
    pub crop: Option<Crop>,
    /// 1 (luma, Rec. 601) or 3 (grey is replicated).
    pub channels: usize,
    /// Images per batch.
    pub batch_size: usize,
    /// Subtracted from the values in [0, 1], one per channel.
    pub mean: Vec<f32>,
    /// Then divided by, one per channel.
    pub std: Vec<f32>,
    /// Decides the order and, through [`SampleKey`], every transform.
    pub seed: u64,
    /// A new order each epoch; otherwise the rows as given.
    pub shuffle: bool,
    /// Leave out the last batch if it is not full.
    pub drop_last: bool,
    /// Batches kept ready ahead of the consumer.
    pub queue: usize,
    /// Memory for decoded and resized images, so that a file is not decoded again in every epoch.
    pub cache_bytes: usize,
    /// The part of each epoch that this process reads.
    pub share: Share,
    /// Disk for those that do not fit in memory; not used for random crops, which are cut from whole images.
    pub disk: Option<DiskCache>,
}

impl Default for LoaderConfig {
    /// 224×224×3 in batches of 16, normalised by 0.5/0.5, in order, 1 GiB of cache.
    fn default() -> Self {
        Self {
            height: 224,
            width: 224,
            fit: Fit::Stretch,
            crop: None,
            channels: 3,
            batch_size: 16,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
            seed: 0,
            shuffle: false,
            drop_last: false,
            queue: 2,
            cache_bytes: 1 << 30,
            share: Share::ALL,
            disk: None,
        }
    }
}

/// Yields the images of some rows in batches, epoch after epoch.
///
/// A file that can no longer be read ends the epoch with an error: without it the batches would
/// contain other images than the manifest states. Work happens on Rayon's global pool; a sample
/// depends only on (seed, epoch, row), so neither the number of threads nor the cache changes a
/// result.
#[derive(Clone)]
pub struct Loader {
    shared: Arc<Shared>,
}

/// State shared by the consumer and the worker thread.
struct Shared {
    config: LoaderConfig,
    rows: Vec<usize>,
    files: Vec<Files>,
    with_masks: bool,
    coding: MaskCoding,
    transform: Option<Transform>,
    decoder: Decoder,
    cache: Cache,
    disk: Option<Arc<Disk>>,
}

impl Loader {
    /// A loader over `rows` of `manifest` (indices into [`Manifest::rows`]).
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for a size of 0, channels other than 1 or 3, a mean or std that
    /// is not one finite value per channel, no rows, a row out of range, or no full batch under
    /// `drop_last`.
    pub fn new(
        manifest: &Manifest,
        rows: Vec<usize>,
        config: LoaderConfig,
    ) -> Result<Self, DatasetError> {
        check(manifest, &rows, &config)?;
        let files: Vec<Files> = manifest
            .rows()
            .iter()
            .map(|r| Files::of(manifest, r))
            .collect();
        let coding = manifest.mask_coding().cloned().unwrap_or_default();
        let random = config.crop.is_some_and(|crop| crop.random);
        let disk = config.disk.as_ref().filter(|_| !random).map(|settings| {
            let reading = (manifest.decoder(), &coding);
            Arc::new(Disk::open(settings, reading, frame(&config), config.crop))
        });
        let shared = Shared {
            cache: Cache::new(files.len(), config.cache_bytes),
            disk,
            with_masks: manifest.has_masks(),
            coding,
            transform: None,
            decoder: manifest.decoder(),
            config,
            rows,
            files,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The same loader (with an empty cache) whose samples pass through `transform` after resizing
    /// and before normalisation.
    #[must_use]
    pub fn with_transform(self, transform: Transform) -> Self {
        let old = &self.shared;
        let shared = Shared {
            config: old.config.clone(),
            rows: old.rows.clone(),
            files: old.files.clone(),
            with_masks: old.with_masks,
            coding: old.coding.clone(),
            transform: Some(transform),
            decoder: old.decoder,
            cache: Cache::new(old.files.len(), old.config.cache_bytes),
            disk: old.disk.clone(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Starts preparing epoch `epoch`; dropping the iterator stops the work.
    pub fn epoch(&self, epoch: u64) -> EpochBatches {
        EpochBatches::start(self.shared.clone(), epoch)
    }

    /// Batches in an epoch, over all processes.
    pub fn batches_per_epoch(&self) -> usize {
        let config = &self.shared.config;
        match config.drop_last {
            true => self.shared.rows.len() / config.batch_size,
            false => self.shared.rows.len().div_ceil(config.batch_size),
        }
    }

    /// Images of a batch, counted from 0, over all processes.
    pub fn batch_len(&self, batch: usize) -> usize {
        let config = &self.shared.config;
        let start = batch.saturating_mul(config.batch_size);
        self.len().saturating_sub(start).min(config.batch_size)
    }

    /// Images in an epoch, over all processes.
    pub fn len(&self) -> usize {
        match self.shared.config.drop_last {
            true => self.batches_per_epoch() * self.shared.config.batch_size,
            false => self.shared.rows.len(),
        }
    }

    /// Always false: a loader has at least one batch.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The rows in the order of `epoch`.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        self.shared.order(epoch)
    }

    /// One sample before normalisation: resized, and with `epoch` also transformed.
    ///
    /// # Errors
    /// As the batches of [`Loader::epoch`]; a row out of range is a [`DatasetError::Setting`].
    pub fn sample(&self, row: usize, epoch: Option<u64>) -> Result<Sample, DatasetError> {
        if row >= self.shared.files.len() {
            return Err(row_error(row, self.shared.files.len()));
        }
        self.shared.sample(row, epoch)
    }

    /// The settings it was created with.
    pub fn config(&self) -> &LoaderConfig {
        &self.shared.config
    }
}

impl Shared {
    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut rows = self.rows.clone();
        if self.config.shuffle {
            Rng::keyed(self.config.seed, &[epoch]).shuffle(&mut rows);
        }
        rows
    }

    fn frame(&self) -> Frame {
        frame(&self.config)
    }
}

fn frame(config: &LoaderConfig) -> Frame {
    Frame {
        height: config.height,
        width: config.width,
        channels: config.channels,
        fit: config.fit,
    }
}

fn check(manifest: &Manifest, rows: &[usize], config: &LoaderConfig) -> Result<(), DatasetError> {
    let at_least_one = [
        ("height", config.height),
        ("width", config.width),
        ("batch_size", config.batch_size),
        ("rows", rows.len()),
        (
            "crop",
            config.crop.map_or(1, |crop| crop.height.min(crop.width)),
        ),
    ];
    if let Some((key, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
        return Err(DatasetError::setting(key, 0, "must be at least 1"));
    }
    if config.channels != 1 && config.channels != 3 {
        return Err(DatasetError::setting(
            "channels",
            config.channels,
            "must be 1 or 3",
        ));
    }
    if config.crop.is_some()
        && rows.iter().any(|row| {
            manifest
                .rows()
                .get(*row)
                .is_some_and(|r| r.region.is_some())
        })
    {
        return Err(DatasetError::setting(
            "crop",
            format!("{:?}", config.crop),
            "cannot be combined with regions of the images",
        ));
    }
    check_normalisation(config)?;
    if let Some(&row) = rows.iter().find(|&&row| row >= manifest.rows().len()) {
        return Err(row_error(row, manifest.rows().len()));
    }
    if config.drop_last && rows.len() < config.batch_size {
        let reason = format!(
            "is more than the {} images, so drop_last leaves none",
            rows.len()
        );
        return Err(DatasetError::setting(
            "batch_size",
            config.batch_size,
            &reason,
        ));
    }
    Ok(())
}

fn check_normalisation(config: &LoaderConfig) -> Result<(), DatasetError> {
    for (key, values) in [("mean", &config.mean), ("std", &config.std)] {
        let fits = values.len() == config.channels && values.iter().all(|v| v.is_finite());
        if !fits || (key == "std" && values.iter().any(|&v| v <= 0.0)) {
            let reason = format!("needs {} finite values, std above 0", config.channels);
            return Err(DatasetError::setting(key, format!("{values:?}"), &reason));
        }
    }
    Ok(())
}

fn row_error(row: usize, len: usize) -> DatasetError {
    DatasetError::setting("row", row, &format!("the manifest has {len} rows"))
}

/// Weights that make every class count equally in the loss: n / (classes · count), scikit-learn's
/// "balanced". A class without images gets 0.
pub fn class_weights(counts: &[usize]) -> Vec<f32> {
    let n = counts.iter().sum::<usize>() as f32;
    let weight = |&count: &usize| match count {
        0 => 0.0,
        count => n / (counts.len() as f32 * count as f32),
    };
    counts.iter().map(weight).collect()
}
