//! Convolutions to a few channels, such as those of a class map.
//!
//! The other paths hold output channels in the lanes of a vector; here most lanes would be empty. This one holds the input
//! channels of a pixel, and adds up the lanes at the end.

use crate::parallel::{Shared, for_each, part};
use crate::simd::{Element, Kernel, Simd, activate_all, for_vectors, lanes};
use crate::{Epilogue, Nhwc, Window, size};
use std::ops::Range;

/// Maximum number of output channels.
pub(crate) const MOST: usize = 4;
/// Pixels of a tile: its sums are in registers.
const PIXELS: usize = 4;
/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 32;

/// Whether this path is faster than the others: not for a single tap, whose few products take less than adding up lanes,
/// nor where most lanes would be empty here too. Whether the input is in parts, which have to be joined first, plays no
/// part: results must not depend on it.
pub(crate) fn suits(xs: Nhwc, cout: usize, window: Window) -> bool {
    const MIN: usize = 8;
    cout <= MOST && xs.c >= MIN && window.kernel != [1, 1]
}

#[derive(Clone, Copy)]
pub(super) struct Few {
    source: Nhwc,
    out: Nhwc,
    window: Window,
    /// Padding before the first row and column.
    pad: [usize; 2],
}

impl Few {
    pub(super) fn new(source: Nhwc, cout: usize, window: Window) -> Self {
        Self {
            source,
            out: window.fitted(source, cout),
            window,
            pad: [(0, source.h), (1, source.w)].map(|(axis, len)| window.pad_before(axis, len)),
        }
    }

    /// Length of the packed weights.
    pub(super) fn packed_len(self) -> usize {
        size([
            self.window.taps(),
            self.source.c.next_multiple_of(16),
            self.out.c,
        ])
    }

    /// Packs `w`: for each tap and vector of input channels a vector for each output channel, zero-padded.
    pub(super) fn pack(self, w: &[f32], packed: &mut [f32]) {
        let (cin, cout) = (self.source.c, self.out.c);
        let mut vectors = packed[..self.packed_len()].chunks_exact_mut(lanes());
        for tap in w.chunks_exact(cin * cout) {
            for inputs in tap.chunks(lanes() * cout) {
                for (output, vector) in vectors.by_ref().take(cout).enumerate() {
                    vector.fill(0.0);
                    let weights = inputs[output..].iter().step_by(cout);
                    vector.iter_mut().zip(weights).for_each(|(v, w)| *v = *w);
                }
            }
        }
    }

    /// `y = act(conv(x, w) + bias)`.
    pub(super) fn run<X: Element>(
        self,
        x: &[X],
        packed: &[f32],
        epilogue: Epilogue<'_>,
        y: &mut [f32],
    ) {
        assert!(
            x.len() == self.source.len() && y.len() == self.out.len(),
            "{} values for {:?} or {} for {:?}",
            x.len(),
            self.source,
            y.len(),
            self.out
        );
        assert!(
            packed.len() >= self.packed_len(),
            "too few packed weights for {:?} to {} channels",
            self.source,
            self.out.c
        );
        let mut bias = [0.0; PIXELS * MOST];
        if let Some(of_channels) = epilogue.bias {
            assert_eq!(of_channels.len(), self.out.c, "bias: one per channel");
            let repeated = of_channels.iter().cycle();
            bias.iter_mut().zip(repeated).for_each(|(b, of)| *b = *of);
        }
        let (rows, y) = (self.out.n * self.out.h, Shared::new(y));
        let tasks = rows.min(TASKS);
        for_each(tasks, |index| {
            crate::simd::dispatch(Task {
                few: self,
                x,
                packed,
                bias: &bias,
                epilogue,
                y,
                rows: part(rows, tasks, index),
            });
        });
    }
}

/// Some rows of the output.
struct Task<'a, X> {
    few: Few,
    x: &'a [X],
    packed: &'a [f32],
    /// Of the pixels of a tile, one after another.
    bias: &'a [f32; PIXELS * MOST],
    epilogue: Epilogue<'a>,
    y: Shared<'a, f32>,
    rows: Range<usize>,
}

/// The part of a window that is inside the source.
struct Taps {
    /// Source pixel under the window's first tap, which may be outside and then wraps.
    corner: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<X: Element> Kernel for Task<'_, X> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.few.out.c {
            1 => self.all_rows::<S, 1>(s),
            2 => self.all_rows::<S, 2>(s),
            3 => self.all_rows::<S, 3>(s),
            MOST => self.all_rows::<S, MOST>(s),
            channels => unreachable!("{channels} channels are not few"),
        }
    }
}

impl<X: Element> Task<'_, X> {
    #[inline(always)]
    fn all_rows<S: Simd, const O: usize>(&self, s: S) {
        for row in self.rows.clone() {
            self.row::<S, O>(s, row);
        }
    }

    /// A row of the output: tiles of several pixels where the windows are inside, single pixels at the borders.
    #[inline(always)]
    fn row<S: Simd, const O: usize>(&self, s: S, row: usize) {
        let Few {
            source,
            out,
            window,
            ..
        } = self.few;
        let (image, y) = (row / out.h, row % out.h);
        let (top, rows) = self.taps(0, y, source.h);
        let corner = |left: usize| {
            let row = (image * source.h).wrapping_add(top);
            row.wrapping_mul(source.w).wrapping_add(left)
        };
        let mut x = 0;
        while x < out.w {
            let (left, columns) = self.taps(1, x, source.w);
            // A tile is inside if its first and last windows are.
            let last = x + PIXELS - 1;
            let inside = columns.len() == window.kernel[1]
                && last < out.w
                && self.taps(1, last, source.w).1.len() == window.kernel[1];
            let taps = Taps {
                corner: corner(left),
                rows: rows.clone(),
                columns,
            };
            let to = row * out.w + x;
            match inside {
                true => {
                    let sums = self.tile::<S, PIXELS, O>(s, &taps);
                    self.finish(s, to, &sums);
                    x += PIXELS;
                }
                false => {
                    let sums = self.tile::<S, 1, O>(s, &taps);
                    self.finish(s, to, &sums);
                    x += 1;
                }
            }
        }
    }

    /// Where a window begins along an axis, which wraps where that is outside, and which of its taps are inside.
    #[inline(always)]
    fn taps(&self, axis: usize, at: usize, len: usize) -> (usize, Range<usize>) {
        let Few { window, pad, .. } = self.few;
        let (before, kernel, at) = (pad[axis], window.kernel[axis], at * window.stride);
        let first = before.saturating_sub(at).min(kernel);
        let end = (len + before).saturating_sub(at).clamp(first, kernel);
        (at.wrapping_sub(before), first..end)
    }

    /// The sums of neighbouring pixels of a row, whose windows have the same taps inside.
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const O: usize>(&self, s: S, taps: &Taps) -> [[f32; O]; P] {
        let Few { source, window, .. } = self.few;
        let (channels, step) = (
            source.c.next_multiple_of(S::LANES),
            window.stride * source.c,
        );
        let mut sums = [[s.splat(0.0); O]; P];
        for row in taps.rows.clone() {
            for column in taps.columns.clone() {
                let pixel = taps.corner.wrapping_add(row * source.w + column);
                let x = self.x.as_ptr().wrapping_add(pixel * source.c);
                let tap = row * window.kernel[1] + column;
                let w = self.packed[tap * channels * O..][..channels * O].as_ptr();
                for_vectors!(s, source.c, |at, mask| {
                    let mut weights = [s.splat(0.0); O];
                    for (o, weight) in weights.iter_mut().enumerate() {
                        // SAFETY: there are `O` vectors of weights for each vector of channels.
                        *weight = unsafe { s.load_all(w.add(at * O + o * S::LANES)) };
                    }
                    for p in 0..P {
                        // SAFETY: the tap is inside for all pixels of the tile, and the mask ends with the pixel.
                        let value = unsafe { X::load(s, x.add(p * step + at), mask) };
                        for o in 0..O {
                            sums[p][o] = s.mul_add(value, weights[o], sums[p][o]);
                        }
                    }
                });
            }
        }
        // Loops, not `map`, whose closures would be compiled without the instruction set.
        let mut added = [[0.0; O]; P];
        for p in 0..P {
            for o in 0..O {
                added[p][o] = s.sum(sums[p][o]);
            }
        }
        added
    }

    #[inline(always)]
    fn finish<S: Simd, const P: usize, const O: usize>(
        &self,
        s: S,
        pixel: usize,
        sums: &[[f32; O]; P],
    ) {
        let (sums, to) = (sums.as_flattened(), self.y.pointer());
        for_vectors!(s, P * O, |at, mask| {
            // SAFETY: the mask ends with the sums, of which there are at most as many as biases; the pixels follow one
            // another in the output, and no other task writes them.
            unsafe {
                let bias = s.load(self.bias.as_ptr().add(at), mask);
                let mut value = [s.add(s.load(sums.as_ptr().add(at), mask), bias)];
                activate_all(s, self.epilogue.activation, &mut value);
                s.store(to.add(pixel * O + at), mask, value[0]);
            }
        });
    }
}
