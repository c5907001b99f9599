//! The thread that prepares batches ahead, and the iterator over them.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use imaging::{Picture, Placement, Rect};
use rayon::prelude::*;

use super::prepare::Prepared;
use super::sample::{Sample, SampleKey};
use super::{LoaderConfig, Shared};
use crate::DatasetError;

/// A batch of images, ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// NHWC, normalised: (value − mean) / std.
    pub images: Vec<f32>,
    /// NHW, class numbers (0 and 1 in a binary mask), NaN where the class is unknown: ignored
    /// values, the border around a padded image, and every pixel of an image without a mask. `None`
    /// if the data set has no masks.
    pub masks: Option<Vec<f32>>,
    /// Whether each image has a mask.
    pub has_mask: Vec<bool>,
    /// Class of each image.
    pub labels: Vec<usize>,
    /// Number of the batch in its epoch, from 0.
    pub number: usize,
    /// Manifest row of each image.
    pub rows: Vec<usize>,
    /// Where each file's pixels are, and the inverse mapping to its own size; before any transform.
    pub placements: Vec<Placement>,
    /// N.
    pub len: usize,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
    /// C.
    pub channels: usize,
}

/// The batches of one epoch, in order; ends after the first error.
#[derive(Debug)]
pub struct EpochBatches {
    receiver: Option<Receiver<Result<Batch, DatasetError>>>,
    worker: Option<JoinHandle<()>>,
}

impl EpochBatches {
    pub(super) fn start(shared: Arc<Shared>, epoch: u64) -> Self {
        let (sender, receiver) = sync_channel(shared.config.queue);
        let worker = std::thread::Builder::new()
            .name("loader".to_owned())
            .spawn(move || produce(&shared, epoch, &sender));
        match worker {
            Ok(worker) => Self {
                receiver: Some(receiver),
                worker: Some(worker),
            },
            Err(error) => Self::refused(error.to_string()),
        }
    }

    /// For a thread that could not be started: an iterator whose only item is the error.
    fn refused(message: String) -> Self {
        let (sender, receiver) = sync_channel(1);
        let error = DatasetError::Worker {
            path: PathBuf::from("a batch"),
            message,
        };
        // The channel has room for one, so this cannot block; the receiver is still open.
        let _sent = sender.send(Err(error));
        Self {
            receiver: Some(receiver),
            worker: None,
        }
    }
}

impl Iterator for EpochBatches {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.as_ref()?.recv().ok()
    }
}

impl Drop for EpochBatches {
    /// Dropping the receiver first makes a blocked `send` return, so the join cannot wait forever.
    fn drop(&mut self) {
        self.receiver = None;
        if let Some(worker) = self.worker.take() {
            let _ended = worker.join();
        }
    }
}

fn produce(shared: &Shared, epoch: u64, sender: &SyncSender<Result<Batch, DatasetError>>) {
    let LoaderConfig {
        batch_size,
        drop_last,
        ..
    } = shared.config;
    for (number, rows) in shared.order(epoch).chunks(batch_size).enumerate() {
        if drop_last && rows.len() < batch_size {
            return;
        }
        let rows = &rows[shared.config.share.of(number, rows.len())];
        if rows.is_empty() {
            continue;
        }
        let start = Instant::now();
        let batch = shared
            .batch(rows, epoch)
            .map(|batch| Batch { number, ..batch });
        tracing::debug!(
            epoch,
            first_row = rows.first(),
            images = rows.len(),
            took = ?start.elapsed(),
            "a batch is ready"
        );
        let failed = batch.is_err();
        let hung_up = sender.send(batch).is_err();
        if failed || hung_up {
            return;
        }
    }
}

impl Shared {
    /// One batch, or the first error in the order of `rows`, regardless of which thread met one first.
    pub(super) fn batch(&self, rows: &[usize], epoch: u64) -> Result<Batch, DatasetError> {
        let samples: Vec<_> = rows
            .par_iter()
            .map(|&row| self.normalised(row, epoch))
            .collect();
        let mut batch = self.empty_batch(rows.len());
        for sample in samples {
            batch.push(sample?);
        }
        Ok(batch)
    }

    /// A sample in [0, 1]; with `epoch` also transformed.
    pub(super) fn sample(&self, row: usize, epoch: Option<u64>) -> Result<Sample, DatasetError> {
        let work = || self.sample_or_panic(row, epoch);
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
            let path = self.files[row].image.clone();
            Err(DatasetError::Worker {
                path,
                message: panic_message(cause.as_ref()),
            })
        })
    }

    fn sample_or_panic(&self, row: usize, epoch: Option<u64>) -> Result<Sample, DatasetError> {
        let files = &self.files[row];
        let frame = self.frame();
        let prepared = self.cache.get_or_read(row, || self.prepare(row));
        let prepared = prepared.map_err(DatasetError::vanished)?;
        let cut;
        let framed = match prepared.as_ref() {
            Prepared::Framed(framed) => framed,
            Prepared::Whole(whole) => {
                let part = self.crop(whole.size(), row, epoch);
                cut = whole
                    .framed(part, frame)
                    .map_err(|reason| self.bad(row, reason))?;
                &cut
            }
        };
        let mut sample = Sample {
            image: framed.image.values(),
            mask: framed.mask_values(),
            height: frame.height,
            width: frame.width,
            channels: frame.channels,
            label: files.label,
            row,
            placement: framed.placement,
        };
        if let (Some(transform), Some(epoch)) = (&self.transform, epoch) {
            transform(
                &mut sample,
                SampleKey {
                    seed: self.config.seed,
                    epoch,
                    index: row as u64,
                },
            );
            self.check_shape(&sample)?;
        }
        Ok(sample)
    }

    fn prepare(&self, row: usize) -> Result<Prepared, DatasetError> {
        let (files, frame) = (&self.files[row], self.frame());
        if let Some(kept) = self.disk.as_ref().and_then(|disk| disk.find(files, frame)) {
            return Ok(Prepared::Framed(kept));
        }
        tracing::trace!(image = %files.image.display(), "reading");
        let whole = Picture::read(
            &files.image,
            &files.masks,
            (&self.coding, files.label),
            frame.channels,
            self.decoder,
        )?;
        if self.config.crop.is_some_and(|crop| crop.random) {
            return Ok(Prepared::Whole(whole));
        }
        let part = self.crop(whole.size(), row, None);
        let framed = whole.framed(part, frame);
        let framed = framed.map_err(|reason| self.bad(row, reason))?;
        if let Some(disk) = &self.disk {
            disk.keep(files, &framed);
        }
        Ok(Prepared::Framed(framed))
    }

    fn bad(&self, row: usize, reason: String) -> DatasetError {
        DatasetError::bad_image(&self.files[row].image, reason)
    }

    /// The part of an image that a sample contains.
    fn crop(&self, size: (usize, usize), row: usize, epoch: Option<u64>) -> Rect {
        let Some(crop) = self.config.crop else {
            return self.files[row]
                .region
                .unwrap_or(Rect::whole(size.0, size.1));
        };
        let key = |epoch| SampleKey {
            seed: self.config.seed,
            epoch,
            index: row as u64,
        };
        crop.window(size, epoch.map(key))
    }

    fn check_shape(&self, sample: &Sample) -> Result<(), DatasetError> {
        let LoaderConfig {
            height,
            width,
            channels,
            ..
        } = self.config;
        let same = (sample.height, sample.width, sample.channels) == (height, width, channels);
        if same && sample.is_whole() {
            return Ok(());
        }
        let path = self.files[sample.row].image.clone();
        let message = "the transform changed the sample's shape".to_owned();
        Err(DatasetError::Worker { path, message })
    }

    fn normalised(&self, row: usize, epoch: u64) -> Result<Sample, DatasetError> {
        let mut sample = self.sample(row, Some(epoch))?;
        let LoaderConfig {
            mean,
            std,
            channels,
            ..
        } = &self.config;
        for pixel in sample.image.chunks_exact_mut(*channels) {
            for ((value, mean), std) in pixel.iter_mut().zip(mean).zip(std) {
                *value = (*value - mean) / std;
            }
        }
        Ok(sample)
    }

    fn empty_batch(&self, capacity: usize) -> Batch {
        let LoaderConfig {
            height,
            width,
            channels,
            ..
        } = self.config;
        let pixels = capacity * height * width;
        Batch {
            images: Vec::with_capacity(pixels * channels),
            masks: self.with_masks.then(|| Vec::with_capacity(pixels)),
            has_mask: Vec::with_capacity(capacity),
            labels: Vec::with_capacity(capacity),
            number: 0,
            rows: Vec::with_capacity(capacity),
            placements: Vec::with_capacity(capacity),
            len: 0,
            height,
            width,
            channels,
        }
    }
}

impl Batch {
    /// Some of the images, by their positions, as a batch of its own; positions beyond the last are left out.
    #[must_use]
    pub fn part(&self, images: Range<usize>) -> Batch {
        let (start, end) = (images.start.min(self.len), images.end.min(self.len));
        let pixels = self.height * self.width;
        let of =
            |values: &[f32], per_image: usize| values[start * per_image..end * per_image].to_vec();
        Batch {
            images: of(&self.images, pixels * self.channels),
            masks: self.masks.as_ref().map(|masks| of(masks, pixels)),
            has_mask: self.has_mask[start..end].to_vec(),
            labels: self.labels[start..end].to_vec(),
            rows: self.rows[start..end].to_vec(),
            placements: self.placements[start..end].to_vec(),
            len: end - start,
            ..*self
        }
    }

    fn push(&mut self, sample: Sample) {
        self.images.extend_from_slice(&sample.image);
        if let Some(masks) = &mut self.masks {
            match &sample.mask {
                Some(mask) => masks.extend_from_slice(mask),
                None => masks.resize(masks.len() + self.height * self.width, f32::NAN),
            }
        }
        self.has_mask.push(sample.mask.is_some());
        self.labels.push(sample.label);
        self.rows.push(sample.row);
        self.placements.push(sample.placement);
        self.len += 1;
    }
}

fn panic_message(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::{ClassImages, PhantomConfig, generate};
    use crate::{IndexConfig, Loader, index};

    #[test]
    fn a_batch_is_the_same_on_any_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        let few = ClassImages {
            normal: 4,
            pneumonia: 4,
        };
        let made = generate(
            dir.path(),
            &PhantomConfig {
                size: 48,
                train: few,
                val: few,
                test: few,
                ..PhantomConfig::default()
            },
        );
        let made = made.unwrap();
        let config = IndexConfig {
            root: made.images,
            masks: Some(crate::MaskConfig::tree(made.lungs)),
            ..IndexConfig::default()
        };
        let manifest = index(&config).unwrap();
        let shift = |sample: &mut Sample, key: SampleKey| {
            sample.image.rotate_left(key.rng_seed() as usize % 99);
        };
        let batch = |threads| {
            let loader = Loader::new(&manifest, (0..24).collect(), LoaderConfig::default());
            let loader = loader.unwrap().with_transform(Arc::new(shift));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap()
                .install(|| loader.shared.batch(&loader.order(7), 7))
                .unwrap()
        };
        assert_eq!(batch(1), batch(4));
    }
}
