//! A trained map over an image of any size, at that size: whole, or in overlapping tiles where it was taught on pieces.

use std::path::Path;

use anyhow::{Context as _, Result};
use dataset::tiles::{Blender, Tile, TileConfig, Tiling};
use dataset::{Fit, Placement};
use model::graph::Hwc;

use crate::trained::{Input, Trained, extra};

/// A trained network as a segmenter.
pub(crate) struct Segmenter<'t> {
    trained: &'t Trained,
    /// Rows and columns of the pieces that it was taught on; `None` for whole images.
    crop: Option<(usize, usize)>,
    map: Hwc,
    /// Share of a tile's side that neighbours have in common.
    overlap: f64,
    /// Whether to average over the image and its mirror image.
    mirror: bool,
}

/// What each pixel of an image is, at the image's own size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segmented {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// What a pixel can be.
    pub(crate) classes: usize,
    /// `[height, width, classes]`.
    pub(crate) probabilities: Vec<f32>,
    /// Tiles that it was put together from.
    pub(crate) tiles: usize,
}

/// Tiles that run through the network together.
const TILES_AT_ONCE: usize = 8;

impl<'t> Segmenter<'t> {
    /// # Errors
    /// A network without a map.
    pub(crate) fn new(trained: &'t Trained, overlap: f64, mirror: bool) -> Result<Self> {
        let crop = trained.meta.extra.get(extra::CROP);
        Ok(Segmenter {
            trained,
            crop: crop.map(|text| pair(text)).transpose()?,
            map: trained.map_shape()?,
            overlap,
            mirror,
        })
    }

    /// Segments an image file.
    ///
    /// # Errors
    /// A file that cannot be read, or what the network refuses.
    pub(crate) fn segment(&self, path: &Path) -> Result<Segmented> {
        let decoder = self.trained.decoder();
        let frame = self.frame(decoder.size(path)?);
        // Pieces are cut at the image's own shape: only a whole image may have to be padded.
        let fit = match self.crop {
            Some(_) => Fit::Stretch,
            None => self.trained.fit(),
        };
        let channels = self.trained.meta.preprocessing.channels;
        let picture = decoder.picture(path, frame, channels, fit)?;
        let image = self.normalized(&picture.image);
        let (map, tiles) = self.framed(&image, frame)?;
        Ok(restored(&map, self.map.c, &picture.placement, tiles))
    }

    /// The size at which the network sees an image: its pieces as large as its input.
    fn frame(&self, (height, width): (usize, usize)) -> (usize, usize) {
        let input = &self.trained.meta.preprocessing;
        match self.crop {
            None => (input.height, input.width),
            Some((rows, columns)) => (
                scaled(height, input.height, rows),
                scaled(width, input.width, columns),
            ),
        }
    }

    /// The map of an image of the frame's size, and the tiles that it took.
    fn framed(&self, image: &[f32], frame: (usize, usize)) -> Result<(Vec<f32>, usize)> {
        let input = &self.trained.meta.preprocessing;
        let whole = (input.height, input.width);
        if frame == whole && (self.map.h, self.map.w) == whole {
            return Ok((self.maps(image, 1)?, 1));
        }
        let tiling = Tiling::new(
            &TileConfig {
                input: [input.height, input.width],
                output: [self.map.h, self.map.w],
                overlap: self.overlap,
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
        let input = &self.trained.meta.preprocessing;
        let shape = Hwc {
            h: input.height,
            w: input.width,
            c: input.channels,
        };
        self.trained.maps(Input { data, n, shape }, self.mirror)
    }

    fn normalized(&self, image: &[f32]) -> Vec<f32> {
        let p = &self.trained.meta.preprocessing;
        crate::predict::normalize(image, &p.mean, &p.std)
    }
}

impl Segmented {
    /// The most probable class of each pixel; of equal ones the first.
    pub(crate) fn labels(&self) -> Vec<u8> {
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

    /// Share of the pixels that each class is the most probable of.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let mut counts = vec![0usize; self.classes];
        let labels = self.labels();
        labels.iter().for_each(|l| counts[usize::from(*l)] += 1);
        let share = |n: usize| n as f64 / labels.len().max(1) as f64;
        counts.into_iter().map(share).collect()
    }
}

/// A side whose pieces of `piece` pixels become `input` pixels; a side shorter than a piece is one.
fn scaled(side: usize, input: usize, piece: usize) -> usize {
    let scale = input as f64 / piece.min(side).max(1) as f64;
    ((side as f64 * scale).round() as usize).max(1)
}

/// Each class's map at the image's own size.
fn restored(map: &[f32], classes: usize, placement: &Placement, tiles: usize) -> Segmented {
    let (height, width) = placement.original;
    let mut probabilities = vec![0.0; height * width * classes];
    for class in 0..classes {
        let own: Vec<f32> = map.iter().skip(class).step_by(classes).copied().collect();
        let pixels = probabilities.iter_mut().skip(class).step_by(classes);
        pixels
            .zip(placement.restore(&own))
            .for_each(|(to, from)| *to = from);
    }
    Segmented {
        height,
        width,
        classes,
        probabilities,
        tiles,
    }
}

/// "256x320" as rows and columns.
fn pair(text: &str) -> Result<(usize, usize)> {
    let sides = text.split_once('x');
    let sides = sides.and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
    sides.with_context(|| format!("the checkpoint's crop \"{text}\" is no size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_as_large_as_the_networks_input() {
        assert_eq!(scaled(512, 256, 256), 512);
        assert_eq!(scaled(512, 128, 256), 256);
        assert_eq!(scaled(100, 128, 256), 128);
        assert_eq!(pair("256x320").unwrap(), (256, 320));
        assert!(pair("256").unwrap_err().to_string().contains("256"));
    }

    #[test]
    fn labels_are_the_most_probable_class_at_the_images_size() {
        // 2×2 of three classes, shown twice as large.
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
