//! Occlusion: how much the score falls when a window of the image is covered.

use model::network::Network;

use crate::error::{AttributionError, Result, count_in};
use crate::heat_map::HeatMap;
use crate::image::{Baseline, Image};
use crate::scoring::{MOST_AT_ONCE, Scored};
use crate::target::Target;

/// Occlusion: a window of one colour slides over the image; a pixel's value is the mean, over the windows that cover it,
/// of the image's score minus that of the covered image. Zeiler, Fergus, "Visualizing and Understanding Convolutional
/// Networks", ECCV 2014; windows as in Captum: the last ones are cut off at the image's edge.
///
/// It needs no gradients, so the network may be on any device.
#[derive(Clone, Debug, PartialEq)]
pub struct Occlusion {
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Rows and columns between windows, at most as many as the window's, so that every pixel is covered.
    pub stride: [usize; 2],
    /// The window's colour.
    pub baseline: Baseline,
    /// Number of images that are computed together; memory is proportional to it.
    pub batch: usize,
}

impl Default for Occlusion {
    /// Windows of 32×32 pixels, half overlapping.
    fn default() -> Self {
        Occlusion {
            window: [32; 2],
            stride: [16; 2],
            baseline: Baseline::Mean,
            batch: 16,
        }
    }
}

/// A window in the image: its first row and column, and those after its last ones.
#[derive(Clone, Copy, Debug)]
struct Window {
    top: usize,
    left: usize,
    bottom: usize,
    right: usize,
}

impl Occlusion {
    /// The map.
    ///
    /// # Errors
    /// No such class, a setting outside its range, or an image that the network cannot take.
    pub fn map(&self, network: &Network, image: Image<'_>, target: Target) -> Result<HeatMap> {
        self.check(image)?;
        let (scored, shape) = (Scored { network, target }, image.shape());
        let colour = self.baseline.colour(shape.c)?;
        let score: f64 = scored.scores(image.data(), shape)?.iter().sum();
        let mut sums = vec![(0.0, 0u32); shape.h * shape.w];
        for windows in self.windows(shape.h, shape.w).chunks(self.batch) {
            let covered = windows.iter().flat_map(|w| covered(image, *w, &colour));
            let covered: Vec<f32> = covered.collect();
            let scores = scored.scores(&covered, shape)?;
            for (window, covered) in windows.iter().zip(scores) {
                window.add(score - covered, shape.w, &mut sums);
            }
        }
        let means = sums.iter().map(|(sum, n)| (sum / f64::from(*n)) as f32);
        Ok(HeatMap::of(shape.h, shape.w, means.collect()))
    }

    /// Number of windows, each a forward pass, for an image of a size.
    pub fn passes(&self, height: usize, width: usize) -> usize {
        let counts = [(height, 0), (width, 1)];
        let counts = counts.map(|(side, k)| count(side, self.window[k], self.stride[k]));
        counts[0].saturating_mul(counts[1])
    }

    fn check(&self, image: Image<'_>) -> Result<()> {
        count_in("batch", self.batch, MOST_AT_ONCE)?;
        let shape = image.shape();
        for (k, side) in [shape.h, shape.w].into_iter().enumerate() {
            count_in("window", self.window[k], side)?;
            count_in("stride", self.stride[k], self.window[k])?;
        }
        match self.passes(shape.h, shape.w) {
            0..=MOST_PASSES => Ok(()),
            passes => Err(AttributionError::Setting {
                name: "stride",
                value: format!("{:?}", self.stride),
                expected: format!(
                    "so large that at most {MOST_PASSES} windows fit into the image, not {passes}"
                ),
            }),
        }
    }

    fn windows(&self, height: usize, width: usize) -> Vec<Window> {
        let rows = starts(height, self.window[0], self.stride[0]);
        let columns = || starts(width, self.window[1], self.stride[1]);
        let window = |top: usize, left: usize| Window {
            top,
            left,
            bottom: (top + self.window[0]).min(height),
            right: (left + self.window[1]).min(width),
        };
        rows.flat_map(|top| columns().map(move |left| window(top, left)))
            .collect()
    }
}

/// Largest number of windows: hours of a small network's time.
const MOST_PASSES: usize = 1_000_000;

/// Number of windows along a side, of which the last one reaches its end.
fn count(side: usize, window: usize, stride: usize) -> usize {
    side.saturating_sub(window).div_ceil(stride.max(1)) + 1
}

/// Where they start.
fn starts(side: usize, window: usize, stride: usize) -> impl Iterator<Item = usize> {
    (0..count(side, window, stride)).map(move |i| i * stride)
}

/// The image with a window of one colour.
fn covered(image: Image<'_>, window: Window, colour: &[f32]) -> Vec<f32> {
    let (mut data, shape) = (image.data().to_vec(), image.shape());
    for row in window.top..window.bottom {
        let from = (row * shape.w + window.left) * shape.c;
        let to = (row * shape.w + window.right) * shape.c;
        for pixel in data[from..to].chunks_exact_mut(shape.c) {
            pixel.copy_from_slice(colour);
        }
    }
    data
}

impl Window {
    /// Adds a number to the sums of the pixels that the window covers, and counts it.
    fn add(self, value: f64, width: usize, sums: &mut [(f64, u32)]) {
        for row in self.top..self.bottom {
            for (sum, count) in &mut sums[row * width + self.left..row * width + self.right] {
                *sum += value;
                *count += 1;
            }
        }
    }
}
