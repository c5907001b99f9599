//! Each output pixel gathers from the input pixels under its window.

use super::pack::{Order, Panels, pack, packed_len};
use super::tile::multiply_run;
use crate::parallel::{Shared, for_each_with, part, workers};
use crate::simd::{Element, Factors, Kernel, Simd, activate_all, for_vectors};
use crate::{Accumulate, Activation, Epilogue, Nhwc, Window, size};
use std::marker::PhantomData;

/// Values of a source band, which a task reads again for each panel of weights: half an L2 cache.
const BAND: usize = 96 * 1024;
/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 16;
/// A multiple of every tile's number of pixels.
const PIXELS: usize = 24;

/// What is applied to a finished sum.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) activation: Option<Activation>,
    pub(crate) acc: Accumulate,
}

impl<'a> Finish<'a> {
    /// Of a forward pass.
    pub(crate) fn new(epilogue: Epilogue<'a>) -> Self {
        Self {
            bias: epilogue.bias,
            activation: epilogue.activation,
            acc: Accumulate::Replace,
        }
    }
}

/// How the rows of pixels are laid out in the output.
#[derive(Clone, Copy)]
pub(crate) enum OutputRows {
    /// Row after row, with no gaps.
    Dense,
    /// Row `r` of `width` pixels becomes row `2r + half`: the rows of a transposed 2×2 convolution.
    EveryOtherRow { width: usize, half: usize },
}

/// A convolution with everything that its inner loops need.
#[derive(Clone, Copy)]
pub(crate) struct Gather {
    source: Nhwc,
    /// Shape of the result.
    out: Nhwc,
    kernel: [usize; 2],
    stride: usize,
    /// Spacing of the source's pixels: 2 for the input gradient of a convolution of stride 2.
    spread: usize,
    /// Padding before the first pixel, in spread pixels; negative if the forward padding exceeds `kernel − 1`.
    pad: [isize; 2],
    layout: OutputRows,
}

impl Gather {
    pub(crate) fn forward(xs: Nhwc, cout: usize, window: Window) -> Self {
        let pad = [
            window.pad_before(0, xs.h) as isize,
            window.pad_before(1, xs.w) as isize,
        ];
        let out = window.fitted(xs, cout);
        Self {
            source: xs,
            out,
            kernel: window.kernel,
            stride: window.stride,
            spread: 1,
            pad,
            layout: OutputRows::Dense,
        }
    }

    /// From `dy` to `dx`: stride and spread are swapped, and the padding becomes `kernel − 1 − padding`.
    pub(crate) fn backward(xs: Nhwc, cout: usize, window: Window) -> Self {
        let pad =
            |axis, len| window.kernel[axis] as isize - 1 - window.pad_before(axis, len) as isize;
        Self {
            source: window.fitted(xs, cout),
            out: xs,
            kernel: window.kernel,
            stride: 1,
            spread: window.stride,
            pad: [pad(0, xs.h), pad(1, xs.w)],
            layout: OutputRows::Dense,
        }
    }

    pub(crate) fn with_layout(self, layout: OutputRows) -> Self {
        Self { layout, ..self }
    }

    /// Packs `w`, which is stored in `order`.
    pub(crate) fn pack<F: Factors>(self, _: F, w: &[f32], order: Order, packed: &mut [f32]) {
        let taps = self.kernel[0] * self.kernel[1];
        pack::<F>(w, order, taps, self.source.c, self.out.c, packed);
    }

    /// Length of the packed weights.
    pub(crate) fn packed_len<F: Factors>(self, _: F) -> usize {
        let taps = self.kernel[0] * self.kernel[1];
        packed_len(taps * self.source.c.div_ceil(F::EACH), self.out.c)
    }

    pub(crate) fn scratch<F: Factors>(self, _: F) -> usize {
        self.zeros() + size([workers(), self.narrowed::<F>()])
    }

    fn zeros(self) -> usize {
        self.source.c.next_multiple_of(16)
    }

    /// Words for a task's pixels, where these are converted rather than read in place.
    fn narrowed<F: Factors>(self) -> usize {
        let (bands, _) = self.tasks(Panels::new(self.out.c).count);
        let pixels = self.out.pixels().div_ceil(PIXELS).div_ceil(bands) * PIXELS;
        if F::IN_PLACE {
            0
        } else {
            pixels * row_words::<F>(self.source.c)
        }
    }

    /// Length of the output, including the rows that the layout skips.
    fn out_len(self) -> usize {
        match self.layout {
            OutputRows::Dense => self.out.len(),
            OutputRows::EveryOtherRow { width, half } => {
                assert!(width == self.out.w && half < 2, "rows of another output");
                2 * self.out.len()
            }
        }
    }

    /// Computes `out` from `source` with packed weights. Narrow factors, and with them sources that are not `f32`, are for
    /// pointwise convolutions only.
    pub(crate) fn run<F: Factors, X: Element, Y: Element>(
        self,
        factors: F,
        source: &[X],
        packed: &[f32],
        finish: Finish<'_>,
        out: &mut [Y],
        scratch: &mut [f32],
    ) {
        assert!(
            F::IN_PLACE || self.is_pointwise(),
            "narrow factors for a window"
        );
        assert!(
            !F::IN_PLACE || F::in_place(source, self.source.c).is_some(),
            "a source of other numbers than the factors"
        );
        assert!(
            source.len() == self.source.len() && out.len() == self.out_len(),
            "{} values for {:?} or {} for {:?}",
            source.len(),
            self.source,
            out.len(),
            self.out
        );
        assert!(
            packed.len() >= self.packed_len(factors) && scratch.len() >= self.scratch(factors),
            "too little scratch or packed weights for {:?} to {} channels",
            self.source,
            self.out.c
        );
        assert!(
            finish.bias.is_none_or(|bias| bias.len() == self.out.c),
            "bias: not one value per output channel"
        );
        // Read in place of the pixels beyond the border.
        let (zeros, scratch) = scratch.split_at_mut(self.zeros());
        zeros.fill(0.0);
        let zeros = &*zeros;
        let panels = Panels::new(self.out.c);
        let (bands, groups) = self.tasks(panels.count);
        let out = Shared::new(out);
        for_each_with(
            bands * groups,
            scratch,
            self.narrowed::<F>(),
            |task, scratch| {
                F::dispatch(Task::<F, X, Y> {
                    gather: self,
                    source,
                    words: F::in_place(source, self.source.c),
                    narrowed: scratch,
                    zeros,
                    packed,
                    finish,
                    out,
                    panels,
                    pixels: self.band(bands, task / groups),
                    group: part(panels.count, groups, task % groups),
                    factors: PhantomData,
                });
            },
        );
    }

    /// Numbers of bands of pixels and of groups of panels; a task is a pair of them.
    fn tasks(self, panels: usize) -> (usize, usize) {
        let square = |step: usize| step.saturating_mul(step);
        let reuse = square(self.stride)
            .saturating_mul(self.source.c)
            .div_ceil(square(self.spread));
        let band = (BAND / reuse.max(1))
            .clamp(4 * PIXELS, 4096)
            .min(self.out.pixels().div_ceil(TASKS).max(8 * PIXELS));
        let bands = self.out.pixels().div_ceil(band).max(1);
        (bands, TASKS.div_ceil(bands).min(panels).max(1))
    }

    fn band(self, bands: usize, index: usize) -> std::ops::Range<usize> {
        let tiles = part(self.out.pixels().div_ceil(PIXELS), bands, index);
        tiles.start * PIXELS..(tiles.end * PIXELS).min(self.out.pixels())
    }

    /// Whether the output is a plain matrix product: pixel `i` of the output depends on pixel `i` of the source alone.
    fn is_pointwise(self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.spread == 1 && self.pad == [0, 0]
    }

    /// Offset of output pixel `i`.
    #[inline(always)]
    fn out_offset(self, i: usize) -> usize {
        match self.layout {
            OutputRows::Dense => i * self.out.c,
            OutputRows::EveryOtherRow { width, half } => {
                ((i / width * 2 + half) * width + i % width) * self.out.c
            }
        }
    }
}

struct Task<'a, F, X, Y> {
    gather: Gather,
    source: &'a [X],
    /// The source as words, if it can be read in place.
    words: Option<&'a [f32]>,
    /// Otherwise the task's pixels as words.
    narrowed: &'a mut [f32],
    zeros: &'a [f32],
    packed: &'a [f32],
    finish: Finish<'a>,
    out: Shared<'a, Y>,
    panels: Panels,
    pixels: std::ops::Range<usize>,
    group: std::ops::Range<usize>,
    factors: PhantomData<F>,
}

/// Words per pixel.
fn row_words<F: Factors>(channels: usize) -> usize {
    channels.next_multiple_of(16) / F::EACH
}

impl<F: Factors, X: Element, Y: Element> Kernel for Task<'_, F, X, Y> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if self.words.is_none() {
            self.narrow(s);
        }
        for index in self.group.clone() {
            let wide = S::REGISTERS >= 32;
            match self.panels.panel(index) {
                (c, 1) if wide => self.panel::<S, 12, 1>(s, c),
                (c, 2) if wide => self.panel::<S, 12, 2>(s, c),
                (c, 3) if wide => self.panel::<S, 8, 3>(s, c),
                (c, 1) => self.panel::<S, 8, 1>(s, c),
                (c, 2) => self.panel::<S, 6, 2>(s, c),
                (c, _) => self.panel::<S, 4, 3>(s, c),
            }
        }
    }
}

/// Where the window of each pixel of a tile starts, in spread pixels of the source.
struct Corners<const P: usize> {
    /// First source pixel of the image.
    image: [usize; P],
    y: [isize; P],
    x: [isize; P],
    /// Whether all windows lie within the source, with no gaps.
    inside: bool,
}

impl<F: Factors, X: Element, Y: Element> Task<'_, F, X, Y> {
    /// Writes the task's pixels as words.
    #[inline(always)]
    fn narrow<S: Simd>(&mut self, s: S) {
        let (c, row) = (self.gather.source.c, row_words::<F>(self.gather.source.c));
        let pixels = &self.source[self.pixels.start * c..self.pixels.end * c];
        for (pixel, words) in pixels
            .chunks_exact(c)
            .zip(self.narrowed.chunks_exact_mut(row))
        {
            for_vectors!(s, c, |at, mask| {
                // SAFETY: the mask ends with the pixel; a row of words has room for whole vectors.
                unsafe {
                    let value = X::load(s, pixel.as_ptr().add(at), mask);
                    F::store(s, words.as_mut_ptr().add(at / F::EACH), value);
                }
            });
        }
    }

    /// All pixels of the task for the `V` vectors of output channels from `channel`.
    #[inline(always)]
    fn panel<S: Simd, const P: usize, const V: usize>(&self, s: S, channel: usize) {
        let taps = self.gather.kernel[0] * self.gather.kernel[1];
        let rows = taps * self.gather.source.c.div_ceil(F::EACH);
        let w = &self.packed[rows * channel..rows * (channel + V * S::LANES)];
        let mask = s.mask(self.gather.out.c - channel - (V - 1) * S::LANES);
        let tiles = self.pixels.clone().step_by(P);
        let count = |first| P.min(self.pixels.end - first);
        // Two loops: with one for both, the compiler keeps the sums in memory.
        if self.gather.is_pointwise() {
            for first in tiles {
                let acc = self.pointwise_tile::<S, P, V>(s, first, count(first), w);
                self.finish_tile(s, first, count(first), channel, mask, &acc);
            }
        } else {
            for first in tiles {
                let acc = self.window_tile::<S, P, V>(s, first, count(first), w);
                self.finish_tile(s, first, count(first), channel, mask, &acc);
            }
        }
    }

    #[inline(always)]
    fn pointwise_tile<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        first: usize,
        count: usize,
        w: &[f32],
    ) -> [[S::V; V]; P] {
        let c = self.gather.source.c;
        let words = c.div_ceil(F::EACH);
        let (values, first, row) = match self.words {
            Some(source) => (source, first, words),
            None => (
                &*self.narrowed,
                first - self.pixels.start,
                row_words::<F>(c),
            ),
        };
        let mut x = [values.as_ptr(); P];
        for (p, x) in x.iter_mut().enumerate() {
            *x = values[(first + p.min(count - 1)) * row..][..words].as_ptr();
        }
        // SAFETY: each `x` was sliced to `words`; `w` has as many rows of `V` vectors.
        unsafe { multiply_run::<S, F, P, V>(s, &x, words, w.as_ptr(), [[s.splat(0.0); V]; P]) }
    }

    #[inline(always)]
    fn window_tile<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        first: usize,
        count: usize,
        w: &[f32],
    ) -> [[S::V; V]; P] {
        let Gather { source, kernel, .. } = self.gather;
        let corners = self.corners::<P>(first, count);
        // A row of the kernel is a single run if the border cuts nothing off, else one run per tap.
        let (runs, len) = if corners.inside {
            (1, kernel[1] * source.c)
        } else {
            (kernel[1], source.c)
        };
        let mut x = [self.zeros.as_ptr(); P];
        let (mut w, mut acc) = (w.as_ptr(), [[s.splat(0.0); V]; P]);
        for ky in 0..kernel[0] as isize {
            for kx in 0..runs as isize {
                for p in 0..P {
                    x[p] = self.locate(corners.image[p], corners.y[p] + ky, corners.x[p] + kx);
                }
                // SAFETY: `locate` points to the `c` values of a pixel or to as many zeros; inside, to `kernel[1]`
                // pixels. Together, the runs read each of the panel's rows once.
                acc = unsafe { multiply_run::<S, F, P, V>(s, &x, len, w, acc) };
                w = w.wrapping_add(len * V * S::LANES);
            }
        }
        acc
    }

    /// The values of the source pixel at a spread position of the image whose first pixel is `image`.
    #[inline(always)]
    fn locate(&self, image: usize, y: isize, x: isize) -> *const f32 {
        let Gather { source, spread, .. } = self.gather;
        let (y, x) = (y as usize, x as usize);
        let (row, column) = if spread == 1 {
            (y, x)
        } else {
            (y / spread, x / spread)
        };
        let gap = spread != 1 && (y % spread != 0 || x % spread != 0);
        // A negative position wraps to a huge unsigned one.
        if gap || row >= source.h || column >= source.w {
            return self.zeros.as_ptr();
        }
        // SAFETY: a pixel of the source, whose length `run` checked against its shape, and which windows read in place.
        unsafe {
            let values = self.words.unwrap_or_default().as_ptr();
            values.add((image + row * source.w + column) * source.c)
        }
    }

    #[inline(always)]
    fn corners<const P: usize>(&self, first: usize, count: usize) -> Corners<P> {
        let Gather {
            source,
            out,
            kernel,
            stride,
            spread,
            pad,
            ..
        } = self.gather;
        let mut corners = Corners {
            image: [0; P],
            y: [0; P],
            x: [0; P],
            inside: spread == 1,
        };
        let (mut n, mut oy, mut ox) = (
            first / (out.h * out.w),
            first / out.w % out.h,
            first % out.w,
        );
        for p in 0..P {
            corners.image[p] = n * source.h * source.w;
            corners.y[p] = (oy * stride) as isize - pad[0];
            corners.x[p] = (ox * stride) as isize - pad[1];
            let fits = corners.y[p] >= 0
                && corners.x[p] >= 0
                && corners.y[p] + kernel[0] as isize <= source.h as isize
                && corners.x[p] + kernel[1] as isize <= source.w as isize;
            corners.inside &= fits;
            if p + 1 < count {
                ox += 1;
                if ox == out.w {
                    (ox, oy) = (0, oy + 1);
                }
                if oy == out.h {
                    (oy, n) = (0, n + 1);
                }
            }
        }
        corners
    }

    #[inline(always)]
    fn finish_tile<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        first: usize,
        count: usize,
        channel: usize,
        mask: S::Mask,
        acc: &[[S::V; V]; P],
    ) {
        let full = s.mask(S::LANES);
        let masks: [S::Mask; V] = std::array::from_fn(|v| if v + 1 == V { mask } else { full });
        let mut bias = [s.splat(0.0); V];
        if let Some(values) = self.finish.bias {
            for v in 0..V {
                // SAFETY: `run` checked that the bias has one value per channel; the mask ends with them.
                bias[v] = unsafe { s.load(values.as_ptr().add(channel + v * S::LANES), masks[v]) };
            }
        }
        for p in 0..P {
            if p >= count {
                break;
            }
            let at = self.gather.out_offset(first + p) + channel;
            let to = self.out.pointer().wrapping_add(at);
            let mut values = acc[p];
            for v in 0..V {
                values[v] = s.add(values[v], bias[v]);
                if self.finish.acc == Accumulate::Add {
                    // SAFETY: the masked channels of an output pixel that no other task writes.
                    let before = unsafe { Y::load(s, to.add(v * S::LANES), masks[v]) };
                    values[v] = s.add(values[v], before);
                }
            }
            activate_all(s, self.finish.activation, &mut values);
            for v in 0..V {
                // SAFETY: as above.
                unsafe { Y::store(s, to.add(v * S::LANES), masks[v], values[v]) };
            }
        }
    }
}
