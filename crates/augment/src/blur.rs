//! Gaussian blur, one pass along the rows and one along the columns.

use crate::Raster;
use crate::fill::reflect;
use crate::math::exp2;

/// Blurs in place with a Gaussian of standard deviation `sigma` pixels, truncated at three standard deviations; the
/// image is continued by reflection. Equals scipy's `gaussian_filter(sigma, mode="reflect", truncate=3)`.
pub(crate) fn gaussian(image: &mut Raster, sigma: f32, scratch: &mut Vec<f32>) {
    if image.data.is_empty() {
        return;
    }
    let kernel = kernel(sigma);
    scratch.resize(image.data.len(), 0.0);
    along_rows(image, &kernel, scratch);
    along_columns(image, &kernel, scratch);
}

/// Weights at distances `-r..=r` that sum to 1, where `r` is three sigma, rounded.
fn kernel(sigma: f32) -> Vec<f32> {
    let radius = (3.0 * sigma + 0.5) as i32;
    let weight =
        |x: i32| exp2(-(x as f32).powi(2) / (2.0 * sigma * sigma * std::f32::consts::LN_2));
    let weights: Vec<f32> = (-radius..=radius).map(weight).collect();
    let total: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// Writes the image, blurred along its rows, to `out`.
fn along_rows(image: &Raster, kernel: &[f32], out: &mut [f32]) {
    let (channels, stride, radius) = (image.channels, image.stride(), kernel.len() / 2);
    let mut padded = vec![0.0; stride + 2 * radius * channels];
    for (row, out) in image
        .data
        .chunks_exact(stride)
        .zip(out.chunks_exact_mut(stride))
    {
        for (x, pixel) in padded.chunks_exact_mut(channels).enumerate() {
            let from = reflect(x as i64 - radius as i64, image.width) * channels;
            pixel.copy_from_slice(&row[from..from + channels]);
        }
        out.fill(0.0);
        for (tap, &weight) in kernel.iter().enumerate() {
            add_scaled(
                out,
                &padded[tap * channels..tap * channels + stride],
                weight,
            );
        }
    }
}

/// Writes `rows`, blurred along the columns, to the image.
fn along_columns(image: &mut Raster, kernel: &[f32], rows: &[f32]) {
    let (stride, height, radius) = (image.stride(), image.height, kernel.len() / 2);
    for (y, out) in image.data.chunks_exact_mut(stride).enumerate() {
        out.fill(0.0);
        for (tap, &weight) in kernel.iter().enumerate() {
            let from = reflect((y + tap) as i64 - radius as i64, height) * stride;
            add_scaled(out, &rows[from..from + stride], weight);
        }
    }
}

fn add_scaled(out: &mut [f32], values: &[f32], weight: f32) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += weight * value;
    }
}
