//! From a source to an output: the forward pass, and the gradient of the input.
//!
//! The products of a row of points, for a few tiles and a vector of output channels, fill the registers; the row is
//! transformed back before it leaves them.

use super::tiling::Tiling;
use super::transform::{Axis, Grid, IN, Input, OUT, Output, POINTS};
use super::weights::{self, Direction};
use crate::conv2d::gather::Finish;
use crate::conv2d::pack::aligned;
use crate::parallel::{Shared, for_each_with, part, workers};
use crate::simd::{Kernel, Simd, activate, dispatch, lanes};
use crate::{Accumulate, Nhwc, Window};
use std::ops::Range;

/// Tasks wanted, so that a few cores get equal shares.
const TASKS: usize = 8;
/// Fewest tiles of a task, for the weights are read anew for each.
const LEAST: usize = 8;
/// Most tiles of a task.
const MOST: usize = 96;
/// Tiles in registers, where there are enough of those; everything is counted in multiples of it.
const TILES: usize = 4;

/// A convolution, planned from shapes alone.
#[derive(Clone, Copy)]
pub(in crate::conv2d) struct Product {
    tiling: Tiling,
    direction: Direction,
    /// Runs of tiles, and groups of output vectors; a task is a pair of them.
    bands: usize,
    groups: usize,
    /// Tiles whose points a task holds at a time.
    chunk: usize,
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
        let (tiles, vectors) = (tiling.count(), tiling.out.c.div_ceil(lanes()));
        let band = tiles.div_ceil(TASKS).clamp(LEAST, MOST);
        let bands = tiles.div_ceil(band);
        let groups = TASKS.div_ceil(bands).min(vectors);
        let chunk = chunk(tiling.source.c, tiling.out.c);
        Self {
            tiling,
            direction,
            bands,
            groups,
            chunk,
        }
    }

    pub(in crate::conv2d) fn scratch(self) -> usize {
        16 + self.zeros() + self.weights() + workers() * self.task_scratch()
    }

    fn zeros(self) -> usize {
        self.tiling.source.c.next_multiple_of(16)
    }

    fn weights(self) -> usize {
        weights::len(self.tiling.source.c, self.tiling.out.c)
    }

    /// Values of a chunk's transformed input.
    fn inputs(self) -> usize {
        POINTS * self.chunk * self.zeros()
    }

    fn task_scratch(self) -> usize {
        self.inputs() + IN * OUT * self.chunk * 16
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
        let (cin, cout) = (self.tiling.source.c, self.tiling.out.c);
        assert!(
            finish.bias.is_none_or(|bias| bias.len() == cout),
            "bias: not one value an output channel"
        );
        let (zeros, scratch) = aligned(scratch).split_at_mut(self.zeros());
        zeros.fill(0.0);
        let (points, scratch) = scratch.split_at_mut(self.weights());
        weights::transform(w, self.direction, cin, cout, points);
        let (zeros, points, out) = (&*zeros, &*points, Shared::new(out));
        let blocks = self.tiling.count().div_ceil(TILES);
        for_each_with(
            self.bands * self.groups,
            scratch,
            self.task_scratch(),
            |task, scratch| {
                let blocks = part(blocks, self.bands, task / self.groups);
                dispatch(Task {
                    product: self,
                    source,
                    zeros,
                    points,
                    finish,
                    out,
                    tiles: blocks.start * TILES..(blocks.end * TILES).min(self.tiling.count()),
                    vectors: part(cout.div_ceil(lanes()), self.groups, task % self.groups),
                    scratch,
                });
            },
        );
    }
}

/// Few tiles, so that their points stay in the first-level cache, as long as the weights stay in the second; else as many
/// as make reading the weights from farther away worth it.
fn chunk(cin: usize, cout: usize) -> usize {
    const SECOND_LEVEL: usize = 128 * 1024;
    if weights::len(cin, cout) <= SECOND_LEVEL {
        TILES
    } else {
        (SECOND_LEVEL / (POINTS * cin)).clamp(2 * TILES, 8 * TILES) / TILES * TILES
    }
}

struct Task<'a> {
    product: Product,
    source: &'a [f32],
    zeros: &'a [f32],
    points: &'a [f32],
    finish: Finish<'a>,
    out: Shared<'a, f32>,
    tiles: Range<usize>,
    vectors: Range<usize>,
    scratch: &'a mut [f32],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if S::REGISTERS >= 32 {
            self.chunks::<S, TILES>(s);
        } else {
            self.chunks::<S, { TILES / 2 }>(s);
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn chunks<S: Simd, const P: usize>(&mut self, s: S) {
        let (inputs, rows) = self.scratch.split_at_mut(self.product.inputs());
        let (inputs, rows) = (inputs.as_mut_ptr(), rows.as_mut_ptr());
        for start in self.tiles.clone().step_by(self.product.chunk) {
            let tiles = start..self.tiles.end.min(start + self.product.chunk);
            self.input::<S, P>(s, tiles.clone(), inputs);
            for vector in self.vectors.clone() {
                self.products::<S, P>(s, tiles.len(), vector, inputs, rows);
                self.output(s, tiles.clone(), vector, rows);
            }
        }
    }

    /// Vectors of input channels.
    #[inline(always)]
    fn input_vectors<S: Simd>(&self) -> usize {
        self.product.tiling.source.c.div_ceil(S::LANES)
    }

    /// Transforms the source under some tiles. `P` tiles lie together: for each row of points and vector of channels, the
    /// row's points, of each the vectors of all `P` tiles.
    #[inline(always)]
    fn input<S: Simd, const P: usize>(&self, s: S, tiles: Range<usize>, to: *mut f32) {
        let (tiling, vectors) = (self.product.tiling, self.input_vectors::<S>());
        let vector = IN * P * S::LANES;
        for i in 0..tiles.len().next_multiple_of(P) {
            // The last tiles of a block that is not full are the last one again.
            let patch = tiling.input(
                (tiles.start + i).min(tiles.end - 1),
                self.source,
                self.zeros,
            );
            let to = Grid {
                first: to.wrapping_add(i / P * IN * vectors * vector + i % P * S::LANES),
                row: vectors * vector,
                column: P * S::LANES,
            };
            // SAFETY: the scratch has these vectors for each tile of a chunk.
            unsafe { patch.transform(s, Input, 0, tiling.source.c, to, vector) };
        }
    }

    /// For each row of points, the products of some tiles with a vector of output channels, transformed along the row:
    /// `rows[row of points][tile][column of pixels]`.
    #[inline(always)]
    fn products<S: Simd, const P: usize>(
        &self,
        s: S,
        tiles: usize,
        vector: usize,
        from: *const f32,
        rows: *mut f32,
    ) {
        let c = self.product.tiling.source.c;
        let block = IN * self.input_vectors::<S>() * IN * P * S::LANES;
        for row in 0..IN {
            let w = self.points[weights::offset(c, vector, row)..][..c * IN * S::LANES].as_ptr();
            for first in (0..tiles).step_by(P) {
                let x = from.wrapping_add(first / P * block + row * (block / IN));
                let to = rows.wrapping_add((row * self.product.chunk + first) * OUT * S::LANES);
                // SAFETY: `input` wrote the block's row of points, `w` has as many vectors as the product reads, and `rows`
                // has room for whole blocks.
                unsafe {
                    let sums = multiply_row::<S, P>(s, x, c, w);
                    for (p, sums) in sums.into_iter().enumerate() {
                        for (x, value) in Output.apply(s, sums).into_iter().enumerate() {
                            s.store(to.add((p * OUT + x) * S::LANES), s.mask(S::LANES), value);
                        }
                    }
                }
            }
        }
    }

    /// Transforms the rows back and writes the pixels.
    #[inline(always)]
    fn output<S: Simd>(&self, s: S, tiles: Range<usize>, vector: usize, rows: *const f32) {
        let (out, at) = (self.product.tiling.out, vector * S::LANES);
        let mask = s.mask(out.c - at);
        // SAFETY: the mask ends with the channels of the bias.
        let bias = self.finish.bias.map_or(s.splat(0.0), |bias| unsafe {
            s.load(bias.as_ptr().add(at), mask)
        });
        for (i, tile) in tiles.enumerate() {
            let [n, top, left] = self.product.tiling.tile(tile);
            let first = ((n * out.h + top) * out.w + left) * out.c + at;
            for x in 0..OUT.min(out.w - left) {
                let mut sums = [s.splat(0.0); IN];
                for (row, sum) in sums.iter_mut().enumerate() {
                    let from = ((row * self.product.chunk + i) * OUT + x) * S::LANES;
                    // SAFETY: `products` wrote them.
                    *sum = unsafe { s.load_all(rows.add(from)) };
                }
                let column = Output.apply(s, sums);
                for y in 0..OUT.min(out.h - top) {
                    // SAFETY: a pixel inside, whose channels the mask ends with and no other task writes.
                    unsafe {
                        let to = self.out.pointer().add(first + (y * out.w + x) * out.c);
                        let mut value = s.add(column[y], bias);
                        if self.finish.acc == Accumulate::Add {
                            value = s.add(value, s.load(to, mask));
                        }
                        s.store(to, mask, activate(s, self.finish.activation, value));
                    }
                }
            }
        }
    }
}

/// `sums[p][j] = Σ_c x[c][j][p] · w[c][j]` with `x` as `Task::input` writes a row of points.
///
/// # Safety
/// `x` has that row for `c` channels, `w` has `c` times six vectors.
#[inline(always)]
unsafe fn multiply_row<S: Simd, const P: usize>(
    s: S,
    mut x: *const f32,
    c: usize,
    mut w: *const f32,
) -> [[S::V; IN]; P] {
    let mut acc = [[s.splat(0.0); IN]; P];
    let mut left = c;
    while left > 0 {
        let lanes = left.min(S::LANES);
        for lane in 0..lanes {
            let mut weights = [s.splat(0.0); IN];
            for (j, weight) in weights.iter_mut().enumerate() {
                // SAFETY: the caller vouches for it.
                *weight = unsafe { s.load_all(w.add(j * S::LANES)) };
            }
            for p in 0..P {
                for j in 0..IN {
                    // SAFETY: as above.
                    let value = s.splat(unsafe { *x.add((j * P + p) * S::LANES + lane) });
                    acc[p][j] = s.mul_add(value, weights[j], acc[p][j]);
                }
            }
            w = w.wrapping_add(IN * S::LANES);
        }
        x = x.wrapping_add(IN * P * S::LANES);
        left -= lanes;
    }
    acc
}
