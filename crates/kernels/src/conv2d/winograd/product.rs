//! From a source to an output: the forward pass, and the gradient of the input.
//!
//! Tiles are taken a block at a time. At every point the products of a block's tiles with two vectors of output
//! channels fill the registers: few loads for each product, so that arithmetic is the limit and not the caches. There
//! are two orders, between which `whole_passes` chooses: where the weights are light, a task takes a few tiles through
//! all points, so that their points and sums stay in its core's caches; where they are heavy, many tiles go through one
//! point at a time, so that the weights are read once and not once for every few tiles. `task` has the inner loops.

use super::task::{Call, Out, Steps, Task};
use super::tiling::Tiling;
use super::transform::POINTS;
use super::weights::{self, Direction, PANEL};
use crate::conv2d::Conv2d;
use crate::conv2d::gather::Finish;
use crate::conv2d::inputs::{Inputs, PartGradient};
use crate::parallel::{Shared, for_each, for_each_with, part, workers};
use crate::simd::{Element, Factors, lanes};
use crate::{Activation, size};

/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 8;
/// Minimum number of tiles per task, because each task reads the weights again.
const MIN: usize = 8;
/// Maximum number of tiles per task.
const MAX: usize = 96;
/// Tiles that a task transforms in a whole pass: two, because two neighbouring vectors share a cache line.
const PAIR: usize = 2;

/// The plan of a convolution, which depends on shapes alone.
#[derive(Clone, Copy)]
pub(in crate::conv2d) struct Product<F> {
    pub(super) factors: F,
    pub(super) tiling: Tiling,
    direction: Direction,
    /// The parts that are read, and those that are written.
    pub(super) from: Inputs,
    pub(super) to: Inputs,
    /// Tiles in a block.
    pub(super) block: usize,
    /// Numbers of runs of blocks and of groups of panels; a task is a pair of them.
    bands: usize,
    groups: usize,
    /// Whether all tiles of a chunk go through one point at a time.
    whole: bool,
    /// Blocks whose points are held at a time: by a task, or by all tasks together in whole passes.
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
        let whole = whole_passes(weights::len::<F>(&from, &to), tiling.count());
        let chunk = match whole {
            true => whole_chunk::<F>(&from, &to, block).min(tiling.count().div_ceil(block)),
            false => chunk::<F>(&from, &to, block),
        };
        Self {
            factors,
            tiling,
            direction,
            from,
            to,
            block,
            bands,
            groups,
            whole,
            chunk,
        }
    }

    pub(in crate::conv2d) fn packed_len(&self) -> usize {
        weights::len::<F>(&self.from, &self.to)
    }

    pub(in crate::conv2d) fn pack(&self, w: &[f32], packed: &mut [f32]) {
        weights::transform(
            self.factors,
            w,
            self.direction,
            &self.from,
            &self.to,
            packed,
        );
    }

    pub(in crate::conv2d) fn scratch(&self) -> usize {
        let held = if self.whole { 1 } else { workers() };
        self.zeros() + size([held, self.chunk_scratch()])
    }

    fn zeros(&self) -> usize {
        self.tiling.source.c.next_multiple_of(16)
    }

    /// Words of a block's vectors at a point, rounded up to an odd number of cache lines: the points of a tile, which are
    /// written together, then fall into different sets of the cache.
    fn point(&self) -> usize {
        odd_lines(self.from.runs(lanes()) * self.block * (lanes() / F::EACH))
    }

    /// Where the values of a chunk are stored.
    fn layout(&self) -> Layout {
        let (point, tiles) = (self.point(), self.chunk * self.block);
        if self.whole {
            // Blocks of one point are neighbours, and so are its sums.
            Layout {
                block: point,
                point: odd_lines(self.chunk * point),
                tiles: tiles | 1,
                panel: POINTS * (tiles | 1) * lanes(),
            }
        } else {
            Layout {
                block: POINTS * point,
                point,
                tiles,
                panel: 0,
            }
        }
    }

    /// Words of a chunk's transformed input.
    fn inputs(&self) -> usize {
        POINTS * odd_lines(self.chunk * self.point())
    }

    /// Words of a chunk's transformed input and sums: of all panels in whole passes, else of one.
    fn chunk_scratch(&self) -> usize {
        let vectors = if self.whole {
            self.to.runs(lanes())
        } else {
            PANEL
        };
        self.inputs() + size([POINTS, self.layout().tiles, vectors, lanes()])
    }

    pub(in crate::conv2d) fn run_forward<X: Element, Y: Element>(
        &self,
        x: &[&[X]],
        packed: &[f32],
        finish: Finish<'_>,
        y: &mut [Y],
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

    fn run<X: Element, Y: Element>(
        &self,
        source: &[&[X]],
        points: &[f32],
        bias: Option<&[f32]>,
        activation: Option<Activation>,
        out: &[Out<'_, Y>],
        scratch: &mut [f32],
    ) {
        assert!(
            points.len() >= self.packed_len() && scratch.len() >= self.scratch(),
            "too little scratch or packed weights"
        );
        let (zeros, scratch) = scratch.split_at_mut(self.zeros());
        zeros.fill(0.0);
        let call = Call {
            product: self,
            layout: self.layout(),
            source,
            zeros: X::of_words(zeros),
            points,
            bias,
            activation,
            out,
        };
        match self.whole {
            true => self.run_whole(&call, &mut scratch[..self.chunk_scratch()]),
            false => self.run_tasks(&call, scratch),
        }
    }

    /// Each task takes its tiles through all points.
    fn run_tasks<X: Element, Y: Element>(&self, call: &Call<'_, F, X, Y>, scratch: &mut [f32]) {
        let (tiles, panels) = (self.tiling.count(), weights::panels(&self.to));
        for_each_with(
            self.bands * self.groups,
            scratch,
            self.chunk_scratch(),
            |task, scratch| {
                let blocks = part(tiles.div_ceil(self.block), self.bands, task / self.groups);
                let (inputs, sums) = scratch.split_at_mut(self.inputs());
                F::dispatch(Task {
                    call,
                    steps: Steps::ALL,
                    tiles: blocks.start * self.block..(blocks.end * self.block).min(tiles),
                    chunk: self.chunk * self.block,
                    slice: 0..self.chunk * self.block,
                    panels: part(panels, self.groups, task % self.groups),
                    points: 0..POINTS,
                    inputs: Shared::new(inputs),
                    sums: Shared::new(sums),
                });
            },
        );
    }

    /// A chunk at a time: transforms all its tiles, multiplies them at each point, and transforms all sums back.
    fn run_whole<X: Element, Y: Element>(&self, call: &Call<'_, F, X, Y>, scratch: &mut [f32]) {
        let (inputs, sums) = scratch.split_at_mut(self.inputs());
        let (inputs, sums) = (Shared::new(inputs), Shared::new(sums));
        let (tiles, chunk) = (self.tiling.count(), self.chunk * self.block);
        for start in (0..tiles).step_by(chunk) {
            let tiles = start..tiles.min(start + chunk);
            let run = |steps, slice, points| {
                F::dispatch(Task {
                    call,
                    steps,
                    tiles: tiles.clone(),
                    chunk,
                    slice,
                    panels: 0..weights::panels(&self.to),
                    points,
                    inputs,
                    sums,
                });
            };
            let pairs = chunk.min(tiles.len().next_multiple_of(self.block)) / PAIR;
            let pair = |i| i * PAIR..(i + 1) * PAIR;
            for_each(pairs, |i| run(Steps::TRANSFORM, pair(i), 0..0));
            for_each(POINTS, |i| run(Steps::MULTIPLY, 0..chunk, i..i + 1));
            for_each(tiles.len().div_ceil(PAIR), |i| {
                run(Steps::TRANSFORM_BACK, pair(i), 0..0)
            });
        }
    }
}

/// Distances between the parts of a chunk's transformed input and of its sums.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Words from a block's input to the next block's, and from a point's to the next point's.
    pub(super) block: usize,
    pub(super) point: usize,
    /// Tiles from one point's sums to the next one's.
    pub(super) tiles: usize,
    /// Words of sums before a panel, for each vector that precedes it.
    pub(super) panel: usize,
}

/// Words rounded up to an odd number of cache lines.
fn odd_lines(words: usize) -> usize {
    const LINE: usize = 16;
    (words.div_ceil(LINE) | 1) * LINE
}

/// Whether the tiles of a chunk go through one point at a time, given the number of transformed weights: if these are so
/// heavy that reading them again for every few tiles costs more than taking points and sums through the shared cache,
/// and if there are more tiles than that.
fn whole_passes(weights: usize, tiles: usize) -> bool {
    const HEAVY: usize = 1 << 21;
    weights >= HEAVY && tiles > MIN
}

/// Blocks in a chunk of whole passes: what is read and written at a point takes half of a second-level cache, all points
/// together 9 MB.
fn whole_chunk<F: Factors>(from: &Inputs, to: &Inputs, block: usize) -> usize {
    const VALUES: usize = 1 << 16;
    (VALUES / ((from.runs(F::EACH) + to.channels()) * block)).max(1)
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
