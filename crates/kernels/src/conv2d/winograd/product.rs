//! From a source to an output: the forward pass, and the gradient of the input.

use super::transform::{IN, Input, Output, POINTS, Pixels, Points, Store, both_axes};
use super::weights::{self, Direction};
use super::{BLOCK, Tiling};
use crate::conv2d::gather::Finish;
use crate::conv2d::pack::{Panels, aligned};
use crate::conv2d::tile::multiply_run;
use crate::parallel::{Shared, for_each_with, part, workers};
use crate::simd::{Kernel, Simd, activate, dispatch, for_vectors};
use crate::{Accumulate, Nhwc, Window};
use std::ops::Range;

/// Tasks wanted, so that a few cores get equal shares.
const TASKS: usize = 8;
/// Fewest tiles of a task, for the weights are read anew for each.
const LEAST: usize = 12;
/// Most tiles of a task.
const MOST: usize = 96;

/// A convolution, planned from shapes alone.
#[derive(Clone, Copy)]
pub(in crate::conv2d) struct Product {
    tiling: Tiling,
    direction: Direction,
    panels: Panels,
    /// Runs of tiles, and groups of panels; a task is a pair of them.
    bands: usize,
    groups: usize,
}

impl Product {
    pub(in crate::conv2d) fn forward(xs: Nhwc, cout: usize, window: Window) -> Self {
        let pad = [window.pad_before(0, xs.h), window.pad_before(1, xs.w)];
        Self::new(
            Tiling::new(xs, window.fitted(xs, cout), pad),
            Direction::Forward,
        )
    }

    /// From `dy` to `dx`: the padding is what completes the kernel.
    pub(in crate::conv2d) fn backward(xs: Nhwc, cout: usize, window: Window) -> Self {
        let pad = [(0, xs.h), (1, xs.w)].map(|(axis, len)| 2 - window.pad_before(axis, len));
        Self::new(
            Tiling::new(window.fitted(xs, cout), xs, pad),
            Direction::Backward,
        )
    }

    fn new(tiling: Tiling, direction: Direction) -> Self {
        let (tiles, panels) = (tiling.count(), Panels::new(tiling.out.c));
        let most = (BLOCK / (POINTS * row(tiling.source.c))).clamp(LEAST, MOST);
        let bands = tiles
            .div_ceil(most.min(tiles.div_ceil(TASKS).max(LEAST)))
            .max(1);
        let groups = TASKS.div_ceil(bands).min(panels.count);
        Self {
            tiling,
            direction,
            panels,
            bands,
            groups,
        }
    }

    pub(in crate::conv2d) fn scratch(self) -> usize {
        16 + self.tiling.source.c.next_multiple_of(16)
            + self.weights()
            + workers() * self.task_scratch()
    }

    fn weights(self) -> usize {
        weights::len(self.tiling.source.c, self.panels.outputs)
    }

    /// Tiles of the longest band.
    fn longest(self) -> usize {
        self.tiling.count().div_ceil(self.bands)
    }

    fn task_scratch(self) -> usize {
        let tiles = self.longest();
        step(tiles, row(self.tiling.source.c)) * POINTS + step(tiles, self.panels.width()) * POINTS
    }

    /// Transforms `w` and computes the output.
    pub(in crate::conv2d) fn run(
        self,
        source: &[f32],
        w: &[f32],
        finish: Finish<'_>,
        out: &mut [f32],
        scratch: &mut [f32],
    ) {
        let need = self.scratch();
        assert!(
            scratch.len() >= need,
            "scratch has {} values, the convolution needs {need}",
            scratch.len()
        );
        assert!(
            finish
                .bias
                .is_none_or(|bias| bias.len() == self.panels.outputs),
            "bias: not one value an output channel"
        );
        let cin = self.tiling.source.c;
        let (zeros, scratch) = aligned(scratch).split_at_mut(cin.next_multiple_of(16));
        zeros.fill(0.0);
        let (points, scratch) = scratch.split_at_mut(self.weights());
        weights::transform(w, self.direction, cin, self.panels, points);
        let (zeros, points, out) = (&*zeros, &*points, Shared::new(out));
        for_each_with(
            self.bands * self.groups,
            scratch,
            self.task_scratch(),
            |task, scratch| {
                dispatch(Task {
                    product: self,
                    source,
                    zeros,
                    points,
                    finish,
                    out,
                    tiles: part(self.tiling.count(), self.bands, task / self.groups),
                    group: part(self.panels.count, self.groups, task % self.groups),
                    scratch,
                });
            },
        );
    }
}

/// Values between the rows of two tiles at one point.
fn row(channels: usize) -> usize {
    channels.next_multiple_of(16)
}

/// Values between two points of `tiles` rows: not a multiple of a page, or all points would fall on one set of the cache.
pub(super) fn step(tiles: usize, row: usize) -> usize {
    tiles * row + 16
}

struct Task<'a> {
    product: Product,
    source: &'a [f32],
    zeros: &'a [f32],
    points: &'a [f32],
    finish: Finish<'a>,
    out: Shared<'a, f32>,
    tiles: Range<usize>,
    group: Range<usize>,
    scratch: &'a mut [f32],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let inputs = step(self.tiles.len(), row(self.product.tiling.source.c));
        let (v, m) = (
            self.scratch.as_mut_ptr(),
            self.scratch[POINTS * inputs..].as_mut_ptr(),
        );
        self.input(
            s,
            Points {
                first: v,
                step: inputs,
            },
        );
        for panel in self.group.clone() {
            let (channel, vectors) = self.product.panels.panel(panel);
            let outputs = Points {
                first: m,
                step: step(self.tiles.len(), vectors * S::LANES),
            };
            let inputs = Points {
                first: v,
                step: inputs,
            };
            match (vectors, S::REGISTERS >= 32) {
                (1, true) => self.panel::<S, 12, 1>(s, panel, inputs, outputs),
                (2, true) => self.panel::<S, 12, 2>(s, panel, inputs, outputs),
                (_, true) => self.panel::<S, 8, 3>(s, panel, inputs, outputs),
                (1, false) => self.panel::<S, 8, 1>(s, panel, inputs, outputs),
                (2, false) => self.panel::<S, 6, 2>(s, panel, inputs, outputs),
                (_, false) => self.panel::<S, 4, 3>(s, panel, inputs, outputs),
            }
            self.output(s, channel, vectors, outputs);
        }
    }
}

impl Task<'_> {
    /// Transforms the source under the task's tiles: a row of channels a tile and point.
    #[inline(always)]
    fn input<S: Simd>(&self, s: S, to: Points) {
        let (tiling, c) = (self.product.tiling, self.product.tiling.source.c);
        for (i, tile) in self.tiles.clone().enumerate() {
            let from = tiling.input(tile, self.source, self.zeros.as_ptr());
            for_vectors!(s, c, |at, mask| {
                // SAFETY: each pointer is to a pixel of `c` values or to as many zeros; a row has whole vectors.
                unsafe {
                    let from = Pixels::<_, IN, { IN * IN }> {
                        from: &from,
                        at,
                        mask,
                    };
                    let mut to = Points {
                        first: to.first.add(i * row(c) + at),
                        ..to
                    };
                    both_axes(s, Input, &from, &mut to);
                }
            });
        }
    }

    /// At every point, the product of all tiles with a panel of weights.
    #[inline(always)]
    fn panel<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        panel: usize,
        from: Points,
        to: Points,
    ) {
        let Product { tiling, panels, .. } = self.product;
        let c = tiling.source.c;
        for point in 0..POINTS {
            let w = self.points[weights::offset(panels, panel, c, point)..][..c * V * S::LANES]
                .as_ptr();
            let x = from.first.wrapping_add(point * from.step);
            let y = to.first.wrapping_add(point * to.step);
            let mut tile = 0;
            while tile < self.tiles.len() {
                let (x, y) = (
                    x.wrapping_add(tile * row(c)),
                    y.wrapping_add(tile * V * S::LANES),
                );
                // SAFETY: rows `tile` and on of this point, as many as are left at most; `w` has `c` rows of `V` vectors.
                unsafe {
                    tile += match self.tiles.len() - tile {
                        left if left >= P => multiply::<S, P, V>(s, x, c, w, y),
                        4.. => multiply::<S, 4, V>(s, x, c, w, y),
                        2.. => multiply::<S, 2, V>(s, x, c, w, y),
                        _ => multiply::<S, 1, V>(s, x, c, w, y),
                    };
                }
            }
        }
    }

    /// Transforms a panel's sums back and writes the pixels.
    #[inline(always)]
    fn output<S: Simd>(&self, s: S, channel: usize, vectors: usize, from: Points) {
        let tiling = self.product.tiling;
        for (i, tile) in self.tiles.clone().enumerate() {
            for v in 0..vectors {
                let at = channel + v * S::LANES;
                let mask = s.mask(tiling.out.c - at);
                // SAFETY: the mask ends with the channels of the bias and of the pixels, which this task alone writes;
                // there are whole vectors of sums.
                unsafe {
                    let bias = self
                        .finish
                        .bias
                        .map_or(s.splat(0.0), |bias| s.load(bias.as_ptr().add(at), mask));
                    let mut to = Written {
                        task: self,
                        tile: tiling.tile(tile),
                        at,
                        mask,
                        bias,
                    };
                    let from = Points {
                        first: from.first.add((i * vectors + v) * S::LANES),
                        ..from
                    };
                    both_axes(s, Output, &from, &mut to);
                }
            }
        }
    }
}

/// `y[p] = Σ_i x[p][i] · w[i]` for `P` rows; returns `P`.
///
/// # Safety
/// `P` rows of `c` values are readable, as many rows of `V` vectors writable, and `w` has `c` rows of `V` vectors.
#[inline(always)]
unsafe fn multiply<S: Simd, const P: usize, const V: usize>(
    s: S,
    x: *const f32,
    c: usize,
    w: *const f32,
    y: *mut f32,
) -> usize {
    let mut acc = [[s.splat(0.0); V]; P];
    let mut rows = [x; P];
    for (p, at) in rows.iter_mut().enumerate() {
        *at = x.wrapping_add(p * row(c));
    }
    // SAFETY: the caller vouches for both.
    unsafe {
        multiply_run(s, &rows, c, w, &mut acc);
        for (p, acc) in acc.iter().enumerate() {
            for (v, sum) in acc.iter().enumerate() {
                s.store(y.add((p * V + v) * S::LANES), s.mask(S::LANES), *sum);
            }
        }
    }
    P
}

/// A tile of the output, for the channels from `at`; pixels beyond the border are dropped.
struct Written<'a, S: Simd> {
    task: &'a Task<'a>,
    /// Image, row and column.
    tile: [usize; 3],
    at: usize,
    mask: S::Mask,
    bias: S::V,
}

impl<S: Simd> Store<S> for Written<'_, S> {
    /// # Safety
    /// No other task writes the tile's channels, and they end with the mask.
    #[inline(always)]
    unsafe fn store(&mut self, s: S, y: usize, x: usize, value: S::V) {
        let (out, [n, top, left]) = (self.task.product.tiling.out, self.tile);
        if top + y >= out.h || left + x >= out.w {
            return;
        }
        let at = ((n * out.h + top + y) * out.w + left + x) * out.c + self.at;
        let Finish {
            activation, acc, ..
        } = self.task.finish;
        // SAFETY: a pixel of the output, whose channels the caller vouches for.
        unsafe {
            let to = self.task.out.pointer().add(at);
            let mut value = s.add(value, self.bias);
            if acc == Accumulate::Add {
                value = s.add(value, s.load(to, self.mask));
            }
            s.store(to, self.mask, activate(s, activation, value));
        }
    }
}
