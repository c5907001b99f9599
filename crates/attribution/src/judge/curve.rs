//! Deletion and insertion: how the probability of the class falls when the pixels that a map ranks first are removed,
//! and rises when they alone are shown. Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of
//! Black-box Models", BMVC 2018.

use model::graph::Hwc;
use model::network::Network;

use crate::blur::blurred;
use crate::error::{Result, count_in};
use crate::heat_map::HeatMap;
use crate::image::{Baseline, Image};
use crate::scoring::{MOST_AT_ONCE, Scored};
use crate::target::Target;

/// The target's probability by the share of pixels that were removed or shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Shares of the pixels, from 0 to 1.
    pub shares: Vec<f64>,
    /// The probability at each share.
    pub probabilities: Vec<f64>,
    /// The area under the curve by the trapezoidal rule, in 0..=1: the smaller the better for deletion, the larger the
    /// better for insertion. It depends on the network and the image; compare it with that of
    /// [`HeatMap::random`] on the same ones.
    pub area: f64,
}

/// Removes pixels: the ones that the map ranks first, first. They take the baseline's colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// The colour of removed pixels.
    pub baseline: Baseline,
    /// Number of steps, each of the same number of pixels.
    pub steps: usize,
    /// Number of images that are computed together; memory is proportional to it.
    pub batch: usize,
}

/// Shows pixels: the ones that the map ranks first, first, in an image that starts without information.
#[derive(Clone, Debug, PartialEq)]
pub struct Insertion {
    /// The image that they are inserted into.
    pub start: Start,
    /// As [`Deletion::steps`].
    pub steps: usize,
    /// As [`Deletion::batch`].
    pub batch: usize,
}

/// The image that pixels are inserted into.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// One colour. Inserted pixels have sharp edges, to which networks react.
    Baseline(Baseline),
    /// The image, blurred by a Gaussian of this standard deviation in pixels.
    Blurred(f64),
}

impl Default for Deletion {
    fn default() -> Self {
        Deletion {
            baseline: Baseline::Mean,
            steps: 50,
            batch: 16,
        }
    }
}

impl Default for Insertion {
    /// Into the image blurred by 5 pixels, as in the paper.
    fn default() -> Self {
        Insertion {
            start: Start::Blurred(5.0),
            steps: 50,
            batch: 16,
        }
    }
}

impl Deletion {
    /// The curve of one image's map.
    ///
    /// # Errors
    /// A map of another size than the image, no such class, a setting outside its range, or an image that the network
    /// cannot take.
    pub fn curve(
        &self,
        network: &Network,
        image: Image<'_>,
        target: Target,
        map: &HeatMap,
    ) -> Result<Curve> {
        let removed = self.baseline.image(image.shape())?;
        let scored = Scored { network, target };
        let replacement = Replacement::new(image.data(), &removed, image.shape(), map)?;
        replacement.curve(scored, self.steps, self.batch)
    }
}

impl Insertion {
    /// The curve of one image's map.
    ///
    /// # Errors
    /// As [`Deletion::curve`].
    pub fn curve(
        &self,
        network: &Network,
        image: Image<'_>,
        target: Target,
        map: &HeatMap,
    ) -> Result<Curve> {
        let start = match &self.start {
            Start::Baseline(baseline) => baseline.image(image.shape())?,
            Start::Blurred(deviation) => blurred(image, *deviation)?,
        };
        let scored = Scored { network, target };
        let replacement = Replacement::new(&start, image.data(), image.shape(), map)?;
        replacement.curve(scored, self.steps, self.batch)
    }
}

/// One image whose pixels become those of another, in the order of a map.
struct Replacement<'a> {
    from: &'a [f32],
    to: &'a [f32],
    shape: Hwc,
    order: Vec<usize>,
}

impl<'a> Replacement<'a> {
    fn new(from: &'a [f32], to: &'a [f32], shape: Hwc, map: &HeatMap) -> Result<Self> {
        map.check_size("the image", (shape.h, shape.w))?;
        let order = map.ranking();
        Ok(Replacement {
            from,
            to,
            shape,
            order,
        })
    }

    fn curve(&self, scored: Scored<'_>, steps: usize, batch: usize) -> Result<Curve> {
        count_in("steps", steps, self.order.len())?;
        count_in("batch", batch, MOST_AT_ONCE)?;
        let counts: Vec<usize> = (0..=steps)
            .map(|step| step * self.order.len() / steps)
            .collect();
        let mut probabilities = Vec::with_capacity(counts.len());
        let (mut current, mut done) = (self.from.to_vec(), 0);
        for counts in counts.chunks(batch) {
            let mut images = Vec::with_capacity(counts.len() * current.len());
            for count in counts {
                self.replace(&mut current, done..*count);
                done = *count;
                images.extend_from_slice(&current);
            }
            probabilities.extend(scored.probabilities(&images, self.shape)?);
        }
        let all = self.order.len() as f64;
        let shares = counts.iter().map(|count| *count as f64 / all).collect();
        Ok(Curve::new(shares, probabilities))
    }

    /// Replaces the pixels in a range of the order.
    fn replace(&self, image: &mut [f32], range: std::ops::Range<usize>) {
        let c = self.shape.c;
        for pixel in &self.order[range] {
            let values = pixel * c..(pixel + 1) * c;
            image[values.clone()].copy_from_slice(&self.to[values]);
        }
    }
}

impl Curve {
    fn new(shares: Vec<f64>, probabilities: Vec<f64>) -> Curve {
        let points = shares.windows(2).zip(probabilities.windows(2));
        let area = points
            .map(|(x, p)| (x[1] - x[0]) * f64::midpoint(p[0], p[1]))
            .sum();
        Curve {
            shares,
            probabilities,
            area,
        }
    }
}
