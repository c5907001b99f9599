//! Photometric transforms and noise, which change values in place. All results are clamped to `[0, 1]`.

use crate::Raster;
use crate::math::pow;
use crate::streams::{self, Purpose};

/// Multiplies every value.
pub(crate) fn brightness(image: &mut Raster, factor: f32) {
    for value in &mut image.data {
        *value = unit(*value * factor);
    }
}

/// Multiplies every value's difference from the mean.
pub(crate) fn contrast(image: &mut Raster, factor: f32) {
    let mean = mean(&image.data);
    for value in &mut image.data {
        *value = unit((*value - mean) * factor + mean);
    }
}

/// Raises every value to a power.
pub(crate) fn gamma(image: &mut Raster, exponent: f32) {
    for value in &mut image.data {
        *value = unit(pow(unit(*value), exponent));
    }
}

/// Adds noise of standard deviation `sigma`, the same in all channels of a pixel.
pub(crate) fn noise(image: &mut Raster, sigma: f32, seed: u64) {
    let stream = streams::stream(seed, Purpose::NoisePixels);
    for (index, pixel) in image.data.chunks_exact_mut(image.channels).enumerate() {
        let noise = sigma * streams::normal_at(&stream, index as u64);
        for value in pixel {
            *value = unit(*value + noise);
        }
    }
}

#[inline(always)]
fn unit(value: f32) -> f32 {
    value.clamp(0.0, 1.0)
}

/// The mean, summed in eight lanes so that it vectorises, and in a fixed order.
fn mean(values: &[f32]) -> f32 {
    let mut lanes = [0.0f64; 8];
    let chunks = values.chunks_exact(lanes.len());
    let tail: f64 = chunks
        .remainder()
        .iter()
        .map(|&value| f64::from(value))
        .sum();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value);
        }
    }
    ((lanes.iter().sum::<f64>() + tail) / values.len().max(1) as f64) as f32
}
