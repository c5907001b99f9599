//! Inference on feature maps of bf16: half of the memory traffic of `f32`.
//!
//! Kernels read bf16 numbers as `f32` or, where the processor multiplies them, as they are, and round their results to
//! the nearest. Sums are `f32`. [`Conv2d::forward_bf16`](crate::conv2d::Conv2d::forward_bf16) and
//! [`forward_to_bf16`](crate::conv2d::Conv2d::forward_to_bf16) are the dense convolutions.

use crate::{Epilogue, Nhwc, Window};

pub use crate::simd::Bf16;

/// Where a convolution of bf16 values writes its results.
#[derive(Debug)]
pub enum Output<'a> {
    /// As numbers.
    F32(&'a mut [f32]),
    /// Rounded.
    Bf16(&'a mut [Bf16]),
}

impl Output<'_> {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Output::F32(y) => y.len(),
            Output::Bf16(y) => y.len(),
        }
    }
}

/// The numbers as `f32`.
pub fn widen(x: &[Bf16], y: &mut [f32]) {
    crate::elementwise::convert(x, y);
}

/// The nearest bf16 numbers; those below the least normal one may become zero.
pub fn narrow(x: &[f32], y: &mut [Bf16]) {
    crate::elementwise::convert(x, y);
}

/// `y = a + b`.
pub fn add(a: &[Bf16], b: &[Bf16], y: &mut [Bf16]) {
    crate::elementwise::sum(a, b, y);
}

/// `y[n, …, c] = x[n, …, c] · s[n, c]`: the scale of squeeze-and-excitation.
pub fn scale_channels(x: &[Bf16], xs: Nhwc, s: &[f32], y: &mut [Bf16]) {
    crate::elementwise::scale(x, xs, s, y);
}

/// Mean over each image's pixels; `y` is `[n, c]`.
pub fn global_avg_pool(x: &[Bf16], xs: Nhwc, y: &mut [f32]) {
    crate::pool::global_avg(x, xs, y);
}

/// `y = act(depthwise(x, w) + bias)`; `y` has shape `window.output(xs, xs.c)`.
pub fn depthwise(
    x: &[Bf16],
    xs: Nhwc,
    w: &[f32],
    window: Window,
    epilogue: Epilogue<'_>,
    y: &mut [Bf16],
) {
    crate::depthwise::run_forward(x, xs, w, window, epilogue, y);
}
