//! Depthwise convolution of bytes in `i16`, with a vector of twice as many channels as of `f32` numbers.
//!
//! A product is rounded to its upper half: `x · w / 2¹⁵` of inputs `x = 128 · (code − zero)`, whose magnitude is at most
//! 32,640, and of weights `w` whose magnitudes add up to at most 32,767 over a channel's taps. A sum of products is then
//! at most `32,640 / 32,768 · 32,767 + ½ · 121 < 2¹⁵` in magnitude, and so is every part of it. Rounding a product costs
//! ½ at most, where an input's code is off by up to 64 times the weight's share of the sum.

use super::widen::{self, Rectangle, Source};
use super::write::Finish;
use super::{Affine, Output, Quantized};
use crate::conv2d::Inputs;
use crate::depthwise::MAX_TAPS;
use crate::parallel::{for_each_with, part, workers};
use crate::simd::{Kernel, Simd, dispatch, pair_i16};
use crate::{Epilogue, Nhwc, Window, size};
use std::ops::Range;

/// Target number of tasks.
const TASKS: usize = 16;
/// Channels are padded to whole vectors of the widest registers.
const CHANNELS: usize = 32;
/// Most of an `i16`.
const LARGEST: f32 = i16::MAX as f32;

/// The plan of a convolution, which depends on shapes alone.
#[derive(Clone, Copy)]
struct Plan {
    xs: Nhwc,
    ys: Nhwc,
    window: Window,
    /// Bands of output rows per image.
    bands: usize,
}

impl Plan {
    fn new(xs: Nhwc, window: Window) -> Self {
        let ys = window.fitted(xs, xs.c);
        assert!(
            window.taps() <= MAX_TAPS,
            "quantized::depthwise: {window:?} has more than {MAX_TAPS} taps"
        );
        let bands = TASKS.div_ceil(xs.n.max(1)).min(ys.h.div_ceil(4)).max(1);
        Self {
            xs,
            ys,
            window,
            bands,
        }
    }

    /// Input rows or columns under so many of the output.
    fn span(&self, outputs: usize, axis: usize) -> usize {
        (outputs - 1) * self.window.stride + self.window.kernel[axis]
    }

    /// Words per pixel of the widened input.
    fn pixel(&self) -> usize {
        self.xs.c.div_ceil(2)
    }

    fn row(&self) -> usize {
        self.span(self.ys.w, 1) * self.pixel()
    }

    fn channels(&self) -> usize {
        channels(self.xs.c)
    }

    /// The input under a band; the last vector of a pixel may reach beyond it.
    fn task_scratch(&self) -> usize {
        let rows = self.span(self.ys.h.div_ceil(self.bands), 0);
        widen::words(rows, self.span(self.ys.w, 1), self.pixel())
    }
}

/// Channels as whole vectors.
fn channels(c: usize) -> usize {
    c.next_multiple_of(CHANNELS)
}

/// Length of the weights packed for [`forward`]: the factor of each channel's sums, then for each tap the weights of pairs of
/// channels.
pub fn packed_len(c: usize, window: Window) -> usize {
    channels(c) + size([window.taps(), channels(c) / 2])
}

/// Packs `weights`, `[kh, kw, c]`, for an input of this code.
pub fn pack(weights: &[f32], c: usize, window: Window, code: Affine, packed: &mut [f32]) {
    assert!(
        weights.len() == size([window.taps(), c]) && packed.len() >= packed_len(c, window),
        "quantized::depthwise: length of the weights of {c} channels, or too little room"
    );
    dispatch(Pack {
        c,
        taps: window.taps(),
        scale: code.scale,
        weights,
        packed: &mut packed[..packed_len(c, window)],
    });
}

/// Scratch of [`forward`].
pub fn forward_scratch(xs: Nhwc, window: Window) -> usize {
    size([workers(), Plan::new(xs, window).task_scratch()])
}

/// `y = act(depthwise(x, w) + bias)`; `y` has shape `window.output(xs, xs.c)`, and `packed` is from [`pack`] with the code of
/// `x`.
pub fn forward(
    x: Quantized<'_>,
    xs: Nhwc,
    window: Window,
    packed: &[f32],
    epilogue: Epilogue<'_>,
    y: Output<'_>,
    scratch: &mut [f32],
) {
    let plan = Plan::new(xs, window);
    assert!(
        x.data.len() == xs.len() && y.len() == plan.ys.len(),
        "quantized::depthwise: length of x or y for {xs:?}"
    );
    assert!(
        packed.len() >= packed_len(xs.c, window)
            && epilogue.bias.is_none_or(|bias| bias.len() == xs.c),
        "quantized::depthwise: length of the weights or the bias for {xs:?}"
    );
    assert!(
        scratch.len() >= forward_scratch(xs, window),
        "quantized::depthwise: too little scratch"
    );
    if plan.ys.is_empty() {
        return;
    }
    let (factors, weights) = packed.split_at(plan.channels());
    let (inputs, finish) = (Inputs::whole(xs.c), Finish::new(epilogue, y));
    let tasks = xs.n * plan.bands;
    for_each_with(tasks, scratch, plan.task_scratch(), |task, strip| {
        dispatch(Task {
            plan: &plan,
            source: Source {
                inputs: &inputs,
                xs,
                parts: &[x],
                shift: true,
            },
            factors,
            weights,
            finish,
            n: task / plan.bands,
            rows: part(plan.ys.h, plan.bands, task % plan.bands),
            strip,
        });
    });
}

/// Rounds the weights.
struct Pack<'a> {
    c: usize,
    taps: usize,
    /// Of the input's code.
    scale: f32,
    weights: &'a [f32],
    packed: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    /// Plain loops over channels, which the compiler vectorises for the enabled instruction set.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (c, taps) = (self.c, self.taps);
        self.packed.fill(0.0);
        let (sums, words) = self.packed.split_at_mut(channels(c));
        for tap in self.weights.chunks_exact(c) {
            for (sum, weight) in sums.iter_mut().zip(tap) {
                *sum += weight.abs();
            }
        }
        // Rounding adds ½ per tap at most; the sum's own rounding is far less than the other half.
        let room = LARGEST - taps as f32;
        let half = channels(c) / 2;
        for (tap, words) in self
            .weights
            .chunks_exact(c)
            .zip(words.chunks_exact_mut(half))
        {
            let rounded = |i: usize| (tap[i] * factor(room, sums[i])).round_ties_even() as i16;
            for (i, word) in words[..c.div_ceil(2)].iter_mut().enumerate() {
                let upper = if 2 * i + 1 < c { rounded(2 * i + 1) } else { 0 };
                *word = pair_i16(rounded(2 * i), upper);
            }
        }
        for sum in &mut sums[..c] {
            // A product is 2¹⁵ times smaller than its factors, of which the input is 2⁷ times larger.
            *sum = match *sum {
                0.0 => 0.0,
                sum => self.scale * 256.0 / factor(room, sum),
            };
        }
    }
}

/// What weights are multiplied by, whose magnitudes have this sum; 0 if they are all 0.
#[inline(always)]
fn factor(room: f32, sum: f32) -> f32 {
    if sum == 0.0 { 0.0 } else { room / sum }
}

struct Task<'a> {
    plan: &'a Plan,
    source: Source<'a>,
    factors: &'a [f32],
    weights: &'a [f32],
    finish: Finish<'a>,
    n: usize,
    /// Output rows.
    rows: Range<usize>,
    strip: &'a mut [f32],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Plan { xs, ys, window, .. } = *self.plan;
        let pad = [window.pad_before(0, xs.h), window.pad_before(1, xs.w)];
        let rectangle = Rectangle {
            n: self.n,
            first: [
                (self.rows.start * window.stride) as isize - pad[0] as isize,
                -(pad[1] as isize),
            ],
            rows: self.plan.span(self.rows.len(), 0),
            columns: self.plan.span(ys.w, 1),
        };
        self.source.widen(s, rectangle, self.strip);
        for y in self.rows.clone() {
            let from = (y - self.rows.start) * window.stride * self.plan.row();
            let to = (self.n * ys.h + y) * ys.w * ys.c;
            let mut x = 0;
            while x + 4 <= ys.w {
                self.pixels::<S, 4>(s, from, to, x);
                x += 4;
            }
            while x < ys.w {
                self.pixels::<S, 1>(s, from, to, x);
                x += 1;
            }
        }
    }
}

impl Task<'_> {
    /// `P` pixels from column `x`, of the output row that starts at `to`, whose windows' rows start at `from`.
    #[inline(always)]
    fn pixels<S: Simd, const P: usize>(&self, s: S, from: usize, to: usize, x: usize) {
        let (step, c) = (self.plan.window.stride * self.plan.pixel(), self.plan.ys.c);
        let (from, to) = (from + x * step, to + x * c);
        let end = from
            + (P - 1) * step
            + (self.plan.window.kernel[0] - 1) * self.plan.row()
            + (self.plan.window.kernel[1] - 1) * self.plan.pixel()
            + self.plan.pixel().next_multiple_of(S::LANES);
        assert!(end <= self.strip.len(), "a window beyond the strip");
        let mut channel = 0;
        while channel + 4 * S::LANES <= c {
            // SAFETY: the windows are in the strip.
            unsafe { self.vectors::<S, P, 2>(s, from, to, channel) };
            channel += 4 * S::LANES;
        }
        while channel < c {
            // SAFETY: as above.
            unsafe { self.vectors::<S, P, 1>(s, from, to, channel) };
            channel += 2 * S::LANES;
        }
    }

    /// `V` vectors of pairs of channels from `channel`.
    ///
    /// # Safety
    /// The windows, with whole vectors, are in the strip.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        from: usize,
        to: usize,
        channel: usize,
    ) {
        let kernel = self.plan.window.kernel;
        let (pixel, half) = (self.plan.pixel(), self.plan.channels() / 2);
        let step = self.plan.window.stride * pixel;
        let mut sums = [[s.splat(0.0); V]; P];
        let mut w = self.weights.as_ptr().wrapping_add(channel / 2);
        let mut row = self.strip.as_ptr().wrapping_add(from + channel / 2);
        for _ in 0..kernel[0] {
            let mut x = row;
            for _ in 0..kernel[1] {
                for v in 0..V {
                    // SAFETY: the caller guarantees the windows; the weights have whole vectors for each tap.
                    unsafe {
                        let weight = s.load_all(w.add(v * S::LANES));
                        for p in 0..P {
                            let value = s.load_all(x.add(p * step + v * S::LANES));
                            let product = s.mul_high_i16(value, weight);
                            sums[p][v] = s.add_i16(sums[p][v], product);
                        }
                    }
                }
                x = x.wrapping_add(pixel);
                w = w.wrapping_add(half);
            }
            row = row.wrapping_add(self.plan.row());
        }
        for v in 0..V {
            let channel = channel + v * 2 * S::LANES;
            let sums: [S::V; P] = std::array::from_fn(|p| sums[p][v]);
            // SAFETY: pixels of the output, which no other task writes.
            unsafe { self.finish(s, &sums, to, channel) };
        }
    }

    /// Writes the sums of a vector of pairs of channels.
    ///
    /// # Safety
    /// No other task writes these pixels, which start at `to`.
    #[inline(always)]
    unsafe fn finish<S: Simd, const P: usize>(
        &self,
        s: S,
        sums: &[S::V; P],
        to: usize,
        channel: usize,
    ) {
        let c = self.plan.ys.c;
        let left = [c - channel, (c - channel).saturating_sub(S::LANES)];
        let masks = left.map(|left| s.mask(left));
        let (mut factors, mut offsets) = ([s.splat(0.0); 2], [s.splat(0.0); 2]);
        for i in 0..2 {
            // SAFETY: the factors have whole vectors, and the mask ends with the channels.
            unsafe {
                let at = channel + i * S::LANES;
                let factor = s.load_all(self.factors.as_ptr().add(at));
                factors[i] = s.mul(factor, self.finish.factor(s));
                if left[i] > 0 {
                    offsets[i] = self.finish.offset(s, at, masks[i]);
                }
            }
        }
        for (p, sum) in sums.iter().enumerate() {
            let mut values = s.floats_of_i16(*sum);
            for i in 0..2 {
                values[i] = s.add(s.mul(values[i], factors[i]), offsets[i]);
            }
            let first = to + p * c + channel;
            // SAFETY: the caller guarantees the pixel; the masks end with its channels.
            unsafe {
                match (left[1] >= S::LANES, left[1] > 0) {
                    (true, _) => self.finish.write_all(s, [first, first + S::LANES], values),
                    (_, true) => self
                        .finish
                        .write(s, [first, first + S::LANES], masks, values),
                    _ => self.finish.write(s, [first], [masks[0]], [values[0]]),
                }
            }
        }
    }
}
