//! Tiles of pixels × one vector of channels in registers.
//!
//! A row of the kernel is a run of taps that read neighbouring pixels: its weights are loaded once per tile, and each
//! pixel of the source once for all the sums that it belongs to. Eight pixels, five weights and a factor fit in sixteen
//! registers.

#![allow(
    clippy::needless_range_loop,
    reason = "tiles are arrays that share their indices"
)]

use super::axis::Axis;
use super::{MAX_TAPS, Plan, for_columns};
use crate::Accumulate;
use crate::parallel::Shared;
use crate::simd::{Element, Kernel, Simd, activate_all, prefetch};
use std::ops::Range;

/// Pixels of a tile.
const PIXELS: usize = 8;
/// Bytes of a line of the caches.
const LINE: usize = 64;

/// Taps that read neighbouring pixels of a row of the source.
#[derive(Clone, Copy)]
struct Run {
    /// First value of the row.
    row: usize,
    /// Column that the first tap of a class's first pixel reads; may be negative.
    column: isize,
    /// The first tap's weights.
    weight: usize,
}

/// The runs of a row's pixels, as far as they are inside.
struct Runs {
    list: [Run; MAX_TAPS],
    len: usize,
    /// Distance of the weights of neighbouring taps.
    weight_step: isize,
    /// Distance of neighbouring pixels of a tile that has one tap per run, in columns of the source; otherwise 1.
    distance: usize,
    /// First value of the row of the source below those that are read.
    below: usize,
}

impl Runs {
    fn as_slice(&self) -> &[Run] {
        &self.list[..self.len]
    }

    fn push(&mut self, run: Run) {
        self.list[self.len] = run;
        self.len += 1;
    }
}

/// Some rows (over all images) and channels of the output.
pub(super) struct Task<'a, T> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) source: &'a [T],
    pub(super) w: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) channels: Range<usize>,
    /// The task writes its rows' channels alone.
    pub(super) out: Shared<'a, T>,
}

impl<E: Element> Kernel for Task<'_, E> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let columns = self.plan.axes[1];
        for row in self.rows.clone() {
            for class in 0..columns.classes() {
                match (columns.ascending(class).2, columns.step()) {
                    (2, 1) => self.row::<S, 2, 1>(s, row, class),
                    (3, 1) => self.row::<S, 3, 1>(s, row, class),
                    (5, 1) => self.row::<S, 5, 1>(s, row, class),
                    (3, 2) => self.row::<S, 3, 2>(s, row, class),
                    (5, 2) => self.row::<S, 5, 2>(s, row, class),
                    _ => self.row::<S, 1, 1>(s, row, class),
                }
            }
        }
    }
}

/// Source columns of a tile whose pixels are `STEP` columns apart.
const fn span(taps: usize, step: usize) -> usize {
    (PIXELS - 1) * step + taps
}

impl<E: Element> Task<'_, E> {
    /// The runs of a class's pixels in `row`: rows of the kernel, or single taps.
    fn runs(&self, row: usize, class: usize, taps: usize) -> Runs {
        let ([rows, columns], c) = (self.plan.axes, self.plan.c);
        let (first, tap_step, _) = columns.ascending(class);
        let mut runs = Runs {
            list: [Run {
                row: 0,
                column: 0,
                weight: 0,
            }; MAX_TAPS],
            len: 0,
            weight_step: tap_step * c as isize,
            distance: if taps == 1 { columns.step() } else { 1 },
            below: 0,
        };
        let image = row / rows.written * rows.read;
        for ky in 0..rows.kernel {
            let Some(y) = rows.source(row % rows.written, ky) else {
                continue;
            };
            runs.below = runs.below.max((image + y + 1) * columns.read * c);
            let mut push = |kx| {
                if let Some(column) = columns.start(class, kx) {
                    let (row, weight) = (
                        (image + y) * columns.read * c,
                        (ky * columns.kernel + kx) * c,
                    );
                    runs.push(Run {
                        row,
                        column,
                        weight,
                    });
                }
            };
            if taps > 1 {
                push(first)
            } else {
                (0..columns.kernel).for_each(push)
            }
        }
        runs
    }

    /// The pixels of a class in `row`, whose runs have `T` taps.
    #[inline(always)]
    fn row<S: Simd, const T: usize, const STEP: usize>(&self, s: S, row: usize, class: usize) {
        let (columns, runs) = (self.plan.axes[1], self.runs(row, class, T));
        let count = columns.count(class);
        for first in (0..count).step_by(PIXELS) {
            let place = Place {
                shift: (first * columns.step()) as isize,
                count: PIXELS.min(count - first),
                to: (row * columns.written + class + first * columns.classes()) * self.plan.c,
                to_step: columns.classes() * self.plan.c,
            };
            self.channels::<S, T, STEP>(s, &runs, place);
        }
    }

    #[inline(always)]
    fn channels<S: Simd, const T: usize, const STEP: usize>(
        &self,
        s: S,
        runs: &Runs,
        place: Place,
    ) {
        let (mut at, end, full) = (self.channels.start, self.channels.end, s.mask(S::LANES));
        let inside = place.count == PIXELS && place.inside(runs, self.plan.axes[1], span(T, STEP));
        // SAFETY: `inside` is as computed; vectors are whole, but for one whose mask ends with the channels.
        unsafe {
            while at + S::LANES <= end {
                if inside {
                    self.tile::<S, T, STEP, true, true>(s, runs, place, at, full);
                } else {
                    self.tile::<S, T, STEP, false, true>(s, runs, place, at, full);
                }
                at += S::LANES;
            }
            if at < end {
                self.tile::<S, T, STEP, false, false>(s, runs, place, at, s.mask(end - at));
            }
        }
    }

    /// The tile's pixels for the vector of channels at `at`. `INSIDE` if all columns that a whole
    /// tile reads are, `FULL` if all lanes are used.
    ///
    /// # Safety
    /// Both are so if set; `mask` ends with the channels.
    #[inline(always)]
    unsafe fn tile<
        S: Simd,
        const T: usize,
        const STEP: usize,
        const INSIDE: bool,
        const FULL: bool,
    >(
        &self,
        s: S,
        runs: &Runs,
        place: Place,
        at: usize,
        mask: S::Mask,
    ) {
        let (c, read) = (self.plan.c, self.plan.axes[1].read);
        // Narrow images are short enough for the caches, and a loss with it.
        if at.is_multiple_of(LINE / size_of::<E>()) && self.plan.axes[1].written > 2 * PIXELS {
            self.prefetch(runs, place, at);
        }
        let mut acc = [s.splat(0.0); PIXELS];
        for run in runs.as_slice() {
            let column = run.column + place.shift;
            let weight = self.w.as_ptr().wrapping_add(run.weight + at);
            let mut weights = [s.splat(0.0); T];
            for t in 0..T {
                let weight = weight.wrapping_offset(t as isize * runs.weight_step);
                // SAFETY: as for the pixels.
                weights[t] = unsafe { load::<S, f32, FULL>(s, weight, mask) };
            }
            let mut x = self
                .source
                .as_ptr()
                .wrapping_add(run.row + at)
                .wrapping_offset(column * c as isize);
            let step = runs.distance * c;
            for_columns!(|i| {
                // A negative position wraps to a huge unsigned one.
                let inside =
                    INSIDE || (column.wrapping_add_unsigned(i * runs.distance) as usize) < read;
                if i < span(T, STEP) && inside {
                    // SAFETY: the pixel is inside, and the caller guarantees its channels.
                    let value = unsafe { load::<S, E, FULL>(s, x, mask) };
                    for t in 0..T {
                        if i >= t && (i - t).is_multiple_of(STEP) && (i - t) / STEP < PIXELS {
                            let p = (i - t) / STEP;
                            acc[p] = s.mul_add(value, weights[t], acc[p]);
                        }
                    }
                }
                x = x.wrapping_add(step);
            });
        }
        // SAFETY: the caller guarantees the channels.
        unsafe { self.finish(s, acc, place, at, mask) };
    }

    /// Fetches what the tile below will read for the first time and write. A tile reads its pixels side by side, a few
    /// channels of each, which no hardware recognises as a row that continues.
    #[inline(always)]
    fn prefetch(&self, runs: &Runs, place: Place, at: usize) {
        let ([rows, columns], c) = (self.plan.axes, self.plan.c);
        let x = self
            .source
            .as_ptr()
            .wrapping_add(runs.below + at)
            .wrapping_offset(place.shift * c as isize);
        for row in 0..rows.step() {
            for i in 0..PIXELS * columns.step() {
                prefetch(x.wrapping_add((row * columns.read + i) * c).cast());
            }
        }
        let to = self
            .out
            .pointer()
            .wrapping_add(place.to + columns.written * c + at);
        for p in 0..PIXELS {
            prefetch(to.wrapping_add(p * place.to_step).cast());
        }
    }

    /// # Safety
    /// `mask` ends with the channels.
    #[inline(always)]
    unsafe fn finish<S: Simd>(
        &self,
        s: S,
        mut sums: [S::V; PIXELS],
        place: Place,
        at: usize,
        mask: S::Mask,
    ) {
        let to = self.out.pointer().wrapping_add(place.to + at);
        if let Some(bias) = self.plan.bias {
            // SAFETY: the bias has one value per channel.
            let bias = unsafe { s.load(bias.as_ptr().add(at), mask) };
            for sum in &mut sums {
                *sum = s.add(*sum, bias);
            }
        }
        if self.plan.acc == Accumulate::Add {
            for p in 0..PIXELS {
                if p < place.count {
                    // SAFETY: channels of a pixel that only this task accesses.
                    sums[p] =
                        unsafe { s.add(sums[p], E::load(s, to.add(p * place.to_step), mask)) };
                }
            }
        }
        activate_all(s, self.plan.activation, &mut sums);
        for p in 0..PIXELS {
            if p < place.count {
                // SAFETY: as above.
                unsafe { E::store(s, to.add(p * place.to_step), mask, sums[p]) };
            }
        }
    }
}

/// A vector, of which all lanes are readable if `FULL`, else those of `mask`.
///
/// # Safety
/// They are.
#[inline(always)]
unsafe fn load<S: Simd, T: Element, const FULL: bool>(s: S, from: *const T, mask: S::Mask) -> S::V {
    // SAFETY: the caller guarantees it.
    unsafe {
        if FULL {
            T::load_all(s, from)
        } else {
            T::load(s, from, mask)
        }
    }
}

/// Where a tile is.
#[derive(Clone, Copy)]
struct Place {
    /// Columns of the source between what the class's first pixel reads and what the tile's reads.
    shift: isize,
    /// Number of pixels.
    count: usize,
    /// Offset of the first pixel that is written, and distance of the others.
    to: usize,
    to_step: usize,
}

impl Place {
    /// Whether all columns that a whole tile reads, `span` of them, are inside.
    fn inside(self, runs: &Runs, columns: Axis, span: usize) -> bool {
        let last = ((span - 1) * runs.distance) as isize;
        runs.as_slice().iter().all(|run| {
            let first = run.column + self.shift;
            first >= 0 && first + last < columns.read as isize
        })
    }
}
