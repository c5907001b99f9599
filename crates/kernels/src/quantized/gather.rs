//! Any window: each output pixel gathers from the input pixels under its window.
//!
//! Codes are multiplied as they are, four to a word, by weights of 8 bits. The codes of real 0 that this adds to a sum are
//! the same for every window, because that is what pads it, too: they are subtracted at the end.
//!
//! A task has a band of output rows and some panels of output channels. It copies the input under the band once, with its
//! padding, so that each row of each window is one run of words, and then multiplies as the `f32` kernel does. A pointwise
//! convolution of one tensor reads that in place.

use super::band::{self, Rectangle, Source};
use super::bound;
use super::write::Finish;
use super::{Affine, Quantized};
use crate::conv2d::Inputs;
use crate::conv2d::Panels;
use crate::conv2d::tile::multiply_run;
use crate::parallel::{Shared, for_each, for_each_with, part, workers};
use crate::simd::{Bytes, Kernel, Simd, Words, lanes};
use crate::{Nhwc, Window, size};
use std::mem;
use std::ops::Range;

/// Words of a band, which a task reads again for each panel of weights: half an L2 cache.
const BAND: usize = 64 * 1024;
/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 16;
/// A multiple of every tile's number of pixels.
const PIXELS: usize = 24;

/// The plan of a convolution, which depends on shapes alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gather {
    inputs: Inputs,
    xs: Nhwc,
    out: Nhwc,
    kernel: [usize; 2],
    stride: usize,
    pad: [usize; 2],
    /// Bands per image.
    bands: usize,
    /// Output rows in the unit of which bands are made.
    unit: usize,
    /// Groups of panels.
    groups: usize,
}

impl Gather {
    /// `None` if the weights would be rounded too coarsely.
    pub(super) fn new(xs: Nhwc, inputs: Inputs, cout: usize, window: Window) -> Option<Self> {
        if !bound::suffices(size([window.taps(), xs.c]), bound::CODE) {
            return None;
        }
        let pad = [window.pad_before(0, xs.h), window.pad_before(1, xs.w)];
        let mut gather = Self {
            inputs,
            xs,
            out: window.fitted(xs, cout),
            kernel: window.kernel,
            stride: window.stride,
            pad,
            bands: 1,
            unit: 1,
            groups: 1,
        };
        if window == Window::POINT {
            gather.flatten();
        }
        gather.divide();
        Some(gather)
    }

    /// The pixels of a pointwise convolution as a single image, of one column where no part is doubled.
    fn flatten(&mut self) {
        let whole = !self.inputs.parts().iter().any(|part| part.doubled);
        for shape in [&mut self.xs, &mut self.out] {
            let (n, h, w) = (shape.n, shape.h, shape.w);
            *shape = match whole {
                true => Nhwc {
                    n: 1,
                    h: n * h * w,
                    w: 1,
                    ..*shape
                },
                false => Nhwc {
                    n: 1,
                    h: n * h,
                    ..*shape
                },
            };
        }
    }

    fn divide(&mut self) {
        let row = self.out.w;
        self.unit = if row == 1 { PIXELS } else { 1 };
        let words = size([self.stride, self.stride, self.pixel()]);
        let pixels = (BAND / words)
            .clamp(4 * PIXELS, 4096)
            .min(self.out.pixels().div_ceil(TASKS).max(8 * PIXELS));
        let units = self.out.h.div_ceil(self.unit);
        self.bands = units.div_ceil((pixels / (self.unit * row)).max(1));
        let panels = Panels::new(self.out.c).count;
        self.groups = TASKS.div_ceil(self.bands * self.out.n).min(panels).max(1);
    }

    /// Output rows of a band.
    fn band(&self, index: usize) -> Range<usize> {
        let units = part(self.out.h.div_ceil(self.unit), self.bands, index);
        units.start * self.unit..(units.end * self.unit).min(self.out.h)
    }

    /// The input under some output rows.
    fn rectangle(&self, n: usize, rows: Range<usize>) -> Rectangle {
        let span = |outputs, axis| self.span(outputs, axis);
        Rectangle {
            n,
            first: [
                (rows.start * self.stride) as isize - self.pad[0] as isize,
                -(self.pad[1] as isize),
            ],
            rows: span(rows.len(), 0),
            columns: span(self.out.w, 1),
        }
    }

    /// Input rows or columns under so many of the output.
    fn span(&self, outputs: usize, axis: usize) -> usize {
        (outputs - 1) * self.stride + self.kernel[axis]
    }

    /// Words per row of a band.
    fn row(&self) -> usize {
        self.span(self.out.w, 1) * self.pixel()
    }

    /// Words per pixel.
    fn pixel(&self) -> usize {
        self.inputs.runs(Bytes::EACH)
    }

    /// Rows of the packed weights.
    fn rows(&self) -> usize {
        size([self.kernel[0], self.kernel[1], self.pixel()])
    }

    /// Output channels as whole vectors.
    fn outputs(&self) -> usize {
        self.out.c.next_multiple_of(16)
    }

    /// The scale of each output channel, what the codes of real 0 add to its sums (negated), then the panels.
    pub(super) fn packed_len(&self) -> usize {
        size([self.rows() + 2, self.outputs()])
    }

    /// Packs `w` for parts of these codes.
    pub(super) fn pack(&self, w: &[f32], codes: &[Affine], packed: &mut [f32]) {
        let (factors, panels) = packed.split_at_mut(self.outputs());
        let (zeros, panels) = panels.split_at_mut(self.outputs());
        factors.fill(0.0);
        zeros.fill(0.0);
        let (factors, zeros, panels) = (
            Shared::new(factors),
            Shared::new(zeros),
            Shared::new(panels),
        );
        let all = Panels::new(self.out.c);
        for_each(all.count, |index| {
            let (start, vectors) = all.panel(index);
            let (channels, width) = (all.channels(index), vectors * lanes());
            // SAFETY: panels are disjoint, as are their channels.
            let (factors, zeros, panel) = unsafe {
                (
                    factors.part(channels.clone()),
                    zeros.part(channels.clone()),
                    panels.part(self.rows() * start..self.rows() * (start + width)),
                )
            };
            panel.fill(0.0);
            for (i, channel) in channels.enumerate() {
                let column = Column {
                    gather: self,
                    w,
                    codes,
                    channel,
                };
                let factor = column.factor();
                factors[i] = (1.0 / factor) as f32;
                let zero = column.pack(factor, &mut panel[i..], width);
                zeros[i] = f32::from_bits(zero as u32);
            }
        });
    }

    pub(super) fn scratch(&self) -> usize {
        size([workers(), self.task_scratch()])
    }

    /// Whether a task reads its band in place.
    fn in_place(&self, parts: &[Quantized<'_>]) -> bool {
        let aligned = |part: &Quantized<'_>| part.data.as_ptr().cast::<f32>().is_aligned();
        self.kernel == [1, 1]
            && (self.stride, self.pad) == (1, [0, 0])
            && (self.xs.n, self.xs.w) == (1, 1)
            && self.xs.c.is_multiple_of(Bytes::EACH)
            && parts.len() == 1
            && parts.iter().all(aligned)
    }

    fn task_scratch(&self) -> usize {
        let rows =
            (self.out.h.div_ceil(self.unit).div_ceil(self.bands) * self.unit).min(self.out.h);
        let band = self.rectangle(0, 0..rows);
        size([band.rows, band.columns, self.pixel()])
    }

    pub(super) fn run(
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
        let (factors, weights) = packed.split_at(self.outputs());
        let (zeros, weights) = weights.split_at(self.outputs());
        let in_place = self.in_place(parts);
        let panels = Panels::new(self.out.c);
        let tasks = self.out.n * self.bands * self.groups;
        for_each_with(tasks, scratch, self.task_scratch(), |task, scratch| {
            let (band, group) = (task / self.groups, task % self.groups);
            Bytes::dispatch(Task {
                gather: self,
                source: Source {
                    inputs: &self.inputs,
                    xs: self.xs,
                    parts,
                },
                in_place,
                factors,
                zeros,
                weights,
                finish,
                n: band / self.bands,
                rows: self.band(band % self.bands),
                panels,
                group: part(panels.count, self.groups, group),
                words: scratch,
            });
        });
    }
}

/// The weights of one output channel.
struct Column<'a> {
    gather: &'a Gather,
    w: &'a [f32],
    codes: &'a [Affine],
    channel: usize,
}

impl Column<'_> {
    /// Calls `visit` with the row of the packed panel, which of its bytes, the weight times its part's scale, and the
    /// part's code of zero.
    fn each(&self, mut visit: impl FnMut(usize, usize, f64, u8)) {
        let Gather {
            inputs,
            out,
            kernel,
            ..
        } = self.gather;
        let (cin, pixel) = (inputs.channels(), self.gather.pixel());
        for tap in 0..kernel[0] * kernel[1] {
            let (mut input, mut row) = (tap * cin, tap * pixel);
            for (part, code) in inputs.parts().iter().zip(self.codes) {
                for i in 0..part.channels {
                    let weight = f64::from(self.w[(input + i) * out.c + self.channel]);
                    let (row, byte) = (row + i / Bytes::EACH, i % Bytes::EACH);
                    visit(row, byte, weight * f64::from(code.scale), code.zero);
                }
                let words = part.channels.div_ceil(Bytes::EACH);
                (input, row) = (input + part.channels, row + words);
            }
        }
    }

    fn factor(&self) -> f64 {
        let mut weights = vec![];
        self.each(|_, _, weight, _| weights.push(weight));
        bound::of_bytes(&weights)
    }

    /// Writes the channel's column of a panel, whose rows are `width` words. Returns what is added to its sums.
    fn pack(&self, factor: f64, panel: &mut [f32], width: usize) -> i32 {
        let mut zeros = 0;
        self.each(|row, byte, weight, zero| {
            // At most 127, because of the factor.
            let rounded = bound::rounded(weight, factor) as i8;
            zeros += i32::from(zero) * i32::from(rounded);
            let word = &mut panel[row * width];
            *word = f32::from_bits(word.to_bits() | u32::from(rounded as u8) << (8 * byte));
        });
        -zeros
    }
}

struct Task<'a> {
    gather: &'a Gather,
    source: Source<'a>,
    in_place: bool,
    /// The factor of each channel's sums, and what is added to them before.
    factors: &'a [f32],
    zeros: &'a [f32],
    weights: &'a [f32],
    finish: Finish<'a>,
    n: usize,
    /// Output rows.
    rows: Range<usize>,
    panels: Panels,
    group: Range<usize>,
    /// Room for the input under them.
    words: &'a mut [f32],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let band = match self.in_place {
            true => &self.source.parts[0].data[self.rows.start * self.gather.xs.c..],
            false => {
                let band = self.gather.rectangle(self.n, self.rows.clone());
                self.source
                    .copy(band, band::bytes(mem::take(&mut self.words)))
            }
        };
        for index in self.group.clone() {
            let wide = S::REGISTERS >= 32;
            match self.panels.panel(index) {
                (c, 1) if wide => self.panel::<S, 12, 1>(s, band, c),
                (c, 2) if wide => self.panel::<S, 12, 2>(s, band, c),
                (c, 3) if wide => self.panel::<S, 8, 3>(s, band, c),
                (c, 1) => self.panel::<S, 8, 1>(s, band, c),
                (c, _) => self.panel::<S, 6, 2>(s, band, c),
            }
        }
    }
}

impl Task<'_> {
    /// All pixels of the task for the `V` vectors of output channels from `channel`.
    #[inline(always)]
    fn panel<S: Simd, const P: usize, const V: usize>(&self, s: S, band: &[u8], channel: usize) {
        let (out, rows) = (self.gather.out, self.gather.rows());
        let w = &self.weights[rows * channel..rows * (channel + V * S::LANES)];
        let channels = self.channels::<S, V>(s, channel);
        let pixels = self.rows.len() * out.w;
        let start = (self.n * out.h + self.rows.start) * out.w;
        let mut corners = Corners::new(self.gather, band);
        let mut sums = Sums([[[0.0; WIDEST]; V]; P]);
        for first in (0..pixels).step_by(P) {
            let count = P.min(pixels - first);
            let x = corners.next::<P>(count);
            // SAFETY: windows of pixels of the band.
            unsafe { self.tile::<S, P, V>(s, x, w, &mut sums) };
            let to = (start + first) * out.c + channel;
            // SAFETY: channels of pixels that no other task writes.
            unsafe { self.finish_tile(s, count, to, &channels, &sums) };
        }
    }

    /// The sums of the windows that start at `x`. They are stored, because they are then taken by an index that is not known
    /// to the compiler: it would otherwise keep them in memory during the products.
    ///
    /// # Safety
    /// The windows are in the band.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        mut x: [*const f32; P],
        w: &[f32],
        into: &mut Sums<P, V>,
    ) {
        let (row, run) = (
            self.gather.row(),
            self.gather.kernel[1] * self.gather.pixel(),
        );
        let (mut w, mut sums) = (w.as_ptr(), [[s.splat(0.0); V]; P]);
        for _ in 0..self.gather.kernel[0] {
            // SAFETY: the caller guarantees the windows; together, their rows read the panel once.
            sums = unsafe { multiply_run::<S, Bytes, P, V>(s, &x, run, w, sums) };
            w = w.wrapping_add(run * V * S::LANES);
            for x in &mut x {
                *x = x.wrapping_add(row);
            }
        }
        for p in 0..P {
            for v in 0..V {
                // SAFETY: there is room for the widest vector.
                unsafe { s.store(into.0[p][v].as_mut_ptr(), s.mask(S::LANES), sums[p][v]) };
            }
        }
    }

    /// What is done to the sums of the channels from `channel`.
    #[inline(always)]
    fn channels<S: Simd, const V: usize>(&self, s: S, channel: usize) -> Channels<S, V> {
        let mut masks = [s.mask(S::LANES); V];
        let left = self.gather.out.c - channel - (V - 1) * S::LANES;
        masks[V - 1] = s.mask(left);
        let (mut factors, mut offsets) = ([s.splat(0.0); V], [s.splat(0.0); V]);
        let mut zeros = [s.splat(0.0); V];
        for v in 0..V {
            let at = channel + v * S::LANES;
            // SAFETY: the masks end with the channels.
            unsafe {
                let factor = s.load(self.factors.as_ptr().add(at), masks[v]);
                factors[v] = s.mul(factor, self.finish.factor(s));
                offsets[v] = self.finish.offset(s, at, masks[v]);
                zeros[v] = s.load(self.zeros.as_ptr().add(at), masks[v]);
            }
        }
        Channels {
            zeros,
            factors,
            offsets,
            masks,
            full: left >= S::LANES,
        }
    }

    /// Writes the sums of the first `count` pixels from `to`.
    ///
    /// # Safety
    /// The channels of these pixels are in the output, and no other task accesses them.
    #[inline(always)]
    unsafe fn finish_tile<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        count: usize,
        to: usize,
        channels: &Channels<S, V>,
        sums: &Sums<P, V>,
    ) {
        let c = self.gather.out.c;
        for p in 0..count {
            let (mut values, mut at) = ([s.splat(0.0); V], [0; V]);
            for v in 0..V {
                // SAFETY: a vector of sums.
                let sum = unsafe { s.load_all(sums.0[p][v].as_ptr()) };
                let sum = s.add_i32(sum, channels.zeros[v]);
                let value = s.mul(s.float_of_i32(sum), channels.factors[v]);
                values[v] = s.add(value, channels.offsets[v]);
                at[v] = to + p * c + v * S::LANES;
            }
            // SAFETY: the caller guarantees it.
            unsafe {
                match channels.full {
                    true => self.finish.write_all(s, at, values),
                    false => self.finish.write(s, at, channels.masks, values),
                }
            }
        }
    }
}

/// Lanes of the widest vector.
const WIDEST: usize = 16;

/// The sums of a tile.
#[repr(align(64))]
struct Sums<const P: usize, const V: usize>([[[f32; WIDEST]; V]; P]);

/// What is done to the sums of `V` vectors of output channels.
struct Channels<S: Simd, const V: usize> {
    zeros: [S::V; V],
    factors: [S::V; V],
    offsets: [S::V; V],
    masks: [S::Mask; V],
    /// Whether no lane is masked off.
    full: bool,
}

/// Where the windows of a band's pixels start, in order.
struct Corners {
    next: *const f32,
    /// Pixels before the end of the output row, and per row.
    left: usize,
    width: usize,
    /// From a window to the next, and from the last of a row to the first of the next.
    step: usize,
    turn: usize,
}

impl Corners {
    #[inline(always)]
    fn new(gather: &Gather, band: &[u8]) -> Self {
        let (width, step) = (gather.out.w, gather.stride * gather.pixel());
        Self {
            next: band.as_ptr().cast(),
            left: width,
            width,
            step,
            turn: gather.stride * gather.row() - (width - 1) * step,
        }
    }

    /// The next `count` corners; after them the last one again.
    #[inline(always)]
    fn next<const P: usize>(&mut self, count: usize) -> [*const f32; P] {
        let mut corners = [self.next; P];
        for (p, corner) in corners.iter_mut().enumerate() {
            *corner = self.next;
            if p + 1 < count {
                self.advance();
            }
        }
        self.advance();
        corners
    }

    #[inline(always)]
    fn advance(&mut self) {
        self.left -= 1;
        let step = match self.left {
            0 => self.turn,
            _ => self.step,
        };
        if self.left == 0 {
            self.left = self.width;
        }
        self.next = self.next.wrapping_add(step);
    }
}
