//! Mean of features over the region that a class map predicts.
//!
//! The map's class 0 is what lies outside. A pixel's weight is the probability of all other classes,
//! `w = 1 − softmax(map)₀`; where the features are coarser than the map, it is the mean over the map's pixels that a
//! pixel of the features covers. The result is `Σ w x / (Σ w + ε)` over the pixels of an image, and its gradient flows
//! to the features and to the map.
//!
//! The map's gradient contains `w / (Σ w + ε)`, which is at most 1, so it is bounded even for an image without a
//! region, where the result goes to 0.

use crate::parallel::{Shared, for_each};
use crate::{Accumulate, Nhwc};

/// Added to the sum of the weights, in pixels of the features: without it an image in which the map finds no region
/// would give 0 / 0.
pub const EPS: f32 = 1e-6;

/// Pixels that are summed in `f32` before the sum moves to `f64`.
const BLOCK: usize = 64;

/// The pooling of features of one shape by a map of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionPool {
    features: Nhwc,
    map: Nhwc,
    /// Side in pixels of the map's square that a pixel of the features covers.
    side: usize,
}

impl RegionPool {
    /// The pooling of `features` by `map`, whose height and width must be the same multiple of the features', with at
    /// least two classes.
    ///
    /// # Panics
    /// Panics where [`RegionPool::checked`] is `None`.
    pub fn new(features: Nhwc, map: Nhwc) -> Self {
        let pool = Self::checked(features, map);
        assert!(
            pool.is_some(),
            "region_pool: a map of {map:?} does not fit features of {features:?}"
        );
        pool.unwrap_or(Self {
            features,
            map,
            side: 1,
        })
    }

    /// [`RegionPool::new`] of shapes that come from a file or a setting; `None` if they do not fit.
    pub fn checked(features: Nhwc, map: Nhwc) -> Option<Self> {
        let sizes = features.checked_len()?.min(map.checked_len()?);
        if sizes == 0 || features.n != map.n || map.c < 2 {
            return None;
        }
        let side = map.h / features.h;
        let covers = |side: usize, small: usize, large| small.checked_mul(side) == Some(large);
        let fits = covers(side, features.h, map.h) && covers(side, features.w, map.w);
        fits.then_some(Self {
            features,
            map,
            side,
        })
    }

    /// Side in pixels of the map's square that a pixel of the features covers.
    pub fn side(self) -> usize {
        self.side
    }

    /// Working space of [`RegionPool::forward`] and [`RegionPool::backward_features`].
    pub fn scratch(self) -> usize {
        self.features.pixels()
    }

    /// Working space of [`RegionPool::backward_map`].
    pub fn backward_map_scratch(self) -> usize {
        2 * self.features.pixels()
    }

    /// `y[n, c] = Σ w x / (Σ w + ε)` over each image's pixels.
    pub fn forward(self, x: &[f32], map: &[f32], y: &mut [f32], scratch: &mut [f32]) {
        let xs = self.features;
        assert_eq!(x.len(), xs.len(), "region_pool: length of x for {xs:?}");
        assert_eq!(y.len(), xs.n * xs.c, "region_pool: length of y for {xs:?}");
        let weights = self.weights(map, scratch);
        let (area, y) = (xs.h * xs.w, Shared::new(y));
        for_each(xs.n, |n| {
            let weights = &weights[n * area..(n + 1) * area];
            let sums = weighted_sums(&x[n * area * xs.c..(n + 1) * area * xs.c], weights, xs.c);
            let total = total(weights);
            // SAFETY: images are disjoint.
            let y = unsafe { y.part(n * xs.c..(n + 1) * xs.c) };
            for (y, sum) in y.iter_mut().zip(sums) {
                *y = (sum / total) as f32;
            }
        });
    }

    /// `dx (+)= dy · w / (Σ w + ε)`.
    pub fn backward_features(
        self,
        dy: &[f32],
        map: &[f32],
        dx: &mut [f32],
        acc: Accumulate,
        scratch: &mut [f32],
    ) {
        let xs = self.features;
        self.check_gradient(dy);
        assert_eq!(dx.len(), xs.len(), "region_pool: length of dx for {xs:?}");
        let weights = self.weights(map, scratch);
        let (area, dx) = (xs.h * xs.w, Shared::new(dx));
        for_each(xs.n, |n| {
            let weights = &weights[n * area..(n + 1) * area];
            let (total, dy) = (total(weights), &dy[n * xs.c..(n + 1) * xs.c]);
            // SAFETY: images are disjoint.
            let dx = unsafe { dx.part(n * area * xs.c..(n + 1) * area * xs.c) };
            if acc == Accumulate::Replace {
                dx.fill(0.0);
            }
            for (dx, weight) in dx.chunks_exact_mut(xs.c).zip(weights) {
                let share = (f64::from(*weight) / total) as f32;
                dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += share * dy);
            }
        });
    }

    /// Gradient with respect to the map's logits `z`: `dz₀ (+)= −p₀ w g` and `dzⱼ (+)= p₀ pⱼ g`, where
    /// `g = dy · (x − y) / (Σ w + ε)`, divided by the number of the map's pixels that a pixel of the features covers,
    /// is the gradient of the loss with respect to a weight.
    pub fn backward_map(
        self,
        x: &[f32],
        dy: &[f32],
        map: &[f32],
        dmap: &mut [f32],
        acc: Accumulate,
        scratch: &mut [f32],
    ) {
        let ms = self.map;
        assert_eq!(
            dmap.len(),
            ms.len(),
            "region_pool: length of dmap for {ms:?}"
        );
        let gradients = self.weight_gradients(x, dy, map, scratch);
        let (row, dmap) = (ms.w * ms.c, Shared::new(dmap));
        for_each(ms.n * ms.h, |r| {
            let gradients = &gradients[r / self.side * self.features.w..][..self.features.w];
            let logits = map[r * row..(r + 1) * row].chunks_exact(ms.c);
            // SAFETY: rows are disjoint.
            let dmap = unsafe { dmap.part(r * row..(r + 1) * row) };
            let pixels = dmap.chunks_exact_mut(ms.c).zip(logits);
            for (i, (dmap, logits)) in pixels.enumerate() {
                if acc == Accumulate::Replace {
                    dmap.fill(0.0);
                }
                add_logit_gradients(logits, gradients[i / self.side], dmap);
            }
        });
    }

    /// The gradient with respect to the weight of each pixel of the map, of which those that a pixel of the features
    /// covers have the same. With `d = dy · x`, `dy · y` is `Σ w d / (Σ w + ε)`.
    fn weight_gradients<'s>(
        self,
        x: &[f32],
        dy: &[f32],
        map: &[f32],
        scratch: &'s mut [f32],
    ) -> &'s [f32] {
        let xs = self.features;
        assert_eq!(x.len(), xs.len(), "region_pool: length of x for {xs:?}");
        self.check_gradient(dy);
        let need = self.backward_map_scratch();
        let (weights, gradients) = scratch[..need].split_at_mut(xs.pixels());
        let weights = self.weights(map, weights);
        let (area, shared) = (xs.h * xs.w, Shared::new(gradients));
        let covered = (self.side * self.side) as f64;
        for_each(xs.n, |n| {
            let (weights, dy) = (
                &weights[n * area..(n + 1) * area],
                &dy[n * xs.c..(n + 1) * xs.c],
            );
            let pixels = x[n * area * xs.c..(n + 1) * area * xs.c].chunks_exact(xs.c);
            // SAFETY: images are disjoint.
            let gradients = unsafe { shared.part(n * area..(n + 1) * area) };
            for (gradient, pixel) in gradients.iter_mut().zip(pixels) {
                *gradient = pixel.iter().zip(dy).map(|(x, dy)| x * dy).sum();
            }
            let total = total(weights);
            let pairs = gradients.iter().zip(weights);
            let mean = pairs.map(|(d, w)| f64::from(*d) * f64::from(*w));
            let mean = mean.sum::<f64>() / total;
            for gradient in gradients {
                *gradient = ((f64::from(*gradient) - mean) / (total * covered)) as f32;
            }
        });
        gradients
    }

    /// The weights of the features' pixels, in `scratch`.
    fn weights<'s>(self, map: &[f32], scratch: &'s mut [f32]) -> &'s [f32] {
        let (xs, ms, side) = (self.features, self.map, self.side);
        assert_eq!(map.len(), ms.len(), "region_pool: length of map for {ms:?}");
        let weights = &mut scratch[..xs.pixels()];
        let (band, shared) = (side * ms.w * ms.c, Shared::new(weights));
        for_each(xs.n * xs.h, |r| {
            // SAFETY: rows are disjoint.
            let weights = unsafe { shared.part(r * xs.w..(r + 1) * xs.w) };
            weights.fill(0.0);
            for pixels in map[r * band..(r + 1) * band].chunks_exact(ms.w * ms.c) {
                for (i, logits) in pixels.chunks_exact(ms.c).enumerate() {
                    weights[i / side] += inside(logits);
                }
            }
            let covered = (side * side) as f32;
            weights.iter_mut().for_each(|w| *w /= covered);
        });
        weights
    }

    fn check_gradient(self, dy: &[f32]) {
        let xs = self.features;
        assert_eq!(
            dy.len(),
            xs.n * xs.c,
            "region_pool: length of dy for {xs:?}"
        );
    }
}

/// `e^(z − max)` of class 0, and the sum of the others'.
fn exponentials(logits: &[f32]) -> (f32, f32, f32) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let others = logits[1..].iter().map(|z| (z - largest).exp());
    ((logits[0] - largest).exp(), others.sum(), largest)
}

/// The probability of all classes but the first, as a sum, so that a small one is exact.
fn inside(logits: &[f32]) -> f32 {
    let (first, others, _) = exponentials(logits);
    others / (first + others)
}

/// Adds the gradients of a pixel's logits, given that of its weight.
fn add_logit_gradients(logits: &[f32], gradient: f32, dmap: &mut [f32]) {
    let (first, others, largest) = exponentials(logits);
    let sum = first + others;
    let scaled = gradient * first / sum;
    dmap[0] -= scaled * others / sum;
    for (d, z) in dmap[1..].iter_mut().zip(&logits[1..]) {
        *d += scaled * (z - largest).exp() / sum;
    }
}

fn total(weights: &[f32]) -> f64 {
    weights.iter().map(|w| f64::from(*w)).sum::<f64>() + f64::from(EPS)
}

/// `Σ w x` for each channel.
fn weighted_sums(x: &[f32], weights: &[f32], channels: usize) -> Vec<f64> {
    let (mut sums, mut block) = (vec![0.0f64; channels], vec![0.0f32; channels]);
    for (x, weights) in x.chunks(BLOCK * channels).zip(weights.chunks(BLOCK)) {
        block.fill(0.0);
        for (pixel, weight) in x.chunks_exact(channels).zip(weights) {
            for (sum, value) in block.iter_mut().zip(pixel) {
                *sum += weight * value;
            }
        }
        for (sum, value) in sums.iter_mut().zip(&block) {
            *sum += f64::from(*value);
        }
    }
    sums
}
