//! The forward pass, organised as that of the `f32` kernel (`conv2d::winograd::product`).

use super::transform::{Input, LARGEST, Output, Scaled};
use super::weights::Weights;
use crate::conv2d::Inputs;
use crate::conv2d::winograd::product::blocks;
use crate::conv2d::winograd::task::multiply_point;
use crate::conv2d::winograd::tiling::Tiling;
use crate::conv2d::winograd::transform::{Grid, IN, OUT, POINTS, Pixels, both_axes};
use crate::conv2d::winograd::weights;
use crate::parallel::{for_each_with, part, workers};
use crate::quantized::widen::{self, Rectangle, Source};
use crate::quantized::write::Finish;
use crate::quantized::{Affine, Quantized, bound};
use crate::simd::{I16, Kernel, Simd, Words, lanes};
use crate::{Nhwc, Window, size};
use std::ops::Range;

/// Target number of tasks.
const TASKS: usize = 8;

/// The plan of a convolution, which depends on shapes alone.
#[derive(Clone, Copy, Debug)]
pub(in crate::quantized) struct Winograd {
    inputs: Inputs,
    outputs: Inputs,
    tiling: Tiling,
    pad: [usize; 2],
    block: usize,
    bands: usize,
    groups: usize,
    /// Blocks whose points a task holds at a time.
    chunk: usize,
}

impl Winograd {
    /// `None` if the weights would be rounded too coarsely. The window and the image must suit.
    pub(in crate::quantized) fn new(
        xs: Nhwc,
        inputs: Inputs,
        cout: usize,
        window: Window,
    ) -> Option<Self> {
        if !bound::suffices(xs.c, LARGEST[0]) {
            return None;
        }
        let pad = [window.pad_before(0, xs.h), window.pad_before(1, xs.w)];
        let tiling = Tiling::new(xs, window.fitted(xs, cout), pad);
        let (block, bands) = blocks(tiling.count());
        let outputs = Inputs::whole(cout);
        Some(Self {
            inputs,
            outputs,
            tiling,
            pad,
            block,
            bands,
            groups: TASKS.div_ceil(bands).min(weights::panels(&outputs)),
            chunk: chunk(&inputs, &outputs, block),
        })
    }

    /// Output channels as whole vectors.
    fn channels(&self) -> usize {
        self.outputs.runs(lanes()) * lanes()
    }

    /// The factors of the sums at each point, then the weights.
    pub(in crate::quantized) fn packed_len(&self) -> usize {
        size([POINTS, self.inputs.runs(2) + 1, self.channels()])
    }

    pub(in crate::quantized) fn pack(&self, w: &[f32], codes: &[Affine], packed: &mut [f32]) {
        let (factors, points) = packed[..self.packed_len()].split_at_mut(POINTS * self.channels());
        Weights {
            w,
            codes,
            inputs: &self.inputs,
            outputs: &self.outputs,
        }
        .pack(factors, points);
    }

    pub(in crate::quantized) fn scratch(&self) -> usize {
        size([workers(), self.task_scratch()])
    }

    /// The widened input, whose words follow one another whatever the parts: vectors of them are full but for the last.
    fn words(&self) -> Inputs {
        Inputs::whole(2 * self.inputs.runs(2))
    }

    /// Columns of the input under a row of tiles.
    fn columns(&self) -> usize {
        self.tiling.columns() * OUT + IN - OUT
    }

    /// Words of the input under a row of tiles.
    fn strip(&self) -> usize {
        widen::words(IN, self.columns(), self.inputs.runs(2))
    }

    /// Words of a block's vectors at a point, rounded up to an odd number of cache lines: the points of a tile, which are
    /// written together, then fall into different sets of the cache.
    fn point(&self) -> usize {
        const LINE: usize = 16;
        let words = self.words().runs(2 * lanes()) * self.block * lanes();
        (words.div_ceil(LINE) | 1) * LINE
    }

    /// Words of a chunk's transformed input.
    fn points(&self) -> usize {
        POINTS * self.chunk * self.point()
    }

    fn task_scratch(&self) -> usize {
        let sums = POINTS * self.chunk * self.block * weights::PANEL * lanes();
        self.strip() + self.points() + sums
    }

    pub(in crate::quantized) fn run(
        &self,
        parts: &[Quantized<'_>],
        packed: &[f32],
        finish: Finish<'_>,
        scratch: &mut [f32],
    ) {
        assert!(
            packed.len() >= self.packed_len() && scratch.len() >= self.scratch(),
            "too little scratch or packed weights"
        );
        let (factors, points) = packed.split_at(POINTS * self.channels());
        let (tiles, panels) = (self.tiling.count(), weights::panels(&self.outputs));
        let tasks = self.bands * self.groups;
        for_each_with(tasks, scratch, self.task_scratch(), |task, scratch| {
            let (band, group) = (task / self.groups, task % self.groups);
            let blocks = part(tiles.div_ceil(self.block), self.bands, band);
            let (strip, scratch) = scratch.split_at_mut(self.strip());
            let (inputs, sums) = scratch.split_at_mut(self.points());
            I16::dispatch(Task {
                plan: self,
                source: Source {
                    inputs: &self.inputs,
                    xs: self.tiling.source,
                    parts,
                    shift: false,
                },
                factors,
                points,
                finish,
                tiles: blocks.start * self.block..(blocks.end * self.block).min(tiles),
                panels: part(panels, self.groups, group),
                strip,
                widened: None,
                inputs: inputs.as_mut_ptr(),
                sums: sums.as_mut_ptr(),
            });
        });
    }
}

/// Blocks whose points a task holds at a time: if the weights fit in the L2 cache, one, so that the points stay in the
/// L1 cache; else enough to make up for reading the weights from farther away.
fn chunk(from: &Inputs, to: &Inputs, block: usize) -> usize {
    const SECOND_LEVEL: usize = 128 * 1024;
    let words = POINTS * from.runs(2);
    if words * to.runs(lanes()) * lanes() <= SECOND_LEVEL {
        1
    } else {
        (SECOND_LEVEL / (words * block)).clamp(1, 32 / block)
    }
}

/// The row of tiles whose input is in a task's strip.
#[derive(Clone, Copy, PartialEq)]
struct Row {
    n: usize,
    top: usize,
    /// First column of the first tile.
    left: usize,
    columns: usize,
}

struct Task<'a> {
    plan: &'a Winograd,
    source: Source<'a>,
    factors: &'a [f32],
    points: &'a [f32],
    finish: Finish<'a>,
    tiles: Range<usize>,
    panels: Range<usize>,
    strip: &'a mut [f32],
    widened: Option<Row>,
    inputs: *mut f32,
    sums: *mut f32,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let chunk = self.plan.chunk * self.plan.block;
        for start in self.tiles.clone().step_by(chunk) {
            let tiles = start..self.tiles.end.min(start + chunk);
            self.input(s, tiles.clone());
            for panel in self.panels.clone() {
                let panel = weights::panel(&self.plan.outputs, panel);
                // Blocks that the registers do not hold are not compiled.
                let wide = S::REGISTERS >= 32;
                match self.plan.block {
                    12 if wide => self.panel::<S, 12>(s, tiles.len(), &panel),
                    8 if wide => self.panel::<S, 8>(s, tiles.len(), &panel),
                    6 if !wide => self.panel::<S, 6>(s, tiles.len(), &panel),
                    _ => self.panel::<S, 4>(s, tiles.len(), &panel),
                }
                for vector in panel.clone() {
                    self.output(s, tiles.clone(), &panel, vector);
                }
            }
        }
    }
}

impl Task<'_> {
    /// Transforms the input under some tiles, in blocks: for each point and vector of words those of all tiles.
    #[inline(always)]
    fn input<S: Simd>(&mut self, s: S, tiles: Range<usize>) {
        let (block, point) = (self.plan.block, self.plan.point());
        let pixel = self.plan.inputs.runs(2);
        for i in 0..tiles.len().next_multiple_of(block) {
            // A block that is not full repeats the last tile.
            let tile = (tiles.start + i).min(tiles.end - 1);
            let row = self.row(s, tile);
            let [_, _, left] = self.plan.tiling.tile(tile);
            let from = Grid {
                first: self
                    .strip
                    .as_mut_ptr()
                    .wrapping_add((left - row.left) * pixel),
                row: row.columns * pixel,
                column: pixel,
            };
            let first = i / block * POINTS * point + i % block * S::LANES;
            let mut to = Grid::points(self.inputs.wrapping_add(first), point);
            for at in (0..pixel).step_by(S::LANES) {
                // SAFETY: the strip has the tile's pixels, and slack for whole vectors; the points have these vectors
                // for each tile of a chunk.
                unsafe { both_axes(s, Input, &from.shifted(at), &mut to) };
                to = to.shifted(block * S::LANES);
            }
        }
    }

    /// The row of a tile, whose input is in the strip then: as much of it as the task's tiles need.
    #[inline(always)]
    fn row<S: Simd>(&mut self, s: S, tile: usize) -> Row {
        let Winograd { tiling, pad, .. } = self.plan;
        let [n, top, left] = tiling.tile(tile);
        if let Some(row) = self.widened
            && (row.n, row.top) == (n, top)
        {
            return row;
        }
        let to_the_end = tiling.columns() - left / OUT;
        let tiles = to_the_end.min(self.tiles.end - tile);
        let row = Row {
            n,
            top,
            left,
            columns: tiles * OUT + IN - OUT,
        };
        let kept = self.keep_rows(row);
        let rectangle = Rectangle {
            n,
            first: [
                (top + kept) as isize - pad[0] as isize,
                left as isize - pad[1] as isize,
            ],
            rows: IN - kept,
            columns: row.columns,
        };
        let words = row.columns * self.plan.inputs.runs(2);
        self.source
            .widen(s, rectangle, &mut self.strip[kept * words..]);
        self.widened = Some(row);
        row
    }

    /// Moves the rows that the row of tiles above has in common with this one to the strip's start; returns their number.
    #[inline(always)]
    fn keep_rows(&mut self, row: Row) -> usize {
        let above = Row {
            top: row.top.wrapping_sub(OUT),
            ..row
        };
        if self.widened != Some(above) {
            return 0;
        }
        let words = row.columns * self.plan.inputs.runs(2);
        self.strip.copy_within(OUT * words..IN * words, 0);
        IN - OUT
    }

    /// At each point, the products of some tiles with a panel: `sums[point][tile][vector]`.
    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&self, s: S, tiles: usize, panel: &Range<usize>) {
        match panel.len() {
            weights::PANEL => self.products::<S, P, { weights::PANEL }>(s, tiles, panel),
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
        assert!(
            P == self.plan.block && V == panel.len(),
            "a block or panel of another size"
        );
        let (words, block) = (self.plan.inputs.runs(2), self.plan.point());
        let inputs = self.plan.words();
        for point in 0..POINTS {
            let w = weights::offset(words, panel, point);
            let w = self.points[w..][..words * V * S::LANES].as_ptr();
            for i in 0..tiles.div_ceil(P) {
                let x = self.inputs.wrapping_add((i * POINTS + point) * block);
                let to = self.sums.wrapping_add(self.sum(s, V, point, i * P));
                // SAFETY: `input` wrote the block's vectors at the point, `w` has as many words as the product reads,
                // and `sums` has room for whole blocks.
                unsafe {
                    let sums = multiply_point::<S, I16, P, V>(s, x, S::LANES, &inputs, w);
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
        let tiles = self.plan.chunk * self.plan.block;
        (point * tiles + tile) * vectors * S::LANES
    }

    /// Transforms the sums of one of a panel's vectors back and writes the pixels.
    #[inline(always)]
    fn output<S: Simd>(&self, s: S, tiles: Range<usize>, panel: &Range<usize>, vector: usize) {
        let channel = vector * S::LANES;
        let left = self.plan.outputs.channels() - channel;
        // SAFETY: the mask ends with the channels.
        let offset = unsafe { self.finish.offset(s, channel, s.mask(left)) };
        let factor = self.finish.factor(s);
        let factors = self.factors[channel..].as_ptr().cast_mut();
        let sums = self.sums.wrapping_add((vector - panel.start) * S::LANES);
        for (i, tile) in tiles.enumerate() {
            let from = Scaled {
                sums: Grid::points(
                    sums.wrapping_add(self.sum(s, panel.len(), 0, i)),
                    self.sum(s, panel.len(), 1, 0),
                ),
                factors: Grid::points(factors, self.plan.channels()),
            };
            let mut pixels = Pixels([[s.splat(0.0); OUT]; OUT]);
            // SAFETY: `products` wrote the tile's sums at every point, and each has factors of all channels.
            unsafe { both_axes(s, Output, &from, &mut pixels) };
            // By index, so that the pixels stay in registers.
            for y in 0..OUT {
                for x in 0..OUT {
                    pixels.0[y][x] = s.add(s.mul(pixels.0[y][x], factor), offset);
                }
            }
            self.write(s, self.plan.tiling.tile(tile), channel, &pixels.0);
        }
    }

    /// Writes the pixels that are inside.
    #[inline(always)]
    fn write<S: Simd>(
        &self,
        s: S,
        [n, top, left]: [usize; 3],
        channel: usize,
        pixels: &[[S::V; OUT]; OUT],
    ) {
        let Nhwc { h, w, c, .. } = self.plan.tiling.out;
        let first = ((n * h + top) * w + left) * c + channel;
        if h - top >= OUT && w - left >= OUT && c - channel >= S::LANES {
            for y in 0..OUT {
                let at = std::array::from_fn(|x| first + (y * w + x) * c);
                // SAFETY: pixels inside, with a whole vector of channels that no other task writes.
                unsafe { self.finish.write_all(s, at, pixels[y]) };
            }
            return;
        }
        let mask = s.mask(c - channel);
        for y in 0..OUT.min(h - top) {
            for x in 0..OUT.min(w - left) {
                let at = first + (y * w + x) * c;
                // SAFETY: a pixel inside, whose channels the mask ends with and no other task writes.
                unsafe { self.finish.write(s, [at], [mask], [pixels[y][x]]) };
            }
        }
    }
}
