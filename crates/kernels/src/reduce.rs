//! Sums over pixels, per channel, in a fixed order.

use crate::Accumulate;
use crate::parallel::{CHUNK, Shared, for_each, part};
use crate::simd::{Element, Kernel, Simd, dispatch, for_vectors, prefetch};

/// Rows that are summed in `f32` before the sum moves to `f64`.
const BLOCK: usize = 64;
/// Rows that pass through registers together.
const GROUP: usize = 2;
/// How far ahead its inputs are requested, in values: with the processor's own prefetching alone, a thread that reads one
/// or two arrays and writes none mostly waits.
const AHEAD: usize = 1024;
/// Maximum number of partial sums.
const PARTS: usize = 16;

/// `R` terms of a pixel's channel from `N` values and `C` parameters of the channel.
pub(crate) trait Terms<const N: usize, const C: usize, const R: usize>:
    Copy + Send + Sync
{
    /// Must be `#[inline(always)]`.
    fn terms<S: Simd>(self, s: S, values: [S::V; N], params: [S::V; C]) -> [S::V; R];
}

/// Returns, for each channel, the `R` sums of the terms over all pixels: `sums[r · channels + c]`.
///
/// Pixels are summed in `f32` over [`BLOCK`] rows, then in `f64`.
pub(crate) fn sum_pixels<X: Element, const N: usize, const C: usize, const R: usize>(
    f: impl Terms<N, C, R>,
    inputs: [&[X]; N],
    params: [&[f32]; C],
    channels: usize,
) -> Vec<f64> {
    let len = inputs[0].len();
    assert!(
        inputs.iter().all(|input| input.len() == len),
        "inputs differ in length"
    );
    assert!(
        params.iter().all(|params| params.len() == channels),
        "not one parameter per channel"
    );
    assert!(
        channels > 0 && len.is_multiple_of(channels),
        "{len} values are not pixels of {channels} channels"
    );
    let pixels = pixels_per_row(channels);
    let params = params.map(|params| params.repeat(pixels));
    let (width, parts) = (channels * pixels, len.div_ceil(2 * CHUNK).clamp(1, PARTS));
    let mut partials = vec![0.0; parts * R * width];
    let shared = Shared::new(&mut partials);
    for_each(parts, |index| {
        // SAFETY: each task has its own partial sums.
        let sums = unsafe { shared.part(index * R * width..(index + 1) * R * width) };
        let range = part(len / channels, parts, index);
        dispatch(WithTerms::<_, R>(Part {
            f,
            inputs: inputs.map(|input| &input[range.start * channels..range.end * channels]),
            params: std::array::from_fn(|i| &params[i][..]),
            width,
            sums,
        }));
    });
    total::<R>(&partials, width, channels)
}

/// The sums of all parts, whose rows are several pixels wide, per channel.
fn total<const R: usize>(partials: &[f64], width: usize, channels: usize) -> Vec<f64> {
    let mut sums = vec![0.0; R * channels];
    for partial in partials.chunks_exact(R * width) {
        for (sums, row) in sums
            .chunks_exact_mut(channels)
            .zip(partial.chunks_exact(width))
        {
            for pixel in row.chunks_exact(channels) {
                sums.iter_mut()
                    .zip(pixel)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
    }
    sums
}

/// Values of a row of [`pixels_per_row`] pixels, unless a single pixel has more.
pub(crate) const WIDE: usize = 512;

/// Pixels that are taken as one row, so that pixels of few channels fill vectors, and so many of them that a sum is not
/// needed again before it is there.
pub(crate) fn pixels_per_row(channels: usize) -> usize {
    let fits = |pixels: &usize| {
        let width = pixels * channels;
        width >= WIDE / 4 && width.is_multiple_of(16)
    };
    (1..=WIDE / channels.min(WIDE)).find(fits).unwrap_or(1)
}

/// Writes `values` to `into` or adds them.
pub(crate) fn store(values: &[f64], into: &mut [f32], acc: Accumulate) {
    assert_eq!(values.len(), into.len(), "not one sum per channel");
    for (into, value) in into.iter_mut().zip(values) {
        *into = *value as f32 + if acc == Accumulate::Add { *into } else { 0.0 };
    }
}

struct Part<'a, T, X, const N: usize, const C: usize> {
    f: T,
    inputs: [&'a [X]; N],
    params: [&'a [f32]; C],
    /// Values of a row; the last one may be shorter.
    width: usize,
    sums: &'a mut [f64],
}

impl<T, X: Element, const N: usize, const C: usize> Part<'_, T, X, N, C> {
    #[inline(always)]
    fn strips<S: Simd, const R: usize>(&mut self, s: S)
    where
        T: Terms<N, C, R>,
    {
        let len = self.inputs[0].len();
        let mut block = [[0.0f32; WIDE]; R];
        for first in (0..len).step_by(BLOCK * self.width) {
            let end = len.min(first + BLOCK * self.width);
            for at in (0..self.width).step_by(WIDE) {
                let strip = WIDE.min(self.width - at);
                block.iter_mut().for_each(|block| block[..strip].fill(0.0));
                self.strip(s, first..end, at, strip, &mut block);
                for (r, block) in block.iter().enumerate() {
                    let sums = &mut self.sums[r * self.width + at..][..strip];
                    sums.iter_mut()
                        .zip(block)
                        .for_each(|(sum, value)| *sum += f64::from(*value));
                }
            }
        }
    }

    /// Adds the terms of `strip` values, from `at`, of each of the rows in `range` to `block`.
    #[inline(always)]
    fn strip<S: Simd, const R: usize>(
        &self,
        s: S,
        range: std::ops::Range<usize>,
        at: usize,
        strip: usize,
        block: &mut [[f32; WIDE]; R],
    ) where
        T: Terms<N, C, R>,
    {
        let mut row = range.start;
        while row + GROUP * self.width <= range.end {
            self.group(s, row, GROUP, at, strip, block);
            row += GROUP * self.width;
        }
        while row < range.end {
            let left = (range.end - row).saturating_sub(at);
            self.group(s, row, 1, at, strip.min(left), block);
            row += self.width;
        }
    }

    /// Adds the terms of `width` values, from `first`, of `group` rows, the first at `row`, to `block`.
    #[inline(always)]
    fn group<S: Simd, const R: usize>(
        &self,
        s: S,
        row: usize,
        group: usize,
        first: usize,
        width: usize,
        block: &mut [[f32; WIDE]; R],
    ) where
        T: Terms<N, C, R>,
    {
        for_vectors!(s, width, |at, mask| {
            let (mut params, mut sums) = ([s.splat(0.0); C], [s.splat(0.0); R]);
            // SAFETY: the mask ends with `width`, which lies within the rows of every input and within the parameters.
            unsafe {
                for (param, from) in params.iter_mut().zip(self.params) {
                    *param = s.load(from.as_ptr().add(first + at), mask);
                }
                for (sum, block) in sums.iter_mut().zip(block.iter()) {
                    *sum = s.load(block.as_ptr().add(at), mask);
                }
                for i in 0..group {
                    let from = row + i * self.width + first + at;
                    let mut values = [s.splat(0.0); N];
                    for (value, input) in values.iter_mut().zip(self.inputs) {
                        *value = X::load(s, input.as_ptr().add(from), mask);
                        prefetch(input.as_ptr().wrapping_add(from + AHEAD).cast());
                    }
                    let terms = self.f.terms(s, values, params);
                    for (sum, term) in sums.iter_mut().zip(terms) {
                        *sum = s.add(*sum, term);
                    }
                }
                for (sum, block) in sums.iter().zip(block.iter_mut()) {
                    s.store(block.as_mut_ptr().add(at), mask, *sum);
                }
            }
        });
    }
}

/// Ties the number of terms to the kernel.
struct WithTerms<P, const R: usize>(P);

impl<T: Terms<N, C, R>, X: Element, const N: usize, const C: usize, const R: usize> Kernel
    for WithTerms<Part<'_, T, X, N, C>, R>
{
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        self.0.strips::<S, R>(s);
    }
}
