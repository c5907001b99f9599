//! Gradient of the weights: for each tap, the product of the shifted input's transpose with `dy`.

use super::pack::Panels;
use super::tile::{outer_products, tallest};
use crate::parallel::{Shared, for_each_with, part, workers};
use crate::simd::{Factors, Kernel, Simd, for_vectors, lanes};
use crate::{Accumulate, Nhwc, Window, size};
use std::marker::PhantomData;
use std::ops::Range;

/// Pixels summed in registers before a tile is added to memory: their gradients stay in the L1 cache.
const BAND: usize = 160;
/// Input channels whose words a task holds at a time: with the panel's, they stay in the L1 cache.
const CHANNELS: usize = 48;
/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 16;
/// Maximum number of values in all partial sums together; beyond it, tasks split the weights instead of the pixels.
const PARTIALS: usize = 1 << 18;

/// The plan of a weight gradient, which depends on shapes alone.
#[derive(Clone, Copy)]
pub(crate) struct WeightGradient<F> {
    factors: PhantomData<F>,
    xs: Nhwc,
    ys: Nhwc,
    window: Window,
    panels: Panels,
    /// Number of partial sums, over disjoint pixels.
    partials: usize,
    /// Number of blocks of input channels.
    blocks: usize,
    /// Whole rows (of `ys.w` pixels) that are summed in registers, or 1.
    rows: usize,
}

impl<F: Factors> WeightGradient<F> {
    /// Narrow factors are for pointwise convolutions only.
    pub(crate) fn new(_: F, xs: Nhwc, cout: usize, window: Window) -> Self {
        let ys = window.fitted(xs, cout);
        let pointwise =
            window.kernel == [1, 1] && window.stride == 1 && ys.with_channels(xs.c) == xs;
        assert!(F::IN_PLACE || pointwise, "narrow factors for a window");
        // A 1×1 convolution does not depend on rows, so its pixels can be split anywhere.
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
        let affordable = (PARTIALS / size([window.taps(), xs.c, cout])).max(1);
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
            factors: PhantomData,
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

    fn partials_len(self) -> usize {
        if self.partials == 1 {
            0
        } else {
            size([self.partials, self.weights()])
        }
    }

    /// Words for a task's pixels, where these are converted rather than read in place.
    fn narrowed(self) -> usize {
        if F::IN_PLACE {
            0
        } else {
            BAND / F::EACH * (CHANNELS + self.panels.width())
        }
    }

    pub(crate) fn scratch(self) -> usize {
        self.partials_len().next_multiple_of(16) + size([workers(), self.narrowed()])
    }

    pub(crate) fn run(
        self,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        acc: Accumulate,
        scratch: &mut [f32],
    ) {
        assert!(
            x.len() == self.xs.len() && dy.len() == self.ys.len() && dw.len() == self.weights(),
            "{} values for {:?}, {} for {:?} or {} weights",
            x.len(),
            self.xs,
            dy.len(),
            self.ys,
            dw.len()
        );
        let need = self.scratch();
        assert!(
            scratch.len() >= need,
            "scratch has {} values, the weight gradient needs {need}",
            scratch.len()
        );
        let (sums, scratch) = scratch.split_at_mut(self.partials_len().next_multiple_of(16));
        if self.partials == 1 {
            if acc == Accumulate::Replace {
                dw.fill(0.0);
            }
            return self.accumulate(x, dy, dw, scratch);
        }
        let sums = &mut sums[..self.partials_len()];
        sums.fill(0.0);
        self.accumulate(x, dy, sums, scratch);
        crate::elementwise::sum_parts(sums, dw, acc);
    }

    /// Adds each partial sum to its part of `partials`.
    fn accumulate(self, x: &[f32], dy: &[f32], partials: &mut [f32], scratch: &mut [f32]) {
        let out = Shared::new(partials);
        let tiles = self.panels.count * self.blocks;
        for_each_with(
            self.partials * tiles,
            scratch,
            self.narrowed(),
            |task, scratch| {
                let (partial, tile) = (task / tiles, task % tiles);
                F::dispatch(Task {
                    plan: self,
                    x,
                    dy,
                    out,
                    partial,
                    panel: tile / self.blocks,
                    block: tile % self.blocks,
                    narrowed: scratch,
                });
            },
        );
    }

    /// Input channels of a block: a multiple of 16 except for the last.
    fn block(self, index: usize) -> Range<usize> {
        let sixteens = part(self.xs.c.div_ceil(16), self.blocks, index);
        sixteens.start * 16..(sixteens.end * 16).min(self.xs.c)
    }
}

struct Task<'a, F> {
    plan: WeightGradient<F>,
    x: &'a [f32],
    dy: &'a [f32],
    out: Shared<'a, f32>,
    partial: usize,
    panel: usize,
    block: usize,
    /// Scratch for the words of a band: of the panel's gradients, then of some input channels.
    narrowed: &'a mut [f32],
}

/// A rectangle of output pixels: rows (over all images) and columns.
#[derive(Clone)]
struct Band {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<F: Factors> Kernel for Task<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
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
            let band = Band {
                rows: row * rows..((row + 1) * rows).min(ys.n * ys.h),
                columns: part(ys.w, column_bands, column),
            };
            if F::IN_PLACE {
                self.band(s, &band);
            } else {
                self.narrow_band(s, &band.columns);
            }
        }
    }
}

impl<F: Factors> Task<'_, F> {
    #[inline(always)]
    fn band<S: Simd>(&self, s: S, band: &Band) {
        let channels = self.plan.block(self.block);
        let mut c = channels.start;
        let (_, vectors) = self.plan.panels.panel(self.panel);
        while c < channels.end {
            let left = channels.end - c;
            c += match vectors {
                1 => self.tiles::<S, 1>(s, band, c, left),
                2 => self.tiles::<S, 2>(s, band, c, left),
                _ => self.tiles::<S, 3>(s, band, c, left),
            };
        }
    }

    /// Sums a tile of the next channels, of which `left` are left; returns their number.
    #[inline(always)]
    fn tiles<S: Simd, const V: usize>(&self, s: S, band: &Band, c: usize, left: usize) -> usize {
        // Tiles that are too tall are not compiled.
        let tallest = tallest::<S, V>(s);
        match left {
            16.. if tallest >= 16 => self.tile::<S, 16, V>(s, band, c),
            8.. if tallest >= 8 => self.tile::<S, 8, V>(s, band, c),
            6.. if tallest == 6 => self.tile::<S, 6, V>(s, band, c),
            4.. => self.tile::<S, 4, V>(s, band, c),
            2.. => self.tile::<S, 2, V>(s, band, c),
            _ => self.tile::<S, 1, V>(s, band, c),
        }
    }

    /// Sums a pointwise convolution's pixels as words.
    #[inline(always)]
    fn narrow_band<S: Simd>(&mut self, s: S, pixels: &Range<usize>) {
        let WeightGradient { xs, ys, panels, .. } = self.plan;
        let (outputs, width) = (panels.channels(self.panel), panels.width());
        let (dy, x) = self.narrowed.split_at_mut(BAND / F::EACH * width);
        let (dy, x) = (dy.as_mut_ptr(), x.as_mut_ptr());
        // SAFETY: a band has room for the words of its pixels, in rows of whole vectors.
        unsafe {
            word_rows::<S, F>(
                s,
                &self.dy[..ys.len()],
                ys.c,
                pixels,
                outputs.clone(),
                dy,
                width,
            )
        };
        let channels = self.plan.block(self.block);
        for first in channels.clone().step_by(CHANNELS) {
            let run = first..channels.end.min(first + CHANNELS);
            // SAFETY: as above.
            unsafe {
                word_rows::<S, F>(
                    s,
                    &self.x[..xs.len()],
                    xs.c,
                    pixels,
                    run.clone(),
                    x,
                    CHANNELS,
                )
            };
            let words = pixels.len().div_ceil(F::EACH);
            let mut c = 0;
            while c < run.len() {
                c += self.narrow_tiles(s, run.start, c, run.len() - c, words, x, dy);
            }
        }
    }

    #[inline(always)]
    fn narrow_tiles<S: Simd>(
        &self,
        s: S,
        first: usize,
        c: usize,
        left: usize,
        words: usize,
        x: *const f32,
        dy: *const f32,
    ) -> usize {
        let (_, vectors) = self.plan.panels.panel(self.panel);
        match vectors {
            1 => self.narrow_tiles_of::<S, 1>(s, first, c, left, words, x, dy),
            2 => self.narrow_tiles_of::<S, 2>(s, first, c, left, words, x, dy),
            _ => self.narrow_tiles_of::<S, 3>(s, first, c, left, words, x, dy),
        }
    }

    /// Sums a tile of the next channels, of which `left` are left; returns their number.
    #[inline(always)]
    fn narrow_tiles_of<S: Simd, const V: usize>(
        &self,
        s: S,
        first: usize,
        c: usize,
        left: usize,
        words: usize,
        x: *const f32,
        dy: *const f32,
    ) -> usize {
        let tallest = tallest::<S, V>(s);
        match left {
            16.. if tallest == 16 => self.narrow_tile::<S, 16, V>(s, first, c, words, x, dy),
            8.. if tallest == 8 => self.narrow_tile::<S, 8, V>(s, first, c, words, x, dy),
            6.. if tallest == 6 => self.narrow_tile::<S, 6, V>(s, first, c, words, x, dy),
            4.. => self.narrow_tile::<S, 4, V>(s, first, c, words, x, dy),
            _ => self.narrow_tile::<S, 1, V>(s, first, c, words, x, dy),
        }
    }

    #[inline(always)]
    fn narrow_tile<S: Simd, const R: usize, const V: usize>(
        &self,
        s: S,
        first: usize,
        c: usize,
        words: usize,
        x: *const f32,
        dy: *const f32,
    ) -> usize {
        let mut acc = [[s.splat(0.0); V]; R];
        let (x, width, mask) = (
            x.wrapping_add(c),
            self.plan.panels.width(),
            s.mask(S::LANES),
        );
        // SAFETY: `words` rows of `CHANNELS` inputs and of the panel's gradients were written.
        unsafe { outer_products::<S, F, R, V>(s, x, CHANNELS, dy, width, words, mask, &mut acc) };
        self.add_tile(s, 0, first + c, &acc);
        R
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
                outer_products::<S, F, R, V>(
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
                // SAFETY: within row `c + r` of this tap, in the part of the weights that no other task writes.
                unsafe {
                    let to = self.out.pointer().add(row + at);
                    let mask = s.mask(ys.c - at);
                    s.store(to, mask, s.add(s.load(to, mask), acc[r][v]));
                }
            }
        }
    }
}

/// The positions of `columns` at which tap `k` is inside an axis of `len` pixels.
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

/// Writes some channels of `pixels` as words, `step` per row, of one pixel or of two neighbours; an odd last pixel is
/// paired with zero.
///
/// # Safety
/// `to` has room for as many rows of whole vectors.
#[inline(always)]
unsafe fn word_rows<S: Simd, F: Factors>(
    s: S,
    values: &[f32],
    c: usize,
    pixels: &Range<usize>,
    channels: Range<usize>,
    to: *mut f32,
    step: usize,
) {
    let values = &values[pixels.start * c..pixels.end * c];
    for (row, pixels) in values.chunks(F::EACH * c).enumerate() {
        for_vectors!(s, channels.len(), |at, mask| {
            let from = pixels.as_ptr().wrapping_add(channels.start + at);
            // SAFETY: the mask ends with the channels of a pixel, of which there are one or two; the caller guarantees
            // `to`.
            unsafe {
                let high = if pixels.len() > c {
                    s.load(from.add(c), mask)
                } else {
                    s.splat(0.0)
                };
                let words = F::words(s, s.load(from, mask), high);
                s.store(to.add(row * step + at), s.mask(S::LANES), words);
            }
        });
    }
}
