//! From a source to an output: the forward pass, and the gradient of the input.
//!
//! Tiles are taken a block at a time. At every point the products of a block's tiles with two vectors of output
//! channels fill the registers: few loads for each product, so that arithmetic is the limit and not the caches. The sums
//! of all points, which fit in the first-level cache, are then transformed back.

use super::tiling::Tiling;
use super::transform::{Grid, IN, Input, Narrow, OUT, Output, POINTS, Pixels, Place, both_axes};
use super::weights::{self, Direction, PANEL};
use crate::conv2d::Conv2d;
use crate::conv2d::gather::Finish;
use crate::conv2d::inputs::{Inputs, PartGradient, Run};
use crate::parallel::{Shared, for_each_with, part, workers};
use crate::simd::{Factors, Kernel, Simd, Words, activate_all, lanes};
use crate::{Accumulate, Activation, Nhwc, size};
use std::ops::Range;

/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 8;
/// Minimum number of tiles per task, because each task reads the weights again.
const MIN: usize = 8;
/// Maximum number of tiles per task.
const MAX: usize = 96;

/// The plan of a convolution, which depends on shapes alone.
#[derive(Clone, Copy)]
pub(in crate::conv2d) struct Product<F> {
    factors: F,
    tiling: Tiling,
    direction: Direction,
    /// The parts that are read, and those that are written.
    from: Inputs,
    to: Inputs,
    /// Tiles in a block.
    block: usize,
    /// Numbers of runs of blocks and of groups of panels; a task is a pair of them.
    bands: usize,
    groups: usize,
    /// Blocks whose points a task holds at a time.
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
        let (block, bands) = blocks(tiling.count());
        let panels = weights::panels(&to);
        let groups = TASKS.div_ceil(bands).min(panels);
        let chunk = chunk::<F>(&from, &to, block);
        Self {
            factors,
            tiling,
            direction,
            from,
            to,
            block,
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

    /// Words of a block's vectors at a point, rounded up to an odd number of cache lines: the points of a tile, which are
    /// written together, then fall into different sets of the cache.
    fn point(&self) -> usize {
        const LINE: usize = 16;
        let words = self.from.runs(lanes()) * self.block * (lanes() / F::EACH);
        (words.div_ceil(LINE) | 1) * LINE
    }

    /// Words of a chunk's transformed input.
    fn inputs(&self) -> usize {
        POINTS * self.chunk * self.point()
    }

    fn task_scratch(&self) -> usize {
        self.inputs() + POINTS * self.chunk * self.block * PANEL * lanes()
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
        let panels = weights::panels(&self.to);
        for_each_with(
            self.bands * self.groups,
            scratch,
            self.task_scratch(),
            |task, scratch| {
                let blocks = part(tiles.div_ceil(self.block), self.bands, task / self.groups);
                F::dispatch(Task {
                    product: self,
                    source,
                    zeros,
                    points,
                    bias,
                    activation,
                    out,
                    tiles: blocks.start * self.block..(blocks.end * self.block).min(tiles),
                    panels: part(panels, self.groups, task % self.groups),
                    scratch,
                });
            },
        );
    }
}

/// Tiles in a block, and number of runs of blocks: the registers hold the sums of a block and of a panel. Of the sizes
/// that do, the one that takes the least time over all blocks, the last of which may be partly empty; a block reads
/// the weights once, which takes about as long as the products of a tile.
pub(crate) fn blocks(tiles: usize) -> (usize, usize) {
    let sizes: &[usize] = if lanes() == 16 { &[12, 8, 4] } else { &[6, 4] };
    let time = |block: usize| tiles.div_ceil(block) * (block + 1);
    let block = sizes.iter().copied().min_by_key(|size| time(*size));
    let block = block.unwrap_or(4);
    let blocks = tiles.div_ceil(block);
    let band = blocks.div_ceil(TASKS);
    let band = band.clamp(MIN.div_ceil(block), (MAX / block).max(1));
    (block, blocks.div_ceil(band))
}

/// Blocks whose points a task holds at a time: if the weights fit in the L2 cache, one, so that the points stay in the
/// L1 cache; else enough to make up for reading the weights from farther away.
fn chunk<F: Factors>(from: &Inputs, to: &Inputs, block: usize) -> usize {
    const SECOND_LEVEL: usize = 128 * 1024;
    if weights::len::<F>(from, to) <= SECOND_LEVEL {
        1
    } else {
        (SECOND_LEVEL / (POINTS * from.runs(F::EACH) * block)).clamp(1, 32 / block)
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
    panels: Range<usize>,
    scratch: &'a mut [f32],
}

impl<F: Factors> Kernel for Task<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (inputs, sums) = self.scratch.split_at_mut(self.product.inputs());
        let (inputs, sums) = (inputs.as_mut_ptr(), sums.as_mut_ptr());
        let chunk = self.product.chunk * self.product.block;
        for start in self.tiles.clone().step_by(chunk) {
            let tiles = start..self.tiles.end.min(start + chunk);
            self.input(s, tiles.clone(), inputs);
            for panel in self.panels.clone() {
                let panel = weights::panel(&self.product.to, panel);
                // Blocks that the registers do not hold are not compiled.
                let wide = S::REGISTERS >= 32;
                match self.product.block {
                    12 if wide => self.panel::<S, 12>(s, tiles.len(), &panel, inputs, sums),
                    8 if wide => self.panel::<S, 8>(s, tiles.len(), &panel, inputs, sums),
                    6 if !wide => self.panel::<S, 6>(s, tiles.len(), &panel, inputs, sums),
                    _ => self.panel::<S, 4>(s, tiles.len(), &panel, inputs, sums),
                }
                for (v, vector) in panel.clone().enumerate() {
                    let run = self.product.to.run(S::LANES, vector);
                    let sums = sums.wrapping_add(v * S::LANES);
                    self.output(s, tiles.clone(), run, sums, panel.len());
                }
            }
        }
    }
}

impl<F: Factors> Task<'_, F> {
    /// Transforms the source under some tiles, in blocks: for each point and vector of channels the vectors of all tiles.
    #[inline(always)]
    fn input<S: Simd>(&self, s: S, tiles: Range<usize>, to: *mut f32) {
        let Product {
            factors,
            tiling,
            from,
            block,
            ..
        } = self.product;
        // Words of a vector, of one vector for each tile of a block, and of all of them.
        let words = S::LANES / F::EACH;
        let (vector, point) = (block * words, self.product.point());
        for i in 0..tiles.len().next_multiple_of(*block) {
            // A block that is not full repeats the last tile.
            let tile = (tiles.start + i).min(tiles.end - 1);
            let grid = Grid {
                first: to.wrapping_add(i / block * POINTS * point + i % block * words),
                row: IN * point,
                column: point,
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

    /// At each point, the products of some tiles with a panel: `sums[point][tile][vector]`.
    #[inline(always)]
    fn panel<S: Simd, const P: usize>(
        &self,
        s: S,
        tiles: usize,
        panel: &Range<usize>,
        from: *const f32,
        sums: *mut f32,
    ) {
        match panel.len() {
            PANEL => self.products::<S, P, PANEL>(s, tiles, panel, from, sums),
            _ => self.products::<S, P, 1>(s, tiles, panel, from, sums),
        }
    }

    #[inline(always)]
    fn products<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        tiles: usize,
        panel: &Range<usize>,
        from: *const f32,
        sums: *mut f32,
    ) {
        assert!(
            P == self.product.block && V == panel.len(),
            "a block or panel of another size"
        );
        let c = self.product.from.runs(F::EACH);
        let block = self.product.point();
        for point in 0..POINTS {
            let w = weights::offset(c, panel, point);
            let w = self.points[w..][..c * V * S::LANES].as_ptr();
            for i in 0..tiles.div_ceil(P) {
                let x = from.wrapping_add((i * POINTS + point) * block);
                let to = sums.wrapping_add(self.sum(s, V, point, i * P));
                // SAFETY: `input` wrote the block's vectors at the point, `w` has as many words as the product reads,
                // and `sums` has room for whole blocks.
                unsafe {
                    let sums = multiply_point::<S, F, P, V>(
                        s,
                        x,
                        S::LANES / F::EACH,
                        &self.product.from,
                        w,
                    );
                    for p in 0..P {
                        for v in 0..V {
                            let to = to.add((p * V + v) * S::LANES);
                            s.store(to, s.mask(S::LANES), sums[p][v]);
                        }
                    }
                }
            }
        }
    }

    /// Where the sums of a tile at a point start, of a panel of so many vectors.
    #[inline(always)]
    fn sum<S: Simd>(&self, _: S, vectors: usize, point: usize, tile: usize) -> usize {
        let tiles = self.product.chunk * self.product.block;
        (point * tiles + tile) * vectors * S::LANES
    }

    /// Transforms a vector's sums back and writes the pixels. `vectors` is the number of vectors in the panel.
    #[inline(always)]
    fn output<S: Simd>(&self, s: S, tiles: Range<usize>, run: Run, sums: *mut f32, vectors: usize) {
        let (doubled, mask) = (self.product.to.parts()[run.part].doubled, s.mask(run.count));
        // SAFETY: the mask ends with the channels of the bias.
        let bias = self.bias.map_or(s.splat(0.0), |bias| unsafe {
            s.load(bias.as_ptr().add(run.channel), mask)
        });
        for (i, tile) in tiles.enumerate() {
            let grid = Grid {
                first: sums.wrapping_add(self.sum(s, vectors, 0, i)),
                row: self.sum(s, vectors, IN, 0),
                column: self.sum(s, vectors, 1, 0),
            };
            let mut pixels = Pixels([[s.splat(0.0); OUT]; OUT]);
            // SAFETY: `products` wrote the tile's sums at every point.
            unsafe { both_axes(s, Output, &grid, &mut pixels) };
            let tile = self.product.tiling.tile(tile);
            match doubled {
                true => self.write_halved(s, tile, run, &pixels.0, mask),
                false => self.write_tile(s, tile, run, &mut pixels.0, bias, mask),
            }
        }
    }

    /// Writes the pixels that are inside.
    #[inline(always)]
    fn write_tile<S: Simd>(
        &self,
        s: S,
        tile: [usize; 3],
        run: Run,
        pixels: &mut [[S::V; OUT]; OUT],
        bias: S::V,
        mask: S::Mask,
    ) {
        for row in pixels.iter_mut() {
            for pixel in row.iter_mut() {
                *pixel = s.add(*pixel, bias);
            }
            activate_all(s, self.activation, row);
        }
        let Nhwc { h, w, .. } = self.product.tiling.out;
        let [_, top, left] = tile;
        // Compiled twice, so that the pixels of a tile that is inside stay in registers.
        match h - top >= OUT && w - left >= OUT {
            true => self.write_pixels(s, tile, [OUT, OUT], run, pixels, mask),
            false => self.write_pixels(s, tile, [h - top, w - left], run, pixels, mask),
        }
    }

    #[inline(always)]
    fn write_pixels<S: Simd>(
        &self,
        s: S,
        [n, top, left]: [usize; 3],
        [rows, columns]: [usize; 2],
        run: Run,
        pixels: &[[S::V; OUT]; OUT],
        mask: S::Mask,
    ) {
        let Nhwc { h, w, .. } = self.product.tiling.out;
        let c = self.product.to.parts()[run.part].channels;
        let first = ((n * h + top) * w + left) * c + run.first;
        for y in 0..OUT.min(rows) {
            for x in 0..OUT.min(columns) {
                let at = first + (y * w + x) * c;
                // SAFETY: a pixel inside, whose channels the mask ends with and no other task writes.
                unsafe { self.write(s, run.part, at, mask, pixels[y][x]) };
            }
        }
    }

    /// Like `write_tile`, for a part whose pixels were each read as 2×2: each receives the sum of the four.
    #[inline(always)]
    fn write_halved<S: Simd>(
        &self,
        s: S,
        [n, top, left]: [usize; 3],
        run: Run,
        pixels: &[[S::V; OUT]; OUT],
        mask: S::Mask,
    ) {
        let Nhwc { h, w, .. } = self.product.tiling.out;
        let (h, w, c) = (h / 2, w / 2, self.product.to.parts()[run.part].channels);
        let (top, left) = (top / 2, left / 2);
        let first = ((n * h + top) * w + left) * c + run.first;
        for y in 0..(OUT / 2).min(h - top) {
            for x in 0..(OUT / 2).min(w - left) {
                let [upper, lower] = [&pixels[2 * y], &pixels[2 * y + 1]];
                let upper = s.add(upper[2 * x], upper[2 * x + 1]);
                let value = s.add(upper, s.add(lower[2 * x], lower[2 * x + 1]));
                // SAFETY: as in `write_tile`.
                unsafe { self.write(s, run.part, first + (y * w + x) * c, mask, value) };
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
            let value = match out.acc {
                Accumulate::Add => s.add(value, s.load(to, mask)),
                Accumulate::Replace => value,
            };
            s.store(to, mask, value);
        }
    }
}

/// `sums[p][v] = Σ_c x[c][p] · w[c][v]` with `x` as `Task::input` writes a point, in vectors of `words`.
///
/// # Safety
/// `x` has that point for all channels, `w` has `V` vectors for each word of them.
#[inline(always)]
pub(crate) unsafe fn multiply_point<S: Simd, F: Words, const P: usize, const V: usize>(
    s: S,
    mut x: *const f32,
    words: usize,
    channels: &Inputs,
    mut w: *const f32,
) -> [[S::V; V]; P] {
    let mut acc = [[s.splat(0.0); V]; P];
    for part in channels.parts() {
        let mut left = part.channels.div_ceil(F::EACH);
        while left > 0 {
            let count = left.min(words);
            for word in 0..count {
                let mut weights = [s.splat(0.0); V];
                for (v, weight) in weights.iter_mut().enumerate() {
                    // SAFETY: the caller guarantees it.
                    *weight = unsafe { s.load_all(w.add(v * S::LANES)) };
                }
                for p in 0..P {
                    // SAFETY: as above.
                    let value = s.splat(unsafe { *x.add(p * words + word) });
                    for v in 0..V {
                        acc[p][v] = F::multiply_add(s, value, weights[v], acc[p][v]);
                    }
                }
                w = w.wrapping_add(V * S::LANES);
            }
            x = x.wrapping_add(P * words);
            left -= count;
        }
    }
    acc
}
