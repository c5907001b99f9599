//! Gradient of a depthwise convolution's weights.

#![allow(
    clippy::needless_range_loop,
    reason = "tiles are arrays of arrays that share their indices"
)]

use super::check;
use crate::parallel::{Shared, for_each, part};
use crate::simd::{Kernel, Simd, dispatch, for_vectors};
use crate::{Accumulate, Nhwc, Window, size};
use std::ops::Range;

/// Number of partial sums, over disjoint rows of the output.
fn partials(ys: Nhwc) -> usize {
    (ys.n * ys.h).min(16)
}

/// Scratch of [`backward_weight`].
pub fn backward_weight_scratch(xs: Nhwc, window: Window) -> usize {
    size([partials(window.fitted(xs, xs.c)), window.taps(), xs.c])
}

/// Gradient with respect to `w`, `[kh, kw, c]`.
pub fn backward_weight(
    x: &[f32],
    dy: &[f32],
    xs: Nhwc,
    window: Window,
    dw: &mut [f32],
    acc: Accumulate,
    scratch: &mut [f32],
) {
    let ys = check(
        "depthwise::backward_weight",
        x.len(),
        xs,
        dw.len(),
        window,
        dy.len(),
    );
    let (need, weights, parts) = (backward_weight_scratch(xs, window), dw.len(), partials(ys));
    assert!(
        scratch.len() >= need,
        "scratch has {} values, depthwise::backward_weight needs {need}",
        scratch.len()
    );
    let scratch = &mut scratch[..need];
    scratch.fill(0.0);
    let out = Shared::new(scratch);
    for_each(parts, |index| {
        // SAFETY: each task has its own partial sum.
        let dw = unsafe { out.part(index * weights..(index + 1) * weights) };
        dispatch(Task {
            x,
            dy,
            xs,
            ys,
            window,
            rows: part(ys.n * ys.h, parts, index),
            dw,
        });
    });
    crate::elementwise::sum_parts(scratch, dw, acc);
}

/// Pixels summed in registers before the sums are written to memory.
const PIXELS: usize = 16;

struct Task<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    xs: Nhwc,
    ys: Nhwc,
    window: Window,
    rows: Range<usize>,
    dw: &'a mut [f32],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for row in self.rows.clone() {
            match self.window.kernel {
                [3, 3] => self.row::<S, 3, 3>(s, row, [0, 0]),
                [5, 5] => self.row::<S, 5, 5>(s, row, [0, 0]),
                [height, width] => {
                    for tap in 0..height * width {
                        self.row::<S, 1, 1>(s, row, [tap / width, tap % width]);
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// Adds the contribution of one row of `dy` to the taps from `first` to `first + [KH, KW]`.
    #[inline(always)]
    fn row<S: Simd, const KH: usize, const KW: usize>(
        &mut self,
        s: S,
        row: usize,
        first: [usize; 2],
    ) {
        let (xs, ys, window, c) = (self.xs, self.ys, self.window, self.xs.c);
        let pad = [window.pad_before(0, xs.h), window.pad_before(1, xs.w)];
        let (n, oy) = (row / ys.h, row % ys.h);
        let mut rows = [None; KH];
        for (ky, at) in rows.iter_mut().enumerate() {
            let y = (oy * window.stride + first[0] + ky).wrapping_sub(pad[0]);
            *at = (y < xs.h).then(|| (n * xs.h + y) * xs.w * c);
        }
        // Columns for which every tap of a kernel's row is inside.
        let interior_start = pad[1]
            .saturating_sub(first[1])
            .div_ceil(window.stride)
            .min(ys.w);
        let room = (xs.w + pad[1] + 1).saturating_sub(first[1] + KW);
        let interior = interior_start..room.div_ceil(window.stride).clamp(interior_start, ys.w);
        let ranges = [
            (0..interior.start, false),
            (interior.clone(), true),
            (interior.end..ys.w, false),
        ];
        for (range, inside) in ranges {
            // A few pixels at a time, so that memory is read in order.
            for start in range.clone().step_by(PIXELS) {
                let columns = start..range.end.min(start + PIXELS);
                self.pixels::<S, KH, KW>(s, row, first, &rows, columns, inside);
            }
        }
    }

    /// Adds the pixels `columns` of a row. `inside` if all their taps are inside, apart from rows that are `None`.
    #[inline(always)]
    fn pixels<S: Simd, const KH: usize, const KW: usize>(
        &mut self,
        s: S,
        row: usize,
        first: [usize; 2],
        rows: &[Option<usize>; KH],
        columns: Range<usize>,
        inside: bool,
    ) {
        let (xs, ys, window, c) = (self.xs, self.ys, self.window, self.xs.c);
        let pad = window.pad_before(1, xs.w);
        for_vectors!(s, c, |at, mask| {
            let mut acc = [[s.splat(0.0); KW]; KH];
            for ox in columns.clone() {
                // SAFETY: `ox < ys.w`, and the mask ends with the pixel's channels.
                let dy = unsafe { s.load(self.dy.as_ptr().add((row * ys.w + ox) * c + at), mask) };
                for ky in 0..KH {
                    let Some(start) = rows[ky] else { continue };
                    for kx in 0..KW {
                        let ix = (ox * window.stride + first[1] + kx).wrapping_sub(pad);
                        if inside || ix < xs.w {
                            // SAFETY: row and column are inside the image.
                            let x =
                                unsafe { s.load(self.x.as_ptr().add(start + ix * c + at), mask) };
                            acc[ky][kx] = s.mul_add(x, dy, acc[ky][kx]);
                        }
                    }
                }
            }
            for ky in 0..KH {
                for kx in 0..KW {
                    let tap = (first[0] + ky) * window.kernel[1] + first[1] + kx;
                    // SAFETY: the tap's channels, of which `mask` ends with the last.
                    unsafe {
                        let to = self.dw.as_mut_ptr().add(tap * c + at);
                        s.store(to, mask, s.add(s.load(to, mask), acc[ky][kx]));
                    }
                }
            }
        });
    }
}
