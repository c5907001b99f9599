//! Converts the loader's batches to those of the trainer.

use augment::{BatchKey, BatchShape, Mix, Mixer};
use collective::{Division, within};
use dataset::{Loader, Manifest};
use model::graph::Hwc;
use morphology::{BorderWeights, Mask};
use rayon::prelude::*;
use train::{Batch, Batches, BoxError, Data, Mixed};

/// Training and validation batches.
pub(super) struct Feed<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) train: Loader,
    pub(super) validation: Loader,
    /// Passes over the training images per epoch.
    pub(super) repeats: usize,
    /// How masks are passed on, if the network is trained on them.
    pub(super) masks: Option<MaskFeed>,
    /// mixup and cutmix of training batches.
    pub(super) mixer: Option<Mixer>,
    /// The run's seed, which mixing is drawn from.
    pub(super) seed: u64,
    /// How training batches are cut, and the chunks that the loader reads.
    pub(super) division: Division,
}

/// How masks are passed to the trainer.
#[derive(Clone, Copy)]
pub(super) struct MaskFeed {
    /// Rows and columns of the network's map: masks are cropped to their centre where it is smaller than the image.
    pub(super) map: (usize, usize),
    /// Weights of the pixels between cells, in training. Validation weights all pixels equally.
    pub(super) border: Option<BorderWeights>,
}

impl Feed<'_> {
    fn batches(&self, loader: &Loader, epoch: u64, masks: Option<MaskFeed>) -> Batches<'_> {
        let manifest = self.manifest;
        Box::new(
            loader
                .epoch(epoch)
                .map(move |batch| convert(batch.map_err(BoxError::from)?, manifest, masks)),
        )
    }

    /// The training batches of a pass over the images, or this process's chunks of them.
    fn training_batches(&self, pass: u64) -> Batches<'_> {
        let batches = self.train.epoch(pass);
        Box::new(batches.flat_map(move |batch| {
            match batch {
                Ok(batch) => self
                    .cut(batch)
                    .into_iter()
                    .map(|(chunk, part)| self.training_batch(pass, chunk, part))
                    .collect(),
                Err(error) => vec![Err(BoxError::from(error))],
            }
        }))
    }

    /// The chunks, with their numbers, of what the loader has read of a batch.
    fn cut(&self, batch: dataset::Batch) -> Vec<(usize, dataset::Batch)> {
        if self.division.chunks == 1 {
            return vec![(0, batch)];
        }
        let images = self.train.batch_len(batch.number);
        let read = self.division.own_images(images);
        let part = |chunk| {
            let images = within(&read, &self.division.images(chunk, images));
            (chunk, batch.part(images))
        };
        let own = self.division.own.clone().map(part);
        own.filter(|(_, part)| part.len > 0).collect()
    }

    /// A batch or a chunk of one. It is mixed before the weights of its pixels are computed, so that the weights belong to
    /// the mask that the loss sees.
    fn training_batch(
        &self,
        pass: u64,
        chunk: usize,
        mut batch: dataset::Batch,
    ) -> Result<Batch, BoxError> {
        let Some(mixer) = self.mixer else {
            return convert(batch, self.manifest, self.masks);
        };
        let key = BatchKey {
            seed: self.seed,
            epoch: pass,
            batch: (batch.number * self.division.chunks + chunk) as u64,
        };
        let mix = mixer.draw(key, (batch.height, batch.width));
        let mixed = mixed(&mut batch, &mix)?;
        let batch = convert(batch, self.manifest, self.masks)?;
        Ok(Batch {
            mixed: Some(mixed),
            ..batch
        })
    }
}

impl Data for Feed<'_> {
    fn train(&mut self, epoch: usize) -> Batches<'_> {
        // Each pass is one epoch of the loader, so that every pass has new augmentations and crops.
        let passes = (epoch - 1) * self.repeats + 1..=epoch * self.repeats;
        let this = &*self;
        Box::new(passes.flat_map(move |pass| this.training_batches(pass as u64)))
    }

    fn validation(&mut self) -> Batches<'_> {
        let unweighted = self.masks.map(|masks| MaskFeed {
            border: None,
            ..masks
        });
        self.batches(&self.validation, 0, unweighted)
    }

    fn train_batches(&self) -> usize {
        self.repeats * self.train.batches_per_epoch()
    }

    fn validation_batches(&self) -> usize {
        self.validation.batches_per_epoch()
    }

    fn train_images(&self, batch: usize) -> usize {
        let per_pass = self.train.batches_per_epoch().max(1);
        self.train.batch_len(batch % per_pass)
    }
}

/// Mixes a batch's images and masks, and returns how their labels are mixed.
fn mixed(batch: &mut dataset::Batch, mix: &Mix) -> Result<Mixed, BoxError> {
    let shape = BatchShape {
        len: batch.len,
        height: batch.height,
        width: batch.width,
        channels: batch.channels,
    };
    mix.apply(&mut batch.images, shape);
    match (&mut batch.masks, mix) {
        (Some(_), Mix::Blend { .. }) => {
            return Err("augment.mixup cannot blend masks, whose pixels are class numbers".into());
        }
        (Some(masks), _) => mix.apply(
            masks,
            BatchShape {
                channels: 1,
                ..shape
            },
        ),
        (None, _) => {}
    }
    Ok(Mixed {
        partners: Mix::partners(&batch.labels),
        share: mix.share() as f32,
    })
}

fn convert(
    batch: dataset::Batch,
    manifest: &Manifest,
    feed: Option<MaskFeed>,
) -> Result<Batch, BoxError> {
    let size = (batch.height, batch.width);
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
    let masks = batch.masks.zip(feed).map(|(masks, feed)| {
        let weights = feed.border.map(|border| weights(&border, &masks, size));
        (masks, weights.transpose(), feed.map)
    });
    let (masks, pixel_weights, mask_size) = match masks {
        None => (None, None, None),
        Some((masks, weights, map)) => {
            let cut = |values: Vec<f32>| middle(values, size, map);
            (Some(cut(masks)), weights?.map(cut), Some(map))
        }
    };
    Ok(Batch {
        name: names.join(", "),
        images: batch.images,
        labels: batch.labels,
        mixed: None,
        masks,
        pixel_weights,
        mask_size,
        shape,
    })
}

/// U-Net's pixel weights of each image, computed after augmentation, so that a deformed border keeps its weight.
/// Unknown pixels have a weight of 0.
fn weights(
    border: &BorderWeights,
    masks: &[f32],
    (height, width): (usize, usize),
) -> Result<Vec<f32>, BoxError> {
    let of_image = |mask: &[f32]| -> Result<Vec<f32>, BoxError> {
        let cells: Vec<bool> = mask.iter().map(|v| *v >= 1.0).collect();
        let known: Vec<bool> = mask.iter().map(|v| !v.is_nan()).collect();
        let of = |pixels| Mask::new(height, width, pixels);
        Ok(border.of(of(&cells)?, of(&known)?)?)
    };
    let images: Result<Vec<Vec<f32>>, BoxError> =
        masks.par_chunks(height * width).map(of_image).collect();
    Ok(images?.concat())
}

/// The centre of each image's values where the map is smaller than the image.
fn middle(values: Vec<f32>, (height, width): (usize, usize), map: (usize, usize)) -> Vec<f32> {
    if map == (height, width) {
        return values;
    }
    let (top, left) = ((height - map.0) / 2, (width - map.1) / 2);
    values
        .chunks(height * width)
        .flat_map(|image| image.chunks(width).skip(top).take(map.0))
        .flat_map(|row| row[left..left + map.1].iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_cropped_to_the_centre_for_a_smaller_map() {
        let image: Vec<f32> = (0..16).map(|v| v as f32).collect();
        let two = [image.clone(), image].concat();
        let expected = [5., 6., 9., 10., 5., 6., 9., 10.];
        assert_eq!(middle(two.clone(), (4, 4), (2, 2)), expected);
        assert_eq!(middle(two.clone(), (4, 4), (4, 4)), two);
    }

    fn two_images() -> dataset::Batch {
        dataset::Batch {
            images: (0..16).map(|v| v as f32).collect(),
            masks: Some(vec![0., 0., 1., 1., 1., 1., f32::NAN, 0.]),
            has_mask: vec![true; 2],
            labels: vec![3, 5],
            number: 0,
            rows: vec![0, 1],
            placements: vec![],
            len: 2,
            height: 2,
            width: 2,
            channels: 2,
        }
    }

    #[test]
    fn cutmix_pastes_the_mask_with_the_image() {
        let mut batch = two_images();
        let mix = Mix::Paste {
            rows: 1..2,
            columns: 0..2,
            share: 0.5,
        };
        let found = mixed(&mut batch, &mix).unwrap();
        let images = [
            0., 1., 2., 3., 12., 13., 14., 15., 8., 9., 10., 11., 4., 5., 6., 7.,
        ];
        assert_eq!(batch.images, images);
        let masks = batch.masks.unwrap();
        assert_eq!(masks[..2], [0., 0.]);
        assert!(masks[2].is_nan());
        assert_eq!(masks[3..], [0., 1., 1., 1., 1.]);
        assert_eq!((found.partners, found.share), (vec![5, 3], 0.5));
    }

    #[test]
    fn mixup_does_not_blend_masks() {
        let blend = Mix::Blend { share: 0.25 };
        let error = mixed(&mut two_images(), &blend).unwrap_err().to_string();
        assert!(error.contains("augment.mixup"), "{error}");
        let mut batch = dataset::Batch {
            masks: None,
            ..two_images()
        };
        let found = mixed(&mut batch, &blend).unwrap();
        assert_eq!(batch.images[0], 0.75 * 8.0);
        assert_eq!((found.partners, found.share), (vec![5, 3], 0.25));
    }

    #[test]
    fn each_image_of_a_batch_has_its_own_border_weights() {
        // Two cells with a gap of one pixel, then a mask with one cell only.
        let gap = [1., 0., 1., f32::NAN];
        let one = [1., 1., 0., 0.];
        let plain = BorderWeights {
            w0: 10.0,
            sigma: 5.0,
            balance: false,
        };
        let found = weights(&plain, &[gap, one].concat(), (1, 4)).unwrap();
        assert!(found[1] > 9.0 && found[0] == 1.0, "{found:?}");
        assert_eq!(found[4..], [1.0; 4]);
    }
}
