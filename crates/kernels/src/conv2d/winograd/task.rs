//! The inner loops of a product: tiles to points, products at a point, and sums to pixels.

use super::product::{Layout, Product};
use super::transform::{Grid, IN, Input, Narrow, OUT, Output, Pixels, Place, both_axes};
use super::weights::{self, PANEL};
use crate::conv2d::inputs::{Inputs, Run};
use crate::parallel::Shared;
use crate::simd::{Element, Factors, Kernel, Simd, Words, activate_all};
use crate::{Accumulate, Activation, Nhwc};
use std::ops::Range;

/// A tensor that is written.
pub(super) struct Out<'a, Y> {
    pub(super) data: Shared<'a, Y>,
    pub(super) acc: Accumulate,
}

/// What all tasks of a product have in common.
pub(super) struct Call<'a, F, X, Y> {
    pub(super) product: &'a Product<F>,
    pub(super) layout: Layout,
    pub(super) source: &'a [&'a [X]],
    pub(super) zeros: &'a [X],
    pub(super) points: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Option<Activation>,
    pub(super) out: &'a [Out<'a, Y>],
}

/// The steps that a task does.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    transform: bool,
    multiply: bool,
    transform_back: bool,
}

impl Steps {
    const NONE: Self = Self {
        transform: false,
        multiply: false,
        transform_back: false,
    };
    pub(super) const ALL: Self = Self {
        transform: true,
        multiply: true,
        transform_back: true,
    };
    pub(super) const TRANSFORM: Self = Self {
        transform: true,
        ..Self::NONE
    };
    pub(super) const MULTIPLY: Self = Self {
        multiply: true,
        ..Self::NONE
    };
    pub(super) const TRANSFORM_BACK: Self = Self {
        transform_back: true,
        ..Self::NONE
    };
}

/// Some steps for some tiles, panels and points. The tasks that run at a time write different parts of the transformed
/// input, the sums and the output.
pub(super) struct Task<'a, F, X, Y> {
    pub(super) call: &'a Call<'a, F, X, Y>,
    pub(super) steps: Steps,
    pub(super) tiles: Range<usize>,
    /// Tiles whose points are held at a time.
    pub(super) chunk: usize,
    /// Those of a chunk that are transformed, and transformed back; the last block may be partly empty.
    pub(super) slice: Range<usize>,
    pub(super) panels: Range<usize>,
    /// The points that are multiplied.
    pub(super) points: Range<usize>,
    pub(super) inputs: Shared<'a, f32>,
    pub(super) sums: Shared<'a, f32>,
}

/// What is done to a pixel as it is written.
#[derive(Clone, Copy)]
struct Last<V> {
    bias: V,
    limits: [V; 2],
}

const NO_LIMITS: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// The limits to which an activation clamps; `None` if it is a curve.
fn limits(activation: Option<Activation>) -> Option<[f32; 2]> {
    match activation {
        None => Some(NO_LIMITS),
        Some(Activation::Relu) => Some([0.0, f32::INFINITY]),
        Some(Activation::Relu6) => Some([0.0, 6.0]),
        Some(Activation::Sigmoid | Activation::Silu) => None,
    }
}

impl<F: Factors, X: Element, Y: Element> Kernel for Task<'_, F, X, Y> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for start in self.tiles.clone().step_by(self.chunk) {
            let tiles = start..self.tiles.end.min(start + self.chunk);
            if self.steps.transform {
                self.input(s, tiles.clone());
            }
            for panel in self.panels.clone() {
                let panel = weights::panel(&self.call.product.to, panel);
                if self.steps.multiply {
                    self.block(s, tiles.len(), &panel);
                }
                if self.steps.transform_back {
                    self.vectors(s, &tiles, &panel);
                }
            }
        }
    }
}

impl<F: Factors, X: Element, Y: Element> Task<'_, F, X, Y> {
    /// Transforms the source under some tiles, in blocks: for each point and vector of channels the vectors of all tiles.
    #[inline(always)]
    fn input<S: Simd>(&self, s: S, tiles: Range<usize>) {
        let (layout, to) = (self.call.layout, self.inputs.pointer());
        let Product {
            factors,
            tiling,
            from,
            block,
            ..
        } = self.call.product;
        // Words of a vector, and of one vector for each tile of a block.
        let words = S::LANES / F::EACH;
        let vector = block * words;
        for i in self.slice.start..self.slice.end.min(tiles.len().next_multiple_of(*block)) {
            // A block that is not full repeats the last tile.
            let tile = (tiles.start + i).min(tiles.end - 1);
            let grid = Grid {
                first: to.wrapping_add(i / block * layout.block + i % block * words),
                row: IN * layout.point,
                column: layout.point,
            };
            let mut to = Narrow(grid, *factors);
            for (part, values) in from.parts().iter().zip(self.call.source) {
                let patch = tiling.input(tile, *part, values, self.call.zeros);
                // SAFETY: the scratch has these vectors for each tile of a chunk.
                unsafe { patch.transform(s, Input, 0, part.channels, to, vector) };
                to = Place::<S>::shifted(to, part.channels.div_ceil(S::LANES) * vector);
            }
        }
    }

    /// At each point, the products of some tiles with a panel: `sums[point][tile][vector]`.
    #[inline(always)]
    fn block<S: Simd>(&self, s: S, tiles: usize, panel: &Range<usize>) {
        // Blocks that the registers do not hold are not compiled.
        let wide = S::REGISTERS >= 32;
        match self.call.product.block {
            12 if wide => self.panel::<S, 12>(s, tiles, panel),
            8 if wide => self.panel::<S, 8>(s, tiles, panel),
            6 if !wide => self.panel::<S, 6>(s, tiles, panel),
            _ => self.panel::<S, 4>(s, tiles, panel),
        }
    }

    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&self, s: S, tiles: usize, panel: &Range<usize>) {
        match panel.len() {
            PANEL => self.products::<S, P, PANEL>(s, tiles, panel),
            _ => self.products::<S, P, 1>(s, tiles, panel),
        }
    }

    #[inline(always)]
    fn products<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        tiles: usize,
        panel: &Range<usize>,
    ) {
        let Call {
            product, layout, ..
        } = self.call;
        assert!(
            P == product.block && V == panel.len(),
            "a block or panel of another size"
        );
        let c = product.from.runs(F::EACH);
        for point in self.points.clone() {
            let w = weights::offset(c, panel, point);
            let w = self.call.points[w..][..c * V * S::LANES].as_ptr();
            for i in 0..tiles.div_ceil(P) {
                let x = i * layout.block + point * layout.point;
                let x = self.inputs.pointer().wrapping_add(x);
                let to = self.sums.pointer();
                let to = to.wrapping_add(self.sum(s, panel, point, i * P));
                // SAFETY: `input` wrote the block's vectors at the point, `w` has as many words as the product reads,
                // and `sums` has room for whole blocks.
                unsafe {
                    let sums =
                        multiply_point::<S, F, P, V>(s, x, S::LANES / F::EACH, &product.from, w);
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

    /// Where a panel's sums of a tile at a point start.
    #[inline(always)]
    fn sum<S: Simd>(&self, _: S, panel: &Range<usize>, point: usize, tile: usize) -> usize {
        let Layout {
            tiles,
            panel: vector,
            ..
        } = self.call.layout;
        panel.start * vector + (point * tiles + tile) * panel.len() * S::LANES
    }

    /// Transforms a panel's sums back.
    #[inline(always)]
    fn vectors<S: Simd>(&self, s: S, tiles: &Range<usize>, panel: &Range<usize>) {
        for vector in panel.clone() {
            let run = self.call.product.to.run(S::LANES, vector);
            let sums = self.sums.pointer();
            let sums = sums.wrapping_add((vector - panel.start) * S::LANES);
            self.output(s, tiles, run, sums, panel);
        }
    }

    /// Transforms a vector's sums back and writes the pixels.
    #[inline(always)]
    fn output<S: Simd>(
        &self,
        s: S,
        tiles: &Range<usize>,
        run: Run,
        sums: *mut f32,
        panel: &Range<usize>,
    ) {
        let product = self.call.product;
        let (doubled, mask) = (product.to.parts()[run.part].doubled, s.mask(run.count));
        // SAFETY: the mask ends with the channels of the bias.
        let bias = self.call.bias.map_or(s.splat(0.0), |bias| unsafe {
            s.load(bias.as_ptr().add(run.channel), mask)
        });
        let column = self.call.layout.tiles * panel.len() * S::LANES;
        for i in self.slice.start..self.slice.end.min(tiles.len()) {
            let grid = Grid {
                first: sums.wrapping_add(self.sum(s, panel, 0, i)),
                row: IN * column,
                column,
            };
            let mut pixels = Pixels([[s.splat(0.0); OUT]; OUT]);
            // SAFETY: `products` wrote the tile's sums at every point.
            unsafe { both_axes(s, Output, &grid, &mut pixels) };
            let tile = product.tiling.tile(tiles.start + i);
            match doubled {
                true => self.write_halved(s, tile, run, &pixels.0, mask),
                false => self.write_tile(s, tile, run, &pixels.0, bias, mask),
            }
        }
    }

    /// Writes the pixels that are inside.
    ///
    /// An activation that is a clamp is applied between the sums, which are in registers, and the store. The others need
    /// the registers: they take the pixels from memory.
    #[inline(always)]
    fn write_tile<S: Simd>(
        &self,
        s: S,
        tile: [usize; 3],
        run: Run,
        pixels: &[[S::V; OUT]; OUT],
        bias: S::V,
        mask: S::Mask,
    ) {
        let activation = self.call.activation;
        if let Some(limits) = limits(activation) {
            let last = Last {
                bias,
                limits: [s.splat(limits[0]), s.splat(limits[1])],
            };
            return self.write_inside(s, tile, run, pixels, last, mask);
        }
        let mut active = *pixels;
        for row in active.iter_mut() {
            for pixel in row.iter_mut() {
                *pixel = s.add(*pixel, bias);
            }
            activate_all(s, activation, row);
        }
        let last = Last {
            bias: s.splat(0.0),
            limits: [s.splat(NO_LIMITS[0]), s.splat(NO_LIMITS[1])],
        };
        self.write_inside(s, tile, run, &active, last, mask);
    }

    /// Compiled twice, so that the pixels of a tile that is inside stay in registers; where their number is not known, they
    /// are indexed in memory.
    #[inline(always)]
    fn write_inside<S: Simd>(
        &self,
        s: S,
        tile: [usize; 3],
        run: Run,
        pixels: &[[S::V; OUT]; OUT],
        last: Last<S::V>,
        mask: S::Mask,
    ) {
        let Nhwc { h, w, .. } = self.call.product.tiling.out;
        let [_, top, left] = tile;
        match h - top >= OUT && w - left >= OUT {
            true => self.write_pixels(s, tile, [OUT, OUT], run, pixels, last, mask),
            false => {
                let pixels = *pixels;
                self.write_pixels(s, tile, [h - top, w - left], run, &pixels, last, mask);
            }
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
        Last {
            bias,
            limits: [low, high],
        }: Last<S::V>,
        mask: S::Mask,
    ) {
        let Nhwc { h, w, .. } = self.call.product.tiling.out;
        let c = self.call.product.to.parts()[run.part].channels;
        let first = ((n * h + top) * w + left) * c + run.first;
        for y in 0..OUT.min(rows) {
            for x in 0..OUT.min(columns) {
                let at = first + (y * w + x) * c;
                // NaN passes through from the second argument.
                let value = s.min(high, s.max(low, s.add(pixels[y][x], bias)));
                // SAFETY: a pixel inside, whose channels the mask ends with and no other task writes.
                unsafe { self.write(s, run.part, at, mask, value) };
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
        let Nhwc { h, w, .. } = self.call.product.tiling.out;
        let (h, w, c) = (
            h / 2,
            w / 2,
            self.call.product.to.parts()[run.part].channels,
        );
        let (top, left) = (top / 2, left / 2);
        let first = ((n * h + top) * w + left) * c + run.first;
        // As in `write_inside`.
        let pixels = *pixels;
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
        let out = &self.call.out[part];
        // SAFETY: the caller guarantees it.
        unsafe {
            let to = out.data.pointer().add(at);
            let value = match out.acc {
                Accumulate::Add => s.add(value, Y::load(s, to, mask)),
                Accumulate::Replace => value,
            };
            Y::store(s, to, mask, value);
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
