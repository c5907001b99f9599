//! mixup and cutmix: the images of a batch are mixed in pairs, and their labels in the same ratio.
//!
//! As timm's `Mixup` in its mode `batch`: one draw applies to the whole batch, and image `i` is paired with image
//! `n − 1 − i`. In a batch of an odd number of images (which timm refuses) the one in the middle stays as it is.

use std::ops::Range;

use random::Rng;

use crate::check::check;
use crate::{AugmentConfig, AugmentError, Cutmix, Mixup};

/// Distinguishes the stream of mixing from the others of the same seed. Part of every recorded run.
const MIXING: u64 = 0x6d69_7869_6e67;

/// The batches of a run that are mixed, and how: `mixup` and `cutmix` of a checked configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixer {
    mixup: Option<Mixup>,
    cutmix: Option<Cutmix>,
}

/// A batch of a run, which determines its draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchKey {
    /// The run's seed.
    pub seed: u64,
    /// The pass over the images.
    pub epoch: u64,
    /// The batch's position in the pass.
    pub batch: u64,
}

/// Shape of a batch's values: image by image, row by row, pixel by pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Images.
    pub len: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values per pixel.
    pub channels: usize,
}

/// What is done to all images of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Mix {
    /// Nothing.
    None,
    /// mixup: each image becomes `share · own + (1 − share) · partner`.
    Blend {
        /// The share of the own image, from 0 to 1.
        share: f64,
    },
    /// cutmix: this part of each image is replaced by its partner's.
    Paste {
        /// Rows of the part.
        rows: Range<usize>,
        /// Columns of the part.
        columns: Range<usize>,
        /// The share of the area that is left of the own image.
        share: f64,
    },
}

impl Mixer {
    /// Checks `config`; `None` if it has neither `mixup` nor `cutmix`.
    ///
    /// # Errors
    /// An error that names the first key whose value is out of range.
    pub fn new(config: &AugmentConfig) -> Result<Option<Self>, AugmentError> {
        check(config)?;
        let mixer = Self {
            mixup: config.mixup,
            cutmix: config.cutmix,
        };
        Ok((mixer.mixup.is_some() || mixer.cutmix.is_some()).then_some(mixer))
    }

    /// Draws what is done to a batch whose images have `size` (height, width).
    ///
    /// If both are on, `cutmix.switch` first decides which of the two the batch is left to; its probability then decides
    /// whether the batch is mixed. With equal probabilities this is timm's distribution, which has only one.
    pub fn draw(&self, key: BatchKey, size: (usize, usize)) -> Mix {
        let mut stream = Rng::keyed(key.seed, &[MIXING, key.epoch, key.batch]);
        let (switch, chance) = (stream.unit(), stream.unit());
        let pastes = match (self.mixup, self.cutmix) {
            (Some(_), Some(cutmix)) => switch < cutmix.switch.unwrap_or(0.5),
            (_, cutmix) => cutmix.is_some(),
        };
        match (pastes, self.mixup, self.cutmix) {
            (
                true,
                _,
                Some(Cutmix {
                    alpha, probability, ..
                }),
            ) if chance < probability => {
                let share = stream.beta(alpha);
                let centre = (stream.below(size.0), stream.below(size.1));
                Mix::paste(size, share, centre)
            }
            (false, Some(Mixup { alpha, probability }), _) if chance < probability => Mix::Blend {
                share: stream.beta(alpha),
            },
            _ => Mix::None,
        }
    }
}

impl Mix {
    /// cutmix with a part whose sides are `√(1 − share)` of the image's, in whole pixels, around the pixel `centre`
    /// (row, column); beyond the image's edge it is cut off. The resulting share is that of the true area, as timm's
    /// with `correct_lam`.
    pub fn paste(size: (usize, usize), share: f64, centre: (usize, usize)) -> Mix {
        let ratio = (1.0 - share).max(0.0).sqrt();
        let span = |side: usize, centre: usize| {
            let len = (side as f64 * ratio) as usize;
            centre.saturating_sub(len / 2).min(side)..(centre + len.div_ceil(2)).min(side)
        };
        let (rows, columns) = (span(size.0, centre.0), span(size.1, centre.1));
        let pasted = (rows.len() * columns.len()) as f64 / (size.0 * size.1).max(1) as f64;
        Mix::Paste {
            rows,
            columns,
            share: 1.0 - pasted,
        }
    }

    /// The own label's share of each image's target; the rest is its partner's.
    pub fn share(&self) -> f64 {
        match self {
            Mix::None => 1.0,
            Mix::Blend { share } | Mix::Paste { share, .. } => *share,
        }
    }

    /// The partner of each image of a batch, or of what belongs to it, such as its label.
    pub fn partners<T: Copy>(of: &[T]) -> Vec<T> {
        of.iter().rev().copied().collect()
    }

    /// Mixes the values of a batch in place. Masks can be pasted, but not blended: there are no classes in between.
    ///
    /// # Panics
    /// If `values` does not have the length of `shape`, or a part is beyond its images.
    pub fn apply(&self, values: &mut [f32], shape: BatchShape) {
        let image = shape.height * shape.width * shape.channels;
        assert_eq!(values.len(), shape.len * image, "a batch of {shape:?}");
        for i in 0..shape.len / 2 {
            let (head, tail) = values.split_at_mut((shape.len - 1 - i) * image);
            self.mix(
                &mut head[i * image..(i + 1) * image],
                &mut tail[..image],
                shape,
            );
        }
    }

    /// Mixes two images with each other.
    fn mix(&self, one: &mut [f32], other: &mut [f32], shape: BatchShape) {
        match self {
            Mix::None => {}
            Mix::Blend { share } => {
                let (own, rest) = (*share as f32, (1.0 - share) as f32);
                for (a, b) in one.iter_mut().zip(other) {
                    (*a, *b) = (*a * own + *b * rest, *b * own + *a * rest);
                }
            }
            Mix::Paste { rows, columns, .. } => {
                for row in rows.clone() {
                    let at = |column| (row * shape.width + column) * shape.channels;
                    let part = at(columns.start)..at(columns.end);
                    one[part.clone()].swap_with_slice(&mut other[part]);
                }
            }
        }
    }
}
