//! Convolutions to a few channels, such as those of a class map: as `conv2d::few`, on codes.
//!
//! A vector holds the codes of a pixel's channels, four to a lane, or those of some neighbouring pixels; lanes are added up
//! at the end. Codes and weights are those of `gather`, and so are the sums.

use super::band::{self, Rectangle, Source};
use super::bound;
use super::write::Finish;
use super::{Affine, Quantized};
use crate::conv2d::{Inputs, few};
use crate::parallel::{for_each_with, part, workers};
use crate::simd::{Bytes, Kernel, Simd, Words, for_vectors, lanes};
use crate::{Nhwc, Window, size};
use std::mem;
use std::ops::Range;

/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 32;
/// Vectors of pixels whose sums are in registers.
const VECTORS: usize = 2;
/// Maximum number of pixels of a tile: of 16 channels, each vector of 64 codes holds four.
const PIXELS: usize = 4 * VECTORS;
/// Lanes of the widest vector.
const WIDEST: usize = 16;
/// Codes after the last pixel that a vector may reach.
const SLACK: usize = 128;

/// The plan of a convolution, which depends on shapes alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Few {
    inputs: Inputs,
    source: Nhwc,
    out: Nhwc,
    kernel: [usize; 2],
    pad: [usize; 2],
    tasks: usize,
}

impl Few {
    /// `None` where the channels do not fill the vectors of every instruction set, where the input is in parts or the window
    /// strides, or where another path is faster.
    pub(super) fn new(xs: Nhwc, inputs: Inputs, cout: usize, window: Window) -> Option<Self> {
        let fill = matches!(xs.c, 16 | 32) || xs.c.is_multiple_of(64);
        let whole = inputs.is_whole() && window.stride == 1;
        let suits = whole && fill && few::suits(xs, cout, window);
        let out = window.fitted(xs, cout);
        suits.then_some(Self {
            inputs,
            source: xs,
            out,
            kernel: window.kernel,
            pad: [window.pad_before(0, xs.h), window.pad_before(1, xs.w)],
            tasks: TASKS.div_ceil(out.n).min(out.h),
        })
    }

    /// Neighbouring pixels in a vector.
    fn together(&self) -> usize {
        (Bytes::EACH * lanes() / self.source.c).max(1)
    }

    /// Vectors of a pixel's channels.
    fn chunks(&self) -> usize {
        self.source.c.div_ceil(Bytes::EACH * lanes())
    }

    /// The scale of each output channel, what the codes of real 0 add to its sums (negated), then for each tap and vector of
    /// channels a vector for each output channel.
    pub(super) fn packed_len(&self) -> usize {
        let taps = size([self.kernel[0], self.kernel[1], self.chunks()]);
        size([taps, self.out.c, lanes()]) + 2 * few::MOST
    }

    /// Packs `w` for a part of these codes.
    pub(super) fn pack(&self, w: &[f32], code: Affine, packed: &mut [f32]) {
        let (numbers, vectors) = packed[..self.packed_len()].split_at_mut(2 * few::MOST);
        let (factors, zeros) = numbers.split_at_mut(few::MOST);
        // Also of channels that are not there.
        factors.fill(0.0);
        zeros.fill(0.0);
        for channel in 0..self.out.c {
            let scale = f64::from(code.scale);
            let weights = w.iter().skip(channel).step_by(self.out.c);
            let weights: Vec<f64> = weights.map(|w| f64::from(*w) * scale).collect();
            let factor = bound::of_bytes(&weights);
            let rounded = weights.iter().map(|w| bound::rounded(*w, factor) as i8);
            let rounded: Vec<i8> = rounded.collect();
            let zero: i32 = rounded.iter().map(|w| i32::from(*w)).sum();
            factors[channel] = (1.0 / factor) as f32;
            zeros[channel] = f32::from_bits((-zero * i32::from(code.zero)) as u32);
            self.pack_channel(&rounded, channel, vectors);
        }
    }

    /// Writes the vectors of one output channel, whose weights are `[tap, input]`.
    fn pack_channel(&self, rounded: &[i8], channel: usize, vectors: &mut [f32]) {
        let (cout, codes) = (self.out.c, Bytes::EACH * lanes());
        let chunks = rounded
            .chunks_exact(self.source.c)
            .flat_map(|tap| tap.chunks(codes));
        let into = vectors
            .chunks_exact_mut(lanes())
            .skip(channel)
            .step_by(cout);
        for (chunk, into) in chunks.zip(into) {
            // A vector of several pixels has the weights for each of them.
            let words = chunk.chunks_exact(Bytes::EACH).cycle();
            for (word, four) in into.iter_mut().zip(words) {
                let mut bytes = [0; Bytes::EACH];
                bytes.iter_mut().zip(four).for_each(|(b, w)| *b = *w as u8);
                *word = f32::from_bits(u32::from_le_bytes(bytes));
            }
        }
    }

    pub(super) fn scratch(&self) -> usize {
        size([workers(), self.task_scratch()])
    }

    fn rectangle(&self, n: usize, rows: &Range<usize>) -> Rectangle {
        Rectangle {
            n,
            first: [
                rows.start as isize - self.pad[0] as isize,
                -(self.pad[1] as isize),
            ],
            rows: rows.len() + self.kernel[0] - 1,
            columns: self.columns(),
        }
    }

    /// Input columns under a row of the output.
    fn columns(&self) -> usize {
        self.out.w + self.kernel[1] - 1
    }

    fn task_scratch(&self) -> usize {
        let rows = self.out.h.div_ceil(self.tasks) + self.kernel[0] - 1;
        let codes = size([rows, self.columns(), self.source.c]);
        // A tile at the end of a row may have pixels beyond it.
        (codes + PIXELS * self.source.c + SLACK).div_ceil(Bytes::EACH)
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
        let (numbers, weights) = packed.split_at(2 * few::MOST);
        let (factors, zeros) = numbers.split_at(few::MOST);
        let tasks = self.out.n * self.tasks;
        for_each_with(tasks, scratch, self.task_scratch(), |task, scratch| {
            Bytes::dispatch(Task {
                few: self,
                source: Source {
                    inputs: &self.inputs,
                    xs: self.source,
                    parts,
                },
                factors,
                zeros,
                weights,
                finish,
                n: task / self.tasks,
                rows: part(self.out.h, self.tasks, task % self.tasks),
                words: scratch,
            });
        });
    }
}

/// Some rows of the output.
struct Task<'a> {
    few: &'a Few,
    source: Source<'a>,
    factors: &'a [f32],
    zeros: &'a [f32],
    weights: &'a [f32],
    finish: Finish<'a>,
    n: usize,
    rows: Range<usize>,
    /// Room for the input under them.
    words: &'a mut [f32],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let band = band::bytes(mem::take(&mut self.words));
        self.source
            .copy(self.few.rectangle(self.n, &self.rows), band);
        match self.few.out.c {
            1 => self.all_rows::<S, 1>(s, band),
            2 => self.all_rows::<S, 2>(s, band),
            3 => self.all_rows::<S, 3>(s, band),
            few::MOST => self.all_rows::<S, { few::MOST }>(s, band),
            channels => unreachable!("{channels} channels are not few"),
        }
    }
}

/// What is done to the sums of a tile's pixels, one after another.
struct Channels {
    zeros: [i32; PIXELS * few::MOST],
    factors: [f32; PIXELS * few::MOST],
    offsets: [f32; PIXELS * few::MOST],
}

impl Task<'_> {
    #[inline(always)]
    fn all_rows<S: Simd, const O: usize>(&self, s: S, band: &[u8]) {
        let (few, channels) = (self.few, self.channels::<S, O>(s));
        let (c, columns) = (few.source.c, few.columns());
        let pixels = VECTORS * few.together();
        for (i, y) in self.rows.clone().enumerate() {
            for x in (0..few.out.w).step_by(pixels) {
                let sums = self.tile::<S, O>(s, &band[(i * columns + x) * c..]);
                let count = pixels.min(few.out.w - x);
                let to = ((self.n * few.out.h + y) * few.out.w + x) * O;
                self.finish::<S, O>(s, to, count, &sums, &channels);
            }
        }
    }

    /// The sums of neighbouring pixels, whose windows start at `band`: `[pixel, output]`.
    #[inline(always)]
    fn tile<S: Simd, const O: usize>(&self, s: S, band: &[u8]) -> [i32; PIXELS * few::MOST] {
        let Few { source, kernel, .. } = self.few;
        let (columns, vector) = (self.few.columns(), Bytes::EACH * S::LANES);
        let (together, chunks) = (self.few.together(), self.few.chunks());
        // From a vector of pixels to the next.
        let step = together * source.c;
        let end = ((kernel[0] - 1) * columns + kernel[1] - 1) * source.c
            + (VECTORS - 1) * step
            + chunks * vector;
        assert!(
            end <= band.len()
                && kernel[0] * kernel[1] * chunks * O * S::LANES <= self.weights.len(),
            "a tile beyond the band"
        );
        let (mut w, mut sums) = (self.weights.as_ptr(), [[s.splat(0.0); O]; VECTORS]);
        for ky in 0..kernel[0] {
            for kx in 0..kernel[1] {
                let x = band.as_ptr().wrapping_add((ky * columns + kx) * source.c);
                for chunk in 0..chunks {
                    // SAFETY: within the band and the weights, as was checked; codes are read as words.
                    unsafe {
                        for v in 0..VECTORS {
                            let x = x.add(v * step + chunk * vector).cast::<f32>();
                            let x = s.load_all(x);
                            for o in 0..O {
                                let w = s.load_all(w.add(o * S::LANES));
                                sums[v][o] = s.dot_bytes(x, w, sums[v][o]);
                            }
                        }
                        w = w.add(O * S::LANES);
                    }
                }
            }
        }
        let mut lanes = [[[0.0; WIDEST]; O]; VECTORS];
        for v in 0..VECTORS {
            for o in 0..O {
                // SAFETY: there is room for the widest vector.
                unsafe { s.store(lanes[v][o].as_mut_ptr(), s.mask(S::LANES), sums[v][o]) };
            }
        }
        let mut added = [0; PIXELS * few::MOST];
        for v in 0..VECTORS {
            for o in 0..O {
                let each = S::LANES / together;
                for (i, lanes) in lanes[v][o][..S::LANES].chunks_exact(each).enumerate() {
                    let sum = lanes.iter().map(|lane| lane.to_bits() as i32);
                    added[(v * together + i) * O + o] = sum.sum();
                }
            }
        }
        added
    }

    #[inline(always)]
    fn channels<S: Simd, const O: usize>(&self, s: S) -> Channels {
        let mut channels = Channels {
            zeros: [0; PIXELS * few::MOST],
            factors: [0.0; PIXELS * few::MOST],
            offsets: [0.0; PIXELS * few::MOST],
        };
        let mut first = [[0.0; WIDEST]; 2];
        // SAFETY: there are as many factors as that, the mask ends with the bias, and there is room for the widest vector.
        unsafe {
            let mask = s.mask(O);
            let factors = s.mul(s.load(self.factors.as_ptr(), mask), self.finish.factor(s));
            s.store(first[0].as_mut_ptr(), mask, factors);
            s.store(first[1].as_mut_ptr(), mask, self.finish.offset(s, 0, mask));
        }
        for i in 0..PIXELS * few::MOST {
            channels.zeros[i] = self.zeros[i % O].to_bits() as i32;
            channels.factors[i] = first[0][i % O];
            channels.offsets[i] = first[1][i % O];
        }
        channels
    }

    /// Writes the first `count` pixels from `to`.
    #[inline(always)]
    fn finish<S: Simd, const O: usize>(
        &self,
        s: S,
        to: usize,
        count: usize,
        sums: &[i32; PIXELS * few::MOST],
        channels: &Channels,
    ) {
        let mut values = [0.0; PIXELS * few::MOST];
        for ((value, sum), zero) in values.iter_mut().zip(sums).zip(&channels.zeros) {
            *value = sum.wrapping_add(*zero) as f32;
        }
        for_vectors!(s, count * O, |at, mask| {
            // SAFETY: the mask ends with the pixels, which follow one another in the output, and no other task writes them.
            unsafe {
                let factors = s.load(channels.factors.as_ptr().add(at), mask);
                let offsets = s.load(channels.offsets.as_ptr().add(at), mask);
                let value = s.mul(s.load(values.as_ptr().add(at), mask), factors);
                self.finish
                    .write(s, [to + at], [mask], [s.add(value, offsets)]);
            }
        });
    }
}
