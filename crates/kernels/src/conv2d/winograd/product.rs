//! From a source to an output: the forward pass, and the gradient of the input.
//!
//! The products of a row of points, for a few tiles and a vector of output channels, fill the registers; the row is
//! transformed back before it leaves them.

use super::tiling::Tiling;
use super::transform::{Axis, Grid, IN, Input, Narrow, OUT, Output, POINTS, Place};
use super::weights::{self, Direction};
use crate::conv2d::Conv2d;
use crate::conv2d::gather::Finish;
use crate::conv2d::inputs::{Inputs, PartGradient, Run};
use crate::parallel::{Shared, for_each_with, part, workers};
use crate::simd::{Factors, Kernel, Simd, activate, lanes};
use crate::{Accumulate, Activation, Nhwc, size};
use std::ops::Range;

/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 8;
/// Minimum number of tiles per task, because each task reads the weights again.
const MIN: usize = 8;
/// Maximum number of tiles per task.
const MAX: usize = 96;
/// Tiles in registers, if there are enough registers; all other numbers of tiles are multiples of it.
const TILES: usize = 4;

/// The plan of a convolution, which depends on shapes alone.
#[derive(Clone, Copy)]
pub(in crate::conv2d) struct Product<F> {
    factors: F,
    tiling: Tiling,
    direction: Direction,
    /// The parts that are read, and those that are written.
    from: Inputs,
    to: Inputs,
    /// Numbers of runs of tiles and of groups of output vectors; a task is a pair of them.
    bands: usize,
    groups: usize,
    /// Tiles whose points a task holds at a time.
    chunk: usize,
}

impl<F: Factors> Product<F> {
    pub(in crate::conv2d) fn forward(factors: F, conv: Conv2d) -> Self {
        let Conv2d { inputs, cout, .. } = conv;
        Self::new(
            factors,
            Tiling::of(conv),
            Direction::Forward,
            inputs,
            Inputs::whole(cout),
        )
    }

    /// From `dy` to `dx`: the padding becomes `2 − padding`.
    pub(in crate::conv2d) fn backward(factors: F, conv: Conv2d) -> Self {
        let Conv2d {
            xs,
            window,
            inputs,
            cout,
            ..
        } = conv;
        let pad = [(0, xs.h), (1, xs.w)].map(|(axis, len)| 2 - window.pad_before(axis, len));
        Self::new(
            factors,
            Tiling::new(conv.output(), xs, pad),
            Direction::Backward,
            Inputs::whole(cout),
            inputs,
        )
    }

    fn new(factors: F, tiling: Tiling, direction: Direction, from: Inputs, to: Inputs) -> Self {
        let tiles = tiling.count();
        let bands = tiles.div_ceil(tiles.div_ceil(TASKS).clamp(MIN, MAX));
        let groups = TASKS.div_ceil(bands).min(to.runs(lanes()));
        let chunk = chunk::<F>(&from, &to);
        Self {
            factors,
            tiling,
            direction,
            from,
            to,
            bands,
            groups,
            chunk,
        }
    }

    pub(in crate::conv2d) fn packed_len(&self) -> usize {
        weights::len::<F>(&self.from, &self.to)
    }

    pub(in crate::conv2d) fn pack(&self, w: &[f32], packed: &mut [f32]) {
        weights::transform::<F>(w, self.direction, &self.from, &self.to, packed);
    }

    pub(in crate::conv2d) fn scratch(&self) -> usize {
        self.zeros() + size([workers(), self.task_scratch()])
    }

    fn zeros(&self) -> usize {
        self.tiling.source.c.next_multiple_of(16)
    }

    /// Words of a chunk's transformed input.
    fn inputs(&self) -> usize {
        POINTS * self.chunk * self.from.runs(lanes()) * (lanes() / F::EACH)
    }

    fn task_scratch(&self) -> usize {
        self.inputs() + IN * OUT * self.chunk * lanes()
    }

    pub(in crate::conv2d) fn run_forward(
        &self,
        x: &[&[f32]],
        packed: &[f32],
        finish: Finish<'_>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let cout = self.tiling.out.c;
        assert!(
            finish.bias.is_none_or(|bias| bias.len() == cout),
            "bias: not one value per output channel"
        );
        let out = Out {
            data: Shared::new(y),
            acc: finish.acc,
        };
        self.run(x, packed, finish.bias, finish.activation, &[out], scratch);
    }

    pub(in crate::conv2d) fn run_backward(
        &self,
        dy: &[f32],
        packed: &[f32],
        dx: &mut [PartGradient<'_>],
        scratch: &mut [f32],
    ) {
        let out: Vec<_> = dx
            .iter_mut()
            .map(|dx| Out {
                data: Shared::new(dx.data),
                acc: dx.acc,
            })
            .collect();
        self.run(&[dy], packed, None, None, &out, scratch);
    }

    fn run(
        &self,
        source: &[&[f32]],
        points: &[f32],
        bias: Option<&[f32]>,
        activation: Option<Activation>,
        out: &[Out<'_>],
        scratch: &mut [f32],
    ) {
        assert!(
            points.len() >= self.packed_len() && scratch.len() >= self.scratch(),
            "too little scratch or packed weights"
        );
        let (zeros, scratch) = scratch.split_at_mut(self.zeros());
        zeros.fill(0.0);
        let (zeros, tiles) = (&*zeros, self.tiling.count());
        for_each_with(
            self.bands * self.groups,
            scratch,
            self.task_scratch(),
            |task, scratch| {
                let blocks = part(tiles.div_ceil(TILES), self.bands, task / self.groups);
                F::dispatch(Task {
                    product: self,
                    source,
                    zeros,
                    points,
                    bias,
                    activation,
                    out,
                    tiles: blocks.start * TILES..(blocks.end * TILES).min(tiles),
                    vectors: part(self.to.runs(lanes()), self.groups, task % self.groups),
                    scratch,
                });
            },
        );
    }
}

/// Tiles whose points a task holds at a time: if the weights fit in the L2 cache, few, so that the points stay in the
/// L1 cache; else enough to make up for reading the weights from farther away.
fn chunk<F: Factors>(from: &Inputs, to: &Inputs) -> usize {
    const SECOND_LEVEL: usize = 128 * 1024;
    if weights::len::<F>(from, to) <= SECOND_LEVEL {
        TILES
    } else {
        (SECOND_LEVEL / (POINTS * from.runs(F::EACH))).clamp(2 * TILES, 8 * TILES) / TILES * TILES
    }
}

/// A tensor that is written.
struct Out<'a> {
    data: Shared<'a, f32>,
    acc: Accumulate,
}

struct Task<'a, F> {
    product: &'a Product<F>,
    source: &'a [&'a [f32]],
    zeros: &'a [f32],
    points: &'a [f32],
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
    out: &'a [Out<'a>],
    tiles: Range<usize>,
    vectors: Range<usize>,
    scratch: &'a mut [f32],
}

impl<F: Factors> Kernel for Task<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if S::REGISTERS >= 32 {
            self.chunks::<S, TILES>(s);
        } else {
            self.chunks::<S, { TILES / 2 }>(s);
        }
    }
}

impl<F: Factors> Task<'_, F> {
    #[inline(always)]
    fn chunks<S: Simd, const P: usize>(&mut self, s: S) {
        let (inputs, rows) = self.scratch.split_at_mut(self.product.inputs());
        let (inputs, rows) = (inputs.as_mut_ptr(), rows.as_mut_ptr());
        for start in self.tiles.clone().step_by(self.product.chunk) {
            let tiles = start..self.tiles.end.min(start + self.product.chunk);
            self.input::<S, P>(s, tiles.clone(), inputs);
            for vector in self.vectors.clone() {
                self.products::<S, P>(s, tiles.len(), vector, inputs, rows);
                let run = self.product.to.run(S::LANES, vector);
                if self.product.to.parts()[run.part].doubled {
                    self.output_halved(s, tiles.clone(), run, rows);
                } else {
                    self.output(s, tiles.clone(), run, rows);
                }
            }
        }
    }

    /// Transforms the source under some tiles, interleaved in blocks of `P`: for each row of points and vector of
    /// channels come the row's points, and for each point the vectors of all `P` tiles.
    #[inline(always)]
    fn input<S: Simd, const P: usize>(&self, s: S, tiles: Range<usize>, to: *mut f32) {
        let Product {
            factors,
            tiling,
            from,
            ..
        } = self.product;
        // Words of a vector, and of one vector for each point of a row and each of `P` tiles.
        let words = S::LANES / F::EACH;
        let (vectors, vector) = (from.runs(S::LANES), IN * P * words);
        for i in 0..tiles.len().next_multiple_of(P) {
            // A block that is not full repeats the last tile.
            let tile = (tiles.start + i).min(tiles.end - 1);
            let grid = Grid {
                first: to.wrapping_add(i / P * IN * vectors * vector + i % P * words),
                row: vectors * vector,
                column: P * words,
            };
            let mut to = Narrow(grid, *factors);
            for (part, values) in from.parts().iter().zip(self.source) {
                let patch = tiling.input(tile, *part, values, self.zeros);
                // SAFETY: the scratch has these vectors for each tile of a chunk.
                unsafe { patch.transform(s, Input, 0, part.channels, to, vector) };
                to = Place::<S>::shifted(to, part.channels.div_ceil(S::LANES) * vector);
            }
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
        let c = self.product.from.runs(F::EACH);
        let row_len = self.product.from.runs(S::LANES) * IN * P * (S::LANES / F::EACH);
        for row in 0..IN {
            let w = self.points[weights::offset(c, vector, row)..][..c * IN * S::LANES].as_ptr();
            for first in (0..tiles).step_by(P) {
                let x = from.wrapping_add((first / P * IN + row) * row_len);
                let to = rows.wrapping_add((row * self.product.chunk + first) * OUT * S::LANES);
                // SAFETY: `input` wrote the block's row of points, `w` has as many vectors as the product reads, and
                // `rows` has room for whole blocks.
                unsafe {
                    let sums = multiply_row::<S, F, P>(s, x, &self.product.from, w);
                    for (p, sums) in sums.into_iter().enumerate() {
                        for (x, value) in Output.apply(s, sums).into_iter().enumerate() {
                            s.store(to.add((p * OUT + x) * S::LANES), s.mask(S::LANES), value);
                        }
                    }
                }
            }
        }
    }

    /// A column of a tile's pixels, from the tile's transformed rows.
    ///
    /// # Safety
    /// `products` wrote `rows` for tile `i` of the chunk.
    #[inline(always)]
    unsafe fn column<S: Simd>(&self, s: S, rows: *const f32, i: usize, x: usize) -> [S::V; OUT] {
        let mut sums = [s.splat(0.0); IN];
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller guarantees it.
            *sum = unsafe {
                s.load_all(rows.add(((row * self.product.chunk + i) * OUT + x) * S::LANES))
            };
        }
        Output.apply(s, sums)
    }

    /// Transforms the rows back and writes the pixels.
    #[inline(always)]
    fn output<S: Simd>(&self, s: S, tiles: Range<usize>, run: Run, rows: *const f32) {
        let out = self
            .product
            .tiling
            .out
            .with_channels(self.product.to.parts()[run.part].channels);
        let mask = s.mask(run.count);
        // SAFETY: the mask ends with the channels of the bias.
        let bias = self.bias.map_or(s.splat(0.0), |bias| unsafe {
            s.load(bias.as_ptr().add(run.channel), mask)
        });
        for (i, tile) in tiles.enumerate() {
            let [n, top, left] = self.product.tiling.tile(tile);
            let first = ((n * out.h + top) * out.w + left) * out.c + run.first;
            for x in 0..OUT.min(out.w - left) {
                // SAFETY: `products` wrote the tile's rows.
                let column = unsafe { self.column(s, rows, i, x) };
                for y in 0..OUT.min(out.h - top) {
                    let value = activate(s, self.activation, s.add(column[y], bias));
                    // SAFETY: a pixel inside, whose channels the mask ends with and no other task writes.
                    unsafe {
                        self.write(s, run.part, first + (y * out.w + x) * out.c, mask, value)
                    };
                }
            }
        }
    }

    /// Like `output`, for a part whose pixels were each read as 2×2: each receives the sum of the four.
    #[inline(always)]
    fn output_halved<S: Simd>(&self, s: S, tiles: Range<usize>, run: Run, rows: *const f32) {
        let Nhwc { h, w, .. } = self.product.tiling.out;
        let (h, w, c) = (h / 2, w / 2, self.product.to.parts()[run.part].channels);
        let mask = s.mask(run.count);
        for (i, tile) in tiles.enumerate() {
            let [n, top, left] = self.product.tiling.tile(tile);
            let (top, left) = (top / 2, left / 2);
            let first = ((n * h + top) * w + left) * c + run.first;
            for x in 0..(OUT / 2).min(w - left) {
                // SAFETY: `products` wrote the tile's rows.
                let (a, b) = unsafe {
                    (
                        self.column(s, rows, i, 2 * x),
                        self.column(s, rows, i, 2 * x + 1),
                    )
                };
                for y in 0..(OUT / 2).min(h - top) {
                    let upper = s.add(a[2 * y], b[2 * y]);
                    let value = s.add(upper, s.add(a[2 * y + 1], b[2 * y + 1]));
                    // SAFETY: as above.
                    unsafe { self.write(s, run.part, first + (y * w + x) * c, mask, value) };
                }
            }
        }
    }

    /// # Safety
    /// The channels of `mask` at `at` are in the part that is written, and no other task writes them.
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, s: S, part: usize, at: usize, mask: S::Mask, value: S::V) {
        let out = &self.out[part];
        // SAFETY: the caller guarantees it.
        unsafe {
            let to = out.data.pointer().add(at);
            let before = if out.acc == Accumulate::Add {
                s.load(to, mask)
            } else {
                s.splat(0.0)
            };
            s.store(to, mask, s.add(value, before));
        }
    }
}

/// `sums[p][j] = Σ_c x[c][j][p] · w[c][j]` with `x` as `Task::input` writes a row of points.
///
/// # Safety
/// `x` has that row for all channels, `w` has six vectors for each word of them.
#[inline(always)]
unsafe fn multiply_row<S: Simd, F: Factors, const P: usize>(
    s: S,
    mut x: *const f32,
    channels: &Inputs,
    mut w: *const f32,
) -> [[S::V; IN]; P] {
    let words = S::LANES / F::EACH;
    let mut acc = [[s.splat(0.0); IN]; P];
    for part in channels.parts() {
        let mut left = part.channels.div_ceil(F::EACH);
        while left > 0 {
            let count = left.min(words);
            for word in 0..count {
                let mut weights = [s.splat(0.0); IN];
                for (j, weight) in weights.iter_mut().enumerate() {
                    // SAFETY: the caller guarantees it.
                    *weight = unsafe { s.load_all(w.add(j * S::LANES)) };
                }
                for p in 0..P {
                    for j in 0..IN {
                        // SAFETY: as above.
                        let value = s.splat(unsafe { *x.add((j * P + p) * words + word) });
                        acc[p][j] = F::multiply_add(s, value, weights[j], acc[p][j]);
                    }
                }
                w = w.wrapping_add(IN * S::LANES);
            }
            x = x.wrapping_add(IN * P * words);
            left -= count;
        }
    }
    acc
}
