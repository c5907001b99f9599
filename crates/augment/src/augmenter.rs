//! Draws the transforms of a sample from a checked configuration and a seed.

use random::Rng;
use rayon::prelude::*;

use crate::check::check;
use crate::streams::{self, Purpose};
use crate::{
    AugmentConfig, AugmentError, Draw, Elastic, Erase, Factor, Jpeg, Raster, RelativeRect, Shade,
    Warp, crop,
};

/// A checked configuration, ready to augment samples from any number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmenter {
    config: AugmentConfig,
}

impl Augmenter {
    /// Checks `config` and stores it.
    ///
    /// # Errors
    /// An error that names the first key whose value is out of range.
    pub fn new(config: &AugmentConfig) -> Result<Self, AugmentError> {
        check(config)?;
        Ok(Self {
            config: config.clone(),
        })
    }

    /// Whether no seed can change a sample: every transform is absent, has probability 0, or does nothing.
    pub fn is_identity(&self) -> bool {
        let c = &self.config;
        let on = [
            c.random_resized_crop.is_some_and(|t| t.probability > 0.0),
            c.rotation
                .is_some_and(|t| t.probability > 0.0 && t.degrees > 0.0),
            c.flip
                .is_some_and(|t| t.horizontal > 0.0 || t.vertical > 0.0),
            c.shift
                .is_some_and(|t| t.probability > 0.0 && t.fraction > 0.0),
            c.shear
                .is_some_and(|t| t.probability > 0.0 && t.degrees > 0.0),
            c.elastic
                .is_some_and(|t| t.probability > 0.0 && t.sigma > 0.0),
            [c.zoom, c.brightness, c.contrast, c.gamma]
                .into_iter()
                .flatten()
                .any(Factor::changes),
            c.noise
                .is_some_and(|t| t.probability > 0.0 && t.sigma > 0.0),
            c.blur.is_some_and(|t| t.probability > 0.0 && t.sigma > 0.0),
            c.jpeg.is_some_and(|t| t.probability > 0.0),
            c.erase.is_some_and(|t| t.probability > 0.0 && t.max > 0.0),
            c.border
                .is_some_and(|t| t.probability > 0.0 && t.fraction > 0.0),
        ];
        !on.contains(&true)
    }

    /// Augments a sample in place: `image`, and `mask` with the same geometry.
    ///
    /// The result depends on (configuration, seed, sample) alone. The mask may differ from the image in size; the
    /// image's map is then rescaled for it.
    pub fn apply(&self, seed: u64, image: &mut Raster, mask: Option<&mut Raster>) {
        if !self.is_identity() {
            let size = (image.height, image.width);
            self.draw(seed, size).apply(image, mask);
        }
    }

    /// Augments `images`, each with its seed, on Rayon's current pool; the result is the same as one after the other.
    ///
    /// # Errors
    /// If the numbers of seeds and images differ; nothing is changed then.
    pub fn apply_batch(&self, seeds: &[u64], images: &mut [Raster]) -> Result<(), AugmentError> {
        if seeds.len() != images.len() {
            return Err(AugmentError::BatchLength {
                images: images.len(),
                seeds: seeds.len(),
            });
        }
        images
            .par_iter_mut()
            .zip(seeds)
            .for_each(|(image, &seed)| self.apply(seed, image, None));
        Ok(())
    }

    /// Draws all parameters for the sample with this seed, whose image has this size (height, width). The size
    /// affects only the crop, which is one of whole pixels.
    pub fn draw(&self, seed: u64, size: (usize, usize)) -> Draw {
        let c = &self.config;
        let none = Draw::default();
        let dice = Dice { seed };
        Draw {
            seed,
            fill: c.fill,
            crop: c
                .random_resized_crop
                .and_then(|t| crop::draw(t, &mut dice.stream(Purpose::Crop), size)),
            rotation_degrees: c.rotation.map_or(0.0, |t| {
                dice.symmetric(Purpose::Rotation, t.degrees, t.probability)
            }),
            flip_horizontal: c
                .flip
                .is_some_and(|t| dice.stream(Purpose::FlipHorizontal).chance(t.horizontal)),
            flip_vertical: c
                .flip
                .is_some_and(|t| dice.stream(Purpose::FlipVertical).chance(t.vertical)),
            zoom: dice.factor(Purpose::Zoom, c.zoom),
            shear_degrees: c.shear.map_or(0.0, |t| {
                dice.symmetric(Purpose::Shear, t.degrees, t.probability)
            }),
            shift: c
                .shift
                .map_or(none.shift, |t| dice.shift(t.fraction, t.probability)),
            warp: c.elastic.and_then(|t| dice.warp(t)),
            blur_sigma: c
                .blur
                .map_or(0.0, |t| dice.up_to(Purpose::Blur, t.sigma, t.probability)),
            brightness: dice.factor(Purpose::Brightness, c.brightness),
            contrast: dice.factor(Purpose::Contrast, c.contrast),
            gamma: dice.factor(Purpose::Gamma, c.gamma),
            noise_sigma: c.noise.map_or(0.0, |t| {
                dice.up_to(Purpose::NoiseStrength, t.sigma, t.probability)
            }),
            jpeg_quality: c.jpeg.and_then(|t| dice.quality(t)),
            border: c.border.map_or(none.border, |t| Shade {
                area: dice.up_to(Purpose::Border, t.fraction, t.probability),
                value: t.value,
            }),
            erase: c.erase.and_then(|t| dice.erase(t)),
        }
    }
}

impl Factor {
    /// Whether the factor can be anything but 1.
    fn changes(self) -> bool {
        self.probability > 0.0 && (self.min, self.max) != (1.0, 1.0)
    }
}

/// Draws each kind of parameter from a seed.
#[derive(Clone, Copy)]
struct Dice {
    seed: u64,
}

impl Dice {
    fn stream(self, purpose: Purpose) -> Rng {
        streams::stream(self.seed, purpose)
    }

    /// A number in `-limit..limit`, or 0.
    fn symmetric(self, purpose: Purpose, limit: f64, probability: f64) -> f64 {
        let mut stream = self.stream(purpose);
        if stream.chance(probability) {
            stream.range(-limit, limit)
        } else {
            0.0
        }
    }

    /// A number in `0..limit`, or 0.
    fn up_to(self, purpose: Purpose, limit: f64, probability: f64) -> f64 {
        let mut stream = self.stream(purpose);
        if stream.chance(probability) {
            stream.range(0.0, limit)
        } else {
            0.0
        }
    }

    /// A quality from the range, all equally probable; `None` without compression.
    fn quality(self, jpeg: Jpeg) -> Option<u8> {
        let mut stream = self.stream(Purpose::Jpeg);
        stream.chance(jpeg.probability).then(|| {
            let qualities = usize::from(jpeg.max.saturating_sub(jpeg.min)) + 1;
            jpeg.min + stream.below(qualities) as u8
        })
    }

    /// A factor from the range, or 1.
    fn factor(self, purpose: Purpose, factor: Option<Factor>) -> f64 {
        let mut stream = self.stream(purpose);
        match factor {
            Some(t) if stream.chance(t.probability) => stream.range(t.min, t.max),
            _ => 1.0,
        }
    }

    /// A displacement in fractions of width and height.
    fn shift(self, fraction: f64, probability: f64) -> [f64; 2] {
        let mut stream = self.stream(Purpose::Shift);
        if !stream.chance(probability) {
            return [0.0, 0.0];
        }
        [
            stream.range(-fraction, fraction),
            stream.range(-fraction, fraction),
        ]
    }

    /// Normally distributed displacements at the grid's points.
    fn warp(self, elastic: Elastic) -> Option<Warp> {
        let bends = elastic.sigma > 0.0 && elastic.grid >= 2;
        if !self.stream(Purpose::Elastic).chance(elastic.probability) || !bends {
            return None;
        }
        let points = self.stream(Purpose::ElasticGrid);
        let shift = |index| elastic.sigma * f64::from(streams::normal_at(&points, index));
        let shifts =
            (0..(elastic.grid * elastic.grid) as u64).map(|i| [shift(2 * i), shift(2 * i + 1)]);
        Some(Warp {
            grid: elastic.grid,
            shifts: shifts.collect(),
        })
    }

    /// A rectangle inside the image. If the ratio would make a side longer than the image, that side is the image's,
    /// and the other one is chosen to keep the area.
    fn erase(self, erase: Erase) -> Option<Shade<RelativeRect>> {
        /// log₂ 3.3, and approximately −log₂ 0.3.
        const LOG2_RATIO: f64 = 1.722;
        let mut stream = self.stream(Purpose::Erase);
        if !stream.chance(erase.probability) {
            return None;
        }
        let area = stream.range(erase.min, erase.max);
        let ratio = f64::from(crate::math::exp2(
            stream.range(-LOG2_RATIO, LOG2_RATIO) as f32
        ));
        let height = (area * ratio).sqrt().clamp(area, 1.0);
        let width = if height > 0.0 {
            (area / height).min(1.0)
        } else {
            0.0
        };
        let (top, left) = (
            stream.range(0.0, 1.0 - height),
            stream.range(0.0, 1.0 - width),
        );
        Some(Shade {
            area: RelativeRect {
                top,
                left,
                height,
                width,
            },
            value: erase.value,
        })
    }
}
