//! Segmentation of an image of any size, at that size: whole, or in overlapping tiles if the network was trained on
//! windows.

use imaging::tiles::{Blender, Tile, TileConfig, Tiling};
use imaging::{Fit, Frame, ImageFile, Placement, Rect};
use model::graph::Hwc;

use crate::bundle::Bundle;
use crate::error::{InferenceError, Result};
use crate::scores::Input;

/// A trained network used as a segmenter.
pub struct Segmenter<'t> {
    bundle: &'t Bundle,
    map: Hwc,
}

/// The segmentation of an image, at the image's own size.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmented {
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// Number of classes.
    pub classes: usize,
    /// `[height, width, classes]`.
    pub probabilities: Vec<f32>,
    /// Number of tiles that it was assembled from.
    pub tiles: usize,
}

/// Tiles in one batch.
const TILES_AT_ONCE: usize = 8;

/// Most pixels of an image enlarged for the network, the decoder's default limit; up to four times the image's own
/// pixels are always allowed.
const LARGEST_FRAME: usize = 100_000_000;

impl<'t> Segmenter<'t> {
    /// Creates a segmenter that works as the training run's evaluation did, with the same tile overlap and mirroring.
    ///
    /// # Errors
    /// The network has no map.
    pub fn new(bundle: &'t Bundle) -> Result<Self> {
        Ok(Segmenter {
            bundle,
            map: bundle.map_shape()?,
        })
    }

    /// Segments an image.
    ///
    /// # Errors
    /// The network rejects the image, or a score is NaN or infinite.
    pub fn segment(&self, image: &ImageFile) -> Result<Segmented> {
        let regions = self.bundle.regions(std::slice::from_ref(image))?;
        let part = regions.into_iter().next().flatten().map(|found| found.part);
        self.segment_part(image, part)
    }

    /// Segments a part of an image; the pixels around it are of the first class, the background.
    pub(crate) fn segment_part(&self, image: &ImageFile, part: Option<Rect>) -> Result<Segmented> {
        let (height, width) = self.frame(image.size())?;
        let input = &self.bundle.meta().preprocessing;
        // Windows are cut from the image at its own aspect ratio; only a whole image may need padding.
        let fit = match input.window {
            Some(_) => Fit::Stretch,
            None => input.fit,
        };
        let framed = image.framed_part(
            part,
            Frame {
                height,
                width,
                channels: input.channels,
                fit,
            },
        )?;
        let input = self.bundle.normalized(&framed.image.values());
        let (map, tiles) = self.framed(&input, (height, width))?;
        Ok(restored(&map, self.map.c, &framed.placement, tiles))
    }

    /// The size to which an image is scaled, so that its windows are as large as the network's input.
    fn frame(&self, image: (usize, usize)) -> Result<(usize, usize)> {
        let input = &self.bundle.meta().preprocessing;
        let Some((rows, columns)) = input.window else {
            return Ok((input.height, input.width));
        };
        let frame = (
            scaled(image.0, input.height, rows),
            scaled(image.1, input.width, columns),
        );
        match frame.0.saturating_mul(frame.1) > LARGEST_FRAME.max(4 * image.0 * image.1) {
            true => Err(InferenceError::TooLarge { image, frame }),
            false => Ok(frame),
        }
    }

    /// The map of an image of the frame's size, and the number of tiles used.
    fn framed(&self, image: &[f32], frame: (usize, usize)) -> Result<(Vec<f32>, usize)> {
        let input = &self.bundle.meta().preprocessing;
        let whole = (input.height, input.width);
        if frame == whole && (self.map.h, self.map.w) == whole {
            return Ok((self.maps(image, 1)?, 1));
        }
        let tiling = Tiling::new(
            &TileConfig {
                input: [input.height, input.width],
                output: [self.map.h, self.map.w],
                overlap: self.bundle.meta().inference.tile_overlap,
            },
            frame.0,
            frame.1,
        )?;
        let mut blender = Blender::new(&tiling, self.map.c);
        let tiles: Vec<Tile> = tiling.tiles().collect();
        for tiles in tiles.chunks(TILES_AT_ONCE) {
            let mut batch = vec![];
            for tile in tiles {
                batch.extend(tiling.read(image, input.channels, *tile)?);
            }
            let maps = self.maps(&batch, tiles.len())?;
            for (tile, map) in tiles.iter().zip(maps.chunks(maps.len() / tiles.len())) {
                blender.push(*tile, map)?;
            }
        }
        Ok((blender.finish()?, tiling.len()))
    }

    fn maps(&self, data: &[f32], n: usize) -> Result<Vec<f32>> {
        let shape = self.bundle.input_shape();
        let mirror = self.bundle.meta().inference.mirror;
        self.bundle.maps(Input { data, n, shape }, mirror)
    }
}

impl Segmented {
    /// The most probable class of each pixel; the first one on ties.
    pub fn labels(&self) -> Vec<u8> {
        self.probabilities
            .chunks(self.classes)
            .map(|pixel| {
                let better = |best: usize, class: usize| match pixel[class] > pixel[best] {
                    true => class,
                    false => best,
                };
                (1..pixel.len()).fold(0, better) as u8
            })
            .collect()
    }

    /// Share of the pixels for which each class is the most probable.
    pub fn shares(&self) -> Vec<f64> {
        let mut counts = vec![0usize; self.classes];
        let labels = self.labels();
        labels.iter().for_each(|l| counts[usize::from(*l)] += 1);
        let share = |n: usize| n as f64 / labels.len().max(1) as f64;
        counts.into_iter().map(share).collect()
    }
}

/// Scales a side so that windows of `window` pixels become `input` pixels; a side shorter than a window counts as one.
fn scaled(side: usize, input: usize, window: usize) -> usize {
    let scale = input as f64 / window.min(side).max(1) as f64;
    ((side as f64 * scale).round() as usize).max(1)
}

/// Each class's map at the image's own size.
fn restored(map: &[f32], classes: usize, placement: &Placement, tiles: usize) -> Segmented {
    let (height, width) = placement.original;
    let mut probabilities = vec![0.0; height * width * classes];
    for class in 0..classes {
        let own: Vec<f32> = map.iter().skip(class).step_by(classes).copied().collect();
        let pixels = probabilities.iter_mut().skip(class).step_by(classes);
        let outside = if class == 0 { 1.0 } else { 0.0 };
        pixels.zip(placement.restore(&own)).for_each(|(to, from)| {
            *to = if from.is_nan() { outside } else { from };
        });
    }
    Segmented {
        height,
        width,
        classes,
        probabilities,
        tiles,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_scaled_to_the_networks_input() {
        assert_eq!(scaled(512, 256, 256), 512);
        assert_eq!(scaled(512, 128, 256), 256);
        assert_eq!(scaled(100, 128, 256), 128);
    }

    #[test]
    fn labels_are_the_most_probable_class_at_the_images_size() {
        // 2×2 pixels of three classes, enlarged twofold.
        let map = [
            [0.6, 0.3, 0.1],
            [0.2, 0.2, 0.6],
            [0.1, 0.8, 0.1],
            [0.4, 0.4, 0.2],
        ];
        let placement = Placement::new(Fit::Stretch, (4, 4), (2, 2));
        let large = restored(&map.concat(), 3, &placement, 1);
        assert_eq!(large.probabilities.len(), 48);
        let labels = large.labels();
        assert_eq!([labels[0], labels[3], labels[12], labels[15]], [0, 2, 1, 0]);
        assert!((large.shares().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
