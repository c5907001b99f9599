//! Element-wise operations and concatenation.

use crate::Nhwc;

/// `y[n, …, c] = x[n, …, c] · s[n, c]`; also the gradient with respect to `x`, with `dy` for `x`.
pub fn scale_channels(x: &[f64], xs: Nhwc, s: &[f64]) -> Vec<f64> {
    let image = xs.h * xs.w * xs.c;
    x.iter()
        .enumerate()
        .map(|(i, v)| v * s[i / image * xs.c + i % xs.c])
        .collect()
}

/// Gradient of [`scale_channels`] with respect to `s`.
pub fn scale_channels_backward_scale(x: &[f64], dy: &[f64], xs: Nhwc) -> Vec<f64> {
    let mut ds = vec![0.0; xs.n * xs.c];
    for (i, (v, g)) in x.iter().zip(dy).enumerate() {
        ds[i / (xs.h * xs.w * xs.c) * xs.c + i % xs.c] += v * g;
    }
    ds
}

/// Joins tensors of `pixels` pixels each along channels.
pub fn concat_forward(inputs: &[(&[f64], usize)], pixels: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for p in 0..pixels {
        for (x, channels) in inputs {
            y.extend_from_slice(&x[p * channels..(p + 1) * channels]);
        }
    }
    y
}

/// The channels `offset..offset + channels` of every pixel.
pub fn concat_backward(dy: &[f64], total: usize, offset: usize, channels: usize) -> Vec<f64> {
    dy.chunks_exact(total)
        .flat_map(|pixel| pixel[offset..offset + channels].to_vec())
        .collect()
}
