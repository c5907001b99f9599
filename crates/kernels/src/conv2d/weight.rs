//! Gradient of the weights: for each tap, the product of the shifted input's transpose with `dy`.

use super::pack::Panels;
use super::tile::outer_products;
use crate::parallel::{Shared, for_each, part};
use crate::simd::{Kernel, Simd, dispatch, lanes};
use crate::{Accumulate, Nhwc, Window};
use std::ops::Range;

/// Pixels summed in registers before a tile is added to memory: their gradients stay in the first-level cache.
const BAND: usize = 160;
/// Tasks wanted, so that a few cores get equal shares.
const TASKS: usize = 16;
/// Values that all partial sums together may have; beyond, tasks split the weights instead of the pixels.
const PARTIALS: usize = 1 << 18;

/// The plan of a weight gradient, made from shapes alone.
#[derive(Clone, Copy)]
pub(crate) struct WeightGradient {
    xs: Nhwc,
    ys: Nhwc,
    window: Window,
    panels: Panels,
    /// Partial sums over disjoint pixels.
    partials: usize,
    /// Parts of the input channels.
    blocks: usize,
    /// Whole rows (of `ys.w` pixels) that are summed in registers, or 1.
    rows: usize,
}

impl WeightGradient {
    pub(crate) fn new(xs: Nhwc, cout: usize, window: Window) -> Self {
        let ys = window.fitted(xs, cout);
        let pointwise =
            window.kernel == [1, 1] && window.stride == 1 && ys.with_channels(xs.c) == xs;
        // A 1×1 convolution knows no rows: cut the pixels as it suits.
        let flat = |shape: Nhwc| Nhwc {
            n: 1,
            h: 1,
            w: shape.pixels(),
            c: shape.c,
        };
        let (xs, ys) = if pointwise {
            (flat(xs), flat(ys))
        } else {
            (xs, ys)
        };
        let panels = Panels::new(cout);
        let rows = (BAND / ys.w).max(1);
        let bands = if pointwise {
            ys.w.div_ceil(BAND)
        } else {
            (ys.n * ys.h).div_ceil(rows)
        };
        let affordable = (PARTIALS / (window.taps() * xs.c * cout)).max(1);
        let partials = TASKS
            .div_ceil(panels.count)
            .min(affordable)
            .min(bands)
            .max(1);
        let blocks = TASKS
            .div_ceil(panels.count * partials)
            .min(xs.c.div_ceil(16))
            .max(1);
        Self {
            xs,
            ys,
            window,
            panels,
            partials,
            blocks,
            rows,
        }
    }

    fn weights(self) -> usize {
        self.window.taps() * self.xs.c * self.ys.c
    }

    pub(crate) fn scratch(self) -> usize {
        if self.partials == 1 {
            0
        } else {
            self.partials * self.weights()
        }
    }

    pub(crate) fn run(
        self,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        acc: Accumulate,
        scratch: &mut [f32],
    ) {
        let need = self.scratch();
        assert!(
            scratch.len() >= need,
            "scratch has {} values, the weight gradient needs {need}",
            scratch.len()
        );
        if self.partials == 1 {
            if acc == Accumulate::Replace {
                dw.fill(0.0);
            }
            return self.accumulate(x, dy, dw);
        }
        let scratch = &mut scratch[..need];
        scratch.fill(0.0);
        self.accumulate(x, dy, scratch);
        crate::elementwise::sum_parts(scratch, dw, acc);
    }

    /// Adds each partial sum to its part of `partials`.
    fn accumulate(self, x: &[f32], dy: &[f32], partials: &mut [f32]) {
        let out = Shared::new(partials);
        let tiles = self.panels.count * self.blocks;
        for_each(self.partials * tiles, |task| {
            let (partial, tile) = (task / tiles, task % tiles);
            dispatch(Task {
                plan: self,
                x,
                dy,
                out,
                partial,
                panel: tile / self.blocks,
                block: tile % self.blocks,
            });
        });
    }

    /// Input channels of a block: a multiple of 16 but for the last.
    fn block(self, index: usize) -> Range<usize> {
        let sixteens = part(self.xs.c.div_ceil(16), self.blocks, index);
        sixteens.start * 16..(sixteens.end * 16).min(self.xs.c)
    }
}

struct Task<'a> {
    plan: WeightGradient,
    x: &'a [f32],
    dy: &'a [f32],
    out: Shared<'a, f32>,
    partial: usize,
    panel: usize,
    block: usize,
}

/// A rectangle of output pixels: rows (over all images) and columns.
#[derive(Clone)]
struct Band {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let WeightGradient {
            ys, rows, partials, ..
        } = self.plan;
        // One of the two axes has a single band.
        let (row_bands, column_bands) = (
            (ys.n * ys.h).div_ceil(rows),
            if ys.n * ys.h == 1 {
                ys.w.div_ceil(BAND)
            } else {
                1
            },
        );
        for band in part(row_bands * column_bands, partials, self.partial) {
            let (row, column) = (band / column_bands, band % column_bands);
            self.band(
                s,
                &Band {
                    rows: row * rows..((row + 1) * rows).min(ys.n * ys.h),
                    columns: part(ys.w, column_bands, column),
                },
            );
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn band<S: Simd>(&self, s: S, band: &Band) {
        let channels = self.plan.block(self.block);
        let mut c = channels.start;
        let (_, vectors) = self.plan.panels.panel(self.panel);
        while c < channels.end {
            let left = channels.end - c;
            c += match (vectors, S::REGISTERS >= 32) {
                (1, true) => self.tiles::<S, 1>(s, band, c, left, 16),
                (1, false) => self.tiles::<S, 1>(s, band, c, left, 8),
                (2, true) => self.tiles::<S, 2>(s, band, c, left, 8),
                (2, false) => self.tiles::<S, 2>(s, band, c, left, 4),
                (_, true) => self.tiles::<S, 3>(s, band, c, left, 8),
                (_, false) => self.tiles::<S, 3>(s, band, c, left, 4),
            };
        }
    }

    /// The tile of the next channels, at most `most` of the `left`; returns their number.
    #[inline(always)]
    fn tiles<S: Simd, const V: usize>(
        &self,
        s: S,
        band: &Band,
        c: usize,
        left: usize,
        most: usize,
    ) -> usize {
        match left.min(most) {
            16 => self.tile::<S, 16, V>(s, band, c),
            8.. => self.tile::<S, 8, V>(s, band, c),
            4.. => self.tile::<S, 4, V>(s, band, c),
            2.. => self.tile::<S, 2, V>(s, band, c),
            _ => self.tile::<S, 1, V>(s, band, c),
        }
    }

    /// All taps of `R` input channels and the panel's output channels.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&self, s: S, band: &Band, c: usize) -> usize {
        let Window { kernel, .. } = self.plan.window;
        for tap in 0..kernel[0] * kernel[1] {
            let mut acc = [[s.splat(0.0); V]; R];
            self.sum_tap(s, band, [tap / kernel[1], tap % kernel[1]], c, &mut acc);
            self.add_tile(s, tap, c, &acc);
        }
        R
    }

    #[inline(always)]
    fn sum_tap<S: Simd, const R: usize, const V: usize>(
        &self,
        s: S,
        band: &Band,
        tap: [usize; 2],
        c: usize,
        acc: &mut [[S::V; V]; R],
    ) {
        let WeightGradient {
            xs,
            ys,
            window,
            panels,
            ..
        } = self.plan;
        let (channel, _) = panels.panel(self.panel);
        let mask = s.mask(ys.c - channel - (V - 1) * lanes());
        let columns = inside(
            &band.columns,
            tap[1],
            window.pad_before(1, xs.w),
            window.stride,
            xs.w,
        );
        if columns.is_empty() {
            return;
        }
        let ix = columns.start * window.stride + tap[1] - window.pad_before(1, xs.w);
        for row in band.rows.clone() {
            let (n, oy) = (row / ys.h, row % ys.h);
            let iy = (oy * window.stride + tap[0]).wrapping_sub(window.pad_before(0, xs.h));
            if iy >= xs.h {
                continue;
            }
            let x = ((n * xs.h + iy) * xs.w + ix) * xs.c + c;
            let dy = (row * ys.w + columns.start) * ys.c + channel;
            // SAFETY: `inside` and the test above keep every pixel within `x`, whose channels `c..c + R` exist;
            // the mask ends with `dy`'s channels.
            unsafe {
                let (x, dy) = (self.x.as_ptr().add(x), self.dy.as_ptr().add(dy));
                outer_products(
                    s,
                    x,
                    window.stride * xs.c,
                    dy,
                    ys.c,
                    columns.len(),
                    mask,
                    acc,
                );
            }
        }
    }

    #[inline(always)]
    fn add_tile<S: Simd, const R: usize, const V: usize>(
        &self,
        s: S,
        tap: usize,
        c: usize,
        acc: &[[S::V; V]; R],
    ) {
        let (xs, ys, panels) = (self.plan.xs, self.plan.ys, self.plan.panels);
        let (channel, _) = panels.panel(self.panel);
        for r in 0..R {
            let row = self.partial * self.plan.weights() + (tap * xs.c + c + r) * ys.c;
            for v in 0..V {
                let at = channel + v * S::LANES;
                // SAFETY: within row `c + r` of this tap, in the part of the weights that is this task's alone.
                unsafe {
                    let to = self.out.pointer().add(row + at);
                    let mask = s.mask(ys.c - at);
                    s.store(to, mask, s.add(s.load(to, mask), acc[r][v]));
                }
            }
        }
    }
}

/// The positions of `columns` at which tap `k` lies inside an axis of `len` pixels.
#[inline(always)]
fn inside(columns: &Range<usize>, k: usize, pad: usize, stride: usize, len: usize) -> Range<usize> {
    let first = pad.saturating_sub(k).div_ceil(stride);
    let end = if len + pad > k {
        (len + pad - k).div_ceil(stride)
    } else {
        0
    };
    columns.start.max(first)..columns.end.min(end).max(columns.start.max(first))
}
