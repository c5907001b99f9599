//! Gradient of a depthwise convolution's weights.
//!
//! Sums of some rows of the kernel are kept in registers; four gradients are loaded for all of them, and each pixel of
//! the input once for all the sums of a row that it belongs to.

#![allow(
    clippy::needless_range_loop,
    reason = "tiles are arrays of arrays that share their indices"
)]

use super::{check, for_columns};
use crate::parallel::{Shared, for_each, part};
use crate::simd::{Kernel, Simd, dispatch, prefetch};
use crate::{Accumulate, Nhwc, Window, size};
use std::ops::Range;

/// Channels of a task; with many channels, partial sums would take longer to add up than to compute.
const CHANNELS: usize = 128;
/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 16;

/// Number of blocks of channels.
fn blocks(c: usize) -> usize {
    c.div_ceil(CHANNELS).max(1)
}

/// Number of partial sums, over disjoint rows of the output.
fn partials(ys: Nhwc) -> usize {
    (ys.n * ys.h).min(TASKS.div_ceil(blocks(ys.c)))
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
    let (out, blocks) = (Shared::new(scratch), blocks(xs.c));
    for_each(parts * blocks, |task| {
        let (partial, sixteens) = (
            task / blocks,
            part(xs.c.div_ceil(16), blocks, task % blocks),
        );
        dispatch(Task {
            x,
            dy,
            xs,
            ys,
            window,
            rows: part(ys.n * ys.h, parts, partial),
            channels: sixteens.start * 16..(sixteens.end * 16).min(xs.c),
            out,
            partial: partial * weights,
        });
    });
    crate::elementwise::sum_parts(scratch, dw, acc);
}

/// Pixels summed in registers before the sums are written to memory.
const PIXELS: usize = 16;
/// Pixels of a tile.
const TILE: usize = 4;
/// Values of a line of the caches.
const LINE: usize = 16;

struct Task<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    xs: Nhwc,
    ys: Nhwc,
    window: Window,
    rows: Range<usize>,
    channels: Range<usize>,
    /// All partial sums, of which the task writes its own channels of the one at `partial`.
    out: Shared<'a, f32>,
    partial: usize,
}

/// Taps of the kernel whose sums are in registers, for one row of the output.
struct Taps<const R: usize> {
    /// The first of each row's taps.
    first: [usize; 2],
    /// First value of each row of the input; `None` if it is outside.
    rows: [Option<usize>; R],
    /// Row of the output.
    row: usize,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.rows.clone() {
            match (self.window.kernel, self.window.stride) {
                ([3, 3], 1) => self.taps::<S, 3, 3, 1>(s, row, [0, 0]),
                ([3, 3], 2) => self.taps::<S, 3, 3, 2>(s, row, [0, 0]),
                ([5, 5], 1) => self.five::<S, 1>(s, row),
                ([5, 5], 2) => self.five::<S, 2>(s, row),
                ([height, width], _) => {
                    for tap in 0..height * width {
                        self.taps::<S, 1, 1, 1>(s, row, [tap / width, tap % width]);
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// Two rows of five sums at a time, which fit in sixteen registers.
    #[inline(always)]
    fn five<S: Simd, const STEP: usize>(&self, s: S, row: usize) {
        self.taps::<S, 2, 5, STEP>(s, row, [0, 0]);
        self.taps::<S, 2, 5, STEP>(s, row, [2, 0]);
        self.taps::<S, 1, 5, STEP>(s, row, [4, 0]);
    }

    /// Adds the contribution of one row of `dy` to the taps from `first` to `first + [R, T]`; `STEP` is the stride, unless
    /// it is a single tap.
    #[inline(always)]
    fn taps<S: Simd, const R: usize, const T: usize, const STEP: usize>(
        &self,
        s: S,
        row: usize,
        first: [usize; 2],
    ) {
        let (xs, ys, window) = (self.xs, self.ys, self.window);
        let (n, pad) = (row / ys.h, window.pad_before(0, xs.h));
        let mut rows = [None; R];
        for (ky, at) in rows.iter_mut().enumerate() {
            let y = (row % ys.h * window.stride + first[0] + ky).wrapping_sub(pad);
            *at = (y < xs.h).then(|| (n * xs.h + y) * xs.w * xs.c);
        }
        if rows.iter().all(Option::is_none) {
            return;
        }
        let taps = Taps { first, rows, row };
        // A few pixels at a time, so that memory is read in order.
        for start in (0..ys.w).step_by(PIXELS) {
            let columns = start..ys.w.min(start + PIXELS);
            let (mut at, end, full) = (self.channels.start, self.channels.end, s.mask(S::LANES));
            while at + S::LANES <= end {
                // SAFETY: a whole vector of channels.
                unsafe { self.vector::<S, R, T, STEP, true>(s, &taps, columns.clone(), at, full) };
                at += S::LANES;
            }
            if at < end {
                // SAFETY: the mask ends with the channels.
                unsafe {
                    self.vector::<S, R, T, STEP, false>(
                        s,
                        &taps,
                        columns.clone(),
                        at,
                        s.mask(end - at),
                    )
                };
            }
        }
    }

    /// Adds the pixels `columns` of a row for the vector of channels at `at`. `FULL` if all of its channels are used.
    ///
    /// # Safety
    /// If `FULL`, they are; `mask` ends with the channels.
    #[inline(always)]
    unsafe fn vector<
        S: Simd,
        const R: usize,
        const T: usize,
        const STEP: usize,
        const FULL: bool,
    >(
        &self,
        s: S,
        taps: &Taps<R>,
        columns: Range<usize>,
        at: usize,
        mask: S::Mask,
    ) {
        let wide = self.window.stride == 1 && self.ys.w > PIXELS;
        if wide && taps.first == [0, 0] && at.is_multiple_of(LINE) {
            self.prefetch(taps, &columns, at);
        }
        let (mut acc, mut ox) = ([[s.splat(0.0); T]; R], columns.start);
        // SAFETY: the pixels are in the row; the caller guarantees the channels.
        unsafe {
            while ox + TILE <= columns.end {
                acc = self.tile::<S, R, T, STEP, TILE, FULL>(s, taps, ox, at, mask, acc);
                ox += TILE;
            }
            while ox < columns.end {
                acc = self.tile::<S, R, T, STEP, 1, FULL>(s, taps, ox, at, mask, acc);
                ox += 1;
            }
        }
        for (ky, sums) in acc.iter().enumerate() {
            for (kx, &sum) in sums.iter().enumerate() {
                let tap = (taps.first[0] + ky) * self.window.kernel[1] + taps.first[1] + kx;
                // SAFETY: the tap's channels in a sum that only this task accesses.
                unsafe {
                    let to = self.out.pointer().add(self.partial + tap * self.xs.c + at);
                    s.store(to, mask, s.add(s.load(to, mask), sum));
                }
            }
        }
    }

    /// Adds the `P` pixels from `ox` to the sums, which are passed by value so that they stay in registers.
    ///
    /// # Safety
    /// The pixels are in the row; for the channels see [`Task::vector`].
    #[inline(always)]
    unsafe fn tile<
        S: Simd,
        const R: usize,
        const T: usize,
        const STEP: usize,
        const P: usize,
        const FULL: bool,
    >(
        &self,
        s: S,
        taps: &Taps<R>,
        ox: usize,
        at: usize,
        mask: S::Mask,
        mut acc: [[S::V; T]; R],
    ) -> [[S::V; T]; R] {
        let (c, width, stride) = (self.xs.c, self.xs.w, self.window.stride);
        // SAFETY: of whole vectors all lanes are readable.
        let load = |from: *const f32| unsafe {
            if FULL {
                s.load_all(from)
            } else {
                s.load(from, mask)
            }
        };
        let from = self
            .dy
            .as_ptr()
            .wrapping_add((taps.row * self.ys.w + ox) * c + at);
        let mut dy = [s.splat(0.0); P];
        for (p, dy) in dy.iter_mut().enumerate() {
            *dy = load(from.wrapping_add(p * c));
        }
        // A negative column wraps to a huge unsigned one.
        let column = (ox * stride + taps.first[1]).wrapping_sub(self.window.pad_before(1, width));
        let distance = if T == 1 { stride } else { 1 };
        let inside = column < width && width - column > (P - 1) * stride + T - 1;
        for ky in 0..R {
            let Some(row) = taps.rows[ky] else { continue };
            let mut x = self
                .x
                .as_ptr()
                .wrapping_add(row + at)
                .wrapping_add(column.wrapping_mul(c));
            for_columns!(|i| {
                if i < (P - 1) * STEP + T && (inside || column.wrapping_add(i * distance) < width) {
                    let value = load(x);
                    for t in 0..T {
                        if i >= t && (i - t).is_multiple_of(STEP) && (i - t) / STEP < P {
                            acc[ky][t] = s.mul_add(value, dy[(i - t) / STEP], acc[ky][t]);
                        }
                    }
                }
                x = x.wrapping_add(distance * c);
            });
        }
        acc
    }

    /// Fetches what the row below will read for the first time, if the stride is 1: a few channels of each of several pixels are not
    /// recognised as a row that continues.
    #[inline(always)]
    fn prefetch<const R: usize>(&self, taps: &Taps<R>, columns: &Range<usize>, at: usize) {
        let xs = self.xs;
        let last = taps.rows.iter().flatten().max().unwrap_or(&0);
        let below = last + self.window.kernel[0].saturating_sub(R) * xs.w * xs.c;
        for column in columns.clone() {
            prefetch(
                self.x
                    .as_ptr()
                    .wrapping_add(below + (xs.w + column) * xs.c + at),
            );
        }
        for column in columns.clone() {
            let pixel = (taps.row + 1) * self.ys.w + column;
            prefetch(self.dy.as_ptr().wrapping_add(pixel * xs.c + at));
        }
    }
}
