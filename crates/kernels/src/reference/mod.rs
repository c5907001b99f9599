//! Naive versions of every kernel: loops only, all in `f64`, one formula per function.
//!
//! They serve as ground truth for the tests and never run in production. They take and return whole tensors, never add
//! to an existing output, and check nothing.

pub mod convolution;
pub mod normalization;
pub mod simple;
pub mod spatial;
pub mod update;

use crate::{Nhwc, Window};

/// Calls `visit(input pixel, output pixel, tap)` for every tap of every window position that is inside the input.
pub(crate) fn for_each_tap(xs: Nhwc, window: Window, mut visit: impl FnMut(usize, usize, usize)) {
    let ys = window.fitted(xs, 1);
    let pad = [window.pad_before(0, xs.h), window.pad_before(1, xs.w)];
    for out in 0..ys.pixels() {
        let (n, oy, ox) = (out / (ys.h * ys.w), out / ys.w % ys.h, out % ys.w);
        for tap in 0..window.taps() {
            let (ky, kx) = (tap / window.kernel[1], tap % window.kernel[1]);
            let (iy, ix) = (oy * window.stride + ky, ox * window.stride + kx);
            if iy >= pad[0] && iy - pad[0] < xs.h && ix >= pad[1] && ix - pad[1] < xs.w {
                visit((n * xs.h + iy - pad[0]) * xs.w + ix - pad[1], out, tap);
            }
        }
    }
}
