//! The gradient of the weights: at each point, the product of the transformed input's transpose with the transformed
//! gradient, summed over tiles and transformed back to taps once.

use super::tiling::{Patch, Tiling};
use super::transform::{
    self, Axis, Grid, IN, Input, Load, Narrow, OutputGradient, Over, POINTS, Store, both_axes,
};
use crate::conv2d::Conv2d;
use crate::conv2d::inputs::{Inputs, Run};
use crate::conv2d::pack::Panels;
use crate::conv2d::tile::{outer_products, tallest};
use crate::parallel::{Shared, for_each, for_each_with, part, workers};
use crate::simd::{Factors, Kernel, Simd, dispatch, for_vectors};
use crate::{Accumulate, size};
use std::ops::Range;

/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 8;
/// Tiles whose points a task holds at a time: their products are summed in registers.
const TILES: usize = 64;
/// The same where the sums are too large for the L2 cache, so that each pass over them is expensive.
const TILES_OF_LARGE: usize = 128;
/// Input channels whose points a task holds at a time.
const CHANNELS: usize = 32;
/// Maximum number of values in all partial sums together; beyond it, tasks split the weights instead of the tiles.
const PARTIALS: usize = 1 << 21;

/// The plan of a weight gradient, which depends on shapes alone.
#[derive(Clone, Copy)]
pub(in crate::conv2d) struct WeightGradient<F> {
    factors: F,
    tiling: Tiling,
    inputs: Inputs,
    panels: Panels,
    /// Number of partial sums, over disjoint tiles.
    partials: usize,
    /// Numbers of groups of panels and of parts of the input channels; a task is a partial sum of one of each.
    groups: usize,
    parts: usize,
    /// Tiles processed at a time.
    tiles: usize,
}

impl<F: Factors> WeightGradient<F> {
    pub(in crate::conv2d) fn new(factors: F, conv: Conv2d) -> Self {
        let Conv2d {
            xs, inputs, cout, ..
        } = conv;
        let tiling = Tiling::of(conv);
        let (panels, tiles) = (Panels::new(cout), tiling.count());
        let blocks = inputs.runs(CHANNELS);
        let affordable = PARTIALS / (POINTS * xs.c * cout.next_multiple_of(16));
        let partials = affordable.clamp(1, TASKS.min(tiles.div_ceil(TILES)));
        // Each group repeats the transform of the input and each part that of the gradient. The former costs more, so
        // there are at most two groups if there are enough parts.
        let wanted = TASKS.div_ceil(partials);
        let groups = wanted.div_ceil(blocks).max(wanted.min(2)).min(panels.count);
        let parts = wanted.div_ceil(groups).min(blocks);
        let tiles = if affordable > 1 {
            TILES
        } else {
            TILES_OF_LARGE
        };
        Self {
            factors,
            tiling,
            inputs,
            panels,
            partials,
            groups,
            parts,
            tiles: tiles.min(tiling.count()),
        }
    }

    /// Values of one sum: a row of padded output channels per input channel and point.
    fn sums(self) -> usize {
        POINTS * self.tiling.source.c * self.row()
    }

    fn row(self) -> usize {
        self.panels.outputs.next_multiple_of(16)
    }

    /// Panels of the largest group.
    fn group(self) -> usize {
        self.panels.count.div_ceil(self.groups)
    }

    fn task_scratch(self) -> usize {
        POINTS
            * (step(self.tiles.div_ceil(F::EACH), CHANNELS)
                + self.group() * step(self.tiles.div_ceil(F::EACH), self.panels.width()))
    }

    fn zeros(self) -> usize {
        self.tiling
            .source
            .c
            .max(self.panels.outputs)
            .next_multiple_of(16)
    }

    pub(in crate::conv2d) fn scratch(self) -> usize {
        self.zeros() + size([self.partials, self.sums()]) + size([workers(), self.task_scratch()])
    }

    pub(in crate::conv2d) fn run(
        self,
        x: &[&[f32]],
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
        let (zeros, scratch) = scratch.split_at_mut(self.zeros());
        zeros.fill(0.0);
        let (sums, scratch) = scratch.split_at_mut(self.partials * self.sums());
        self.accumulate(x, dy, zeros, sums, scratch);
        let (dw, cin) = (Shared::new(dw), self.tiling.source.c);
        for_each(cin, |input| {
            dispatch(Taps {
                plan: self,
                sums,
                input,
                dw,
                acc,
            });
        });
    }

    fn accumulate(
        self,
        x: &[&[f32]],
        dy: &[f32],
        zeros: &[f32],
        sums: &mut [f32],
        scratch: &mut [f32],
    ) {
        let out = Shared::new(sums);
        let rectangles = self.groups * self.parts;
        for_each_with(
            self.partials * rectangles,
            scratch,
            self.task_scratch(),
            |task, scratch| {
                let (partial, rectangle) = (task / rectangles, task % rectangles);
                let runs = part(
                    self.inputs.runs(CHANNELS),
                    self.parts,
                    rectangle % self.parts,
                );
                F::dispatch(Task {
                    plan: self,
                    x,
                    dy,
                    zeros,
                    out,
                    partial,
                    group: part(self.panels.count, self.groups, rectangle / self.parts),
                    runs,
                    scratch,
                });
            },
        );
    }
}

/// Values between two points of `tiles` rows: not a multiple of a page, or all points would map to one cache set.
fn step(tiles: usize, row: usize) -> usize {
    tiles * row + 16
}

/// A partial sum of a rectangle of the weights.
struct Task<'a, F> {
    plan: WeightGradient<F>,
    x: &'a [&'a [f32]],
    dy: &'a [f32],
    zeros: &'a [f32],
    out: Shared<'a, f32>,
    partial: usize,
    group: Range<usize>,
    /// Runs of input channels.
    runs: Range<usize>,
    scratch: &'a mut [f32],
}

impl<F: Factors> Kernel for Task<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let WeightGradient {
            tiling,
            panels,
            partials,
            tiles: most,
            ..
        } = self.plan;
        let tiles = part(tiling.count(), partials, self.partial);
        let inputs = Grid::points(
            self.scratch.as_mut_ptr(),
            step(most.div_ceil(F::EACH), CHANNELS),
        );
        let first_gradient = inputs.first.wrapping_add(POINTS * inputs.column);
        let gradient = |panel: usize| {
            let step = step(most.div_ceil(F::EACH), panels.width());
            Grid::points(
                first_gradient.wrapping_add((panel - self.group.start) * POINTS * step),
                step,
            )
        };
        for start in tiles.clone().step_by(most) {
            let first = start == tiles.start;
            let tiles = start..tiles.end.min(start + most);
            for panel in self.group.clone() {
                self.gradients(s, panel, tiles.clone(), gradient(panel));
            }
            for run in self.runs.clone() {
                let run = self.plan.inputs.run(CHANNELS, run);
                self.inputs(s, run, tiles.clone(), inputs);
                for panel in self.group.clone() {
                    let block = Block {
                        run,
                        tiles: tiles.len(),
                        panel,
                        first,
                    };
                    self.multiply(s, &block, inputs, gradient(panel));
                }
            }
        }
    }
}

/// Some input channels' sums over the current tiles, for a panel of output channels.
struct Block {
    run: Run,
    tiles: usize,
    panel: usize,
    /// Whether these are the first tiles, whose sums are written rather than added.
    first: bool,
}

impl<F: Factors> Task<'_, F> {
    /// Transforms some channels of the input under the tiles; the tiles of a word share a row.
    #[inline(always)]
    fn inputs<S: Simd>(&self, s: S, run: Run, tiles: Range<usize>, to: Grid) {
        let WeightGradient { tiling, inputs, .. } = self.plan;
        for (i, tile) in tiles.clone().enumerate() {
            let patch = tiling.input(tile, inputs.parts()[run.part], self.x[run.part], self.zeros);
            let to = to.shifted(i / F::EACH * CHANNELS);
            // SAFETY: a row at each point has whole vectors for all channels.
            unsafe { self.points(s, &patch, Input, run.first..run.first + run.count, i, to) };
        }
        self.fill_word(
            s,
            tiles.len(),
            run.count,
            to.shifted(tiles.len() / F::EACH * CHANNELS),
        );
    }

    /// Transforms a panel of the output's gradient under the tiles, in the same way.
    #[inline(always)]
    fn gradients<S: Simd>(&self, s: S, panel: usize, tiles: Range<usize>, to: Grid) {
        let (channels, width) = (self.plan.panels.channels(panel), self.plan.panels.width());
        for (i, tile) in tiles.clone().enumerate() {
            let patch = self.plan.tiling.output(tile, self.dy, self.zeros);
            let to = to.shifted(i / F::EACH * width);
            // SAFETY: as above.
            unsafe { self.points(s, &patch, OutputGradient, channels.clone(), i, to) };
        }
        self.fill_word(
            s,
            tiles.len(),
            channels.len(),
            to.shifted(tiles.len() / F::EACH * width),
        );
    }

    /// Transforms some channels of the tile with this index in its word.
    ///
    /// # Safety
    /// `to` has whole vectors for all of the channels at each point.
    #[inline(always)]
    unsafe fn points<S: Simd, const N: usize>(
        &self,
        s: S,
        patch: &Patch<'_, f32, N>,
        axis: impl Axis<N, IN>,
        channels: Range<usize>,
        index: usize,
        to: Grid,
    ) {
        let (first, count) = (channels.start, channels.len());
        // SAFETY: the caller guarantees it.
        unsafe {
            match (F::EACH, index % F::EACH) {
                (1, _) => {
                    let to = Narrow(to, self.plan.factors);
                    patch.transform(s, axis, first, count, to, S::LANES);
                }
                (_, 0) => patch.transform(s, axis, first, count, to, S::LANES),
                (_, _) => patch.transform(s, axis, first, count, Over(to), S::LANES),
            }
        }
    }

    /// Fills the last row's words with zeros where there are too few tiles.
    #[inline(always)]
    fn fill_word<S: Simd>(&self, s: S, tiles: usize, channels: usize, row: Grid) {
        if tiles.is_multiple_of(F::EACH) {
            return;
        }
        for_vectors!(s, channels, |at, _mask| {
            for point in 0..POINTS {
                // SAFETY: whole vectors, of which the lower numbers have been written.
                unsafe { Over(row.shifted(at)).store(s, point / IN, point % IN, s.splat(0.0)) };
            }
        });
    }

    #[inline(always)]
    fn multiply<S: Simd>(&self, s: S, block: &Block, inputs: Grid, gradients: Grid) {
        let (_, vectors) = self.plan.panels.panel(block.panel);
        for point in 0..POINTS {
            let mut c = 0;
            while c < block.run.count {
                let left = block.run.count - c;
                let x = inputs.first.wrapping_add(point * inputs.column + c);
                let dy = gradients.first.wrapping_add(point * gradients.column);
                c += match vectors {
                    1 => self.tiles::<S, 1>(s, block, point, c, left, x, dy),
                    2 => self.tiles::<S, 2>(s, block, point, c, left, x, dy),
                    _ => self.tiles::<S, 3>(s, block, point, c, left, x, dy),
                };
            }
        }
    }

    /// Computes the sums of the block's next channels, of which `left` are left; returns their number.
    #[inline(always)]
    fn tiles<S: Simd, const V: usize>(
        &self,
        s: S,
        block: &Block,
        point: usize,
        c: usize,
        left: usize,
        x: *const f32,
        dy: *const f32,
    ) -> usize {
        // Tiles that are too tall are not compiled.
        let tallest = tallest::<S, V>(s);
        match left {
            16.. if tallest >= 16 => self.tile::<S, 16, V>(s, block, point, c, x, dy),
            8.. if tallest >= 8 => self.tile::<S, 8, V>(s, block, point, c, x, dy),
            6.. if tallest == 6 => self.tile::<S, 6, V>(s, block, point, c, x, dy),
            4.. => self.tile::<S, 4, V>(s, block, point, c, x, dy),
            2.. => self.tile::<S, 2, V>(s, block, point, c, x, dy),
            _ => self.tile::<S, 1, V>(s, block, point, c, x, dy),
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        s: S,
        block: &Block,
        point: usize,
        c: usize,
        x: *const f32,
        dy: *const f32,
    ) -> usize {
        let (plan, full) = (self.plan, s.mask(S::LANES));
        let (channel, _) = plan.panels.panel(block.panel);
        let mut acc = [[s.splat(0.0); V]; R];
        // SAFETY: `block.tiles` rows of `CHANNELS` inputs and of a panel's gradients were transformed at this point.
        unsafe {
            outer_products::<S, F, R, V>(
                s,
                x,
                CHANNELS,
                dy,
                plan.panels.width(),
                block.tiles.div_ceil(F::EACH),
                full,
                &mut acc,
            )
        };
        for (r, acc) in acc.iter().enumerate() {
            let row = (point * plan.tiling.source.c + block.run.channel + c + r) * plan.row();
            for (v, sum) in acc.iter().enumerate() {
                let at = channel + v * S::LANES;
                // SAFETY: rows are padded to whole vectors of sixteen, and no other task writes this part of the sums.
                unsafe {
                    let to = self
                        .out
                        .pointer()
                        .add(self.partial * plan.sums() + row + at);
                    let before = if block.first {
                        s.splat(0.0)
                    } else {
                        s.load(to, full)
                    };
                    s.store(to, full, s.add(before, *sum));
                }
            }
        }
        R
    }
}

/// Computes one input channel's taps from all partial sums.
struct Taps<'a, F> {
    plan: WeightGradient<F>,
    sums: &'a [f32],
    input: usize,
    dw: Shared<'a, f32>,
    acc: Accumulate,
}

impl<F: Factors> Kernel for Taps<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (outputs, cin) = (self.plan.panels.outputs, self.plan.tiling.source.c);
        for_vectors!(s, outputs, |at, mask| {
            let from = Sums { taps: &self, at };
            let mut to = Written {
                taps: &self,
                step: cin * outputs,
                at: self.input * outputs + at,
                mask,
            };
            // SAFETY: the sums' rows are padded to whole vectors, and the mask ends with the weights' row.
            unsafe { both_axes(s, transform::WeightGradient, &from, &mut to) };
        });
    }
}

/// The partial sums of a vector of weights, by point.
struct Sums<'a, 'b, F> {
    taps: &'a Taps<'b, F>,
    at: usize,
}

impl<S: Simd, F: Factors> Load<S> for Sums<'_, '_, F> {
    /// # Safety
    /// The sums' rows have a whole vector at `at`.
    #[inline(always)]
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V {
        let plan = self.taps.plan;
        let row = ((y * IN + x) * plan.tiling.source.c + self.taps.input) * plan.row() + self.at;
        let mut sum = s.splat(0.0);
        for partial in 0..plan.partials {
            // SAFETY: the caller guarantees it.
            sum = s.add(sum, unsafe {
                s.load_all(self.taps.sums.as_ptr().add(partial * plan.sums() + row))
            });
        }
        sum
    }
}

/// The gradients of a vector of weights, by tap.
struct Written<'a, 'b, F, M> {
    taps: &'a Taps<'b, F>,
    step: usize,
    at: usize,
    mask: M,
}

impl<S: Simd, F: Factors> Store<S> for Written<'_, '_, F, S::Mask> {
    /// # Safety
    /// The mask ends with the weights' row at `at`, which no other task writes.
    #[inline(always)]
    unsafe fn store(&mut self, s: S, y: usize, x: usize, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe {
            let to = self
                .taps
                .dw
                .pointer()
                .add((y * 3 + x) * self.step + self.at);
            let before = if self.taps.acc == Accumulate::Add {
                s.load(to, self.mask)
            } else {
                s.splat(0.0)
            };
            s.store(to, self.mask, s.add(before, value));
        }
    }
}
