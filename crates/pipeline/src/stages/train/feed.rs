//! The loader's batches as the trainer wants them.

use dataset::{Loader, Manifest};
use model::graph::Hwc;
use model::train::{Batch, Batches, BoxError, Data};

/// Training and validation batches.
pub(super) struct Feed<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) train: Loader,
    pub(super) validation: Loader,
    pub(super) with_masks: bool,
}

impl Feed<'_> {
    fn batches(&self, loader: &Loader, epoch: u64) -> Batches<'_> {
        let (manifest, with_masks) = (self.manifest, self.with_masks);
        Box::new(loader.epoch(epoch).map(move |batch| {
            Ok(convert(
                batch.map_err(BoxError::from)?,
                manifest,
                with_masks,
            ))
        }))
    }
}

impl Data for Feed<'_> {
    fn train(&mut self, epoch: usize) -> Batches<'_> {
        self.batches(&self.train, epoch as u64)
    }

    fn validation(&mut self) -> Batches<'_> {
        self.batches(&self.validation, 0)
    }

    fn train_batches(&self) -> usize {
        self.train.batches_per_epoch()
    }

    fn validation_batches(&self) -> usize {
        self.validation.batches_per_epoch()
    }
}

fn convert(batch: dataset::Batch, manifest: &Manifest, with_masks: bool) -> Batch {
    let shape = Hwc {
        h: batch.height,
        w: batch.width,
        c: batch.channels,
    }
    .batch(batch.len);
    let names: Vec<&str> = batch
        .rows
        .iter()
        .filter_map(|row| Some(manifest.rows().get(*row)?.path.as_str()))
        .collect();
    let masks = batch
        .masks
        .filter(|_| with_masks)
        .map(|masks| known(masks, &batch.has_mask));
    Batch {
        name: names.join(", "),
        images: batch.images,
        labels: batch.labels,
        masks,
        pixel_weights: None,
        shape,
    }
}

/// NaN for the whole image where there is no mask: unknown, not empty.
fn known(mut masks: Vec<f32>, has_mask: &[bool]) -> Vec<f32> {
    let pixels = masks.len() / has_mask.len().max(1);
    for (mask, has) in masks.chunks_mut(pixels.max(1)).zip(has_mask) {
        if !has {
            mask.fill(f32::NAN);
        }
    }
    masks
}
