//! Sums over pixels, per channel, in a fixed order.

use crate::Accumulate;
use crate::parallel::{CHUNK, Shared, for_each, part};
use crate::simd::{Kernel, Simd, dispatch, for_vectors};

/// Rows that are summed in `f32` before the sum moves to `f64`.
const BLOCK: usize = 64;
/// Rows that pass through registers together.
const GROUP: usize = 4;
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
pub(crate) fn sum_pixels<const N: usize, const C: usize, const R: usize>(
    f: impl Terms<N, C, R>,
    inputs: [&[f32]; N],
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
    let parts = len.div_ceil(2 * CHUNK).clamp(1, PARTS);
    let mut partials = vec![0.0; parts * R * channels];
    let shared = Shared::new(&mut partials);
    for_each(parts, |index| {
        // SAFETY: each task has its own partial sums.
        let sums = unsafe { shared.part(index * R * channels..(index + 1) * R * channels) };
        let rows = part(len / channels, parts, index);
        let inputs = inputs.map(|input| &input[rows.start * channels..rows.end * channels]);
        dispatch(WithTerms::<_, R>(Part {
            f,
            inputs,
            params,
            channels,
            sums,
        }));
    });
    let (first, rest) = partials.split_at_mut(R * channels);
    for partial in rest.chunks_exact(R * channels) {
        first
            .iter_mut()
            .zip(partial)
            .for_each(|(sum, value)| *sum += value);
    }
    partials.truncate(R * channels);
    partials
}

/// Writes `values` to `into` or adds them.
pub(crate) fn store(values: &[f64], into: &mut [f32], acc: Accumulate) {
    assert_eq!(values.len(), into.len(), "not one sum per channel");
    for (into, value) in into.iter_mut().zip(values) {
        *into = *value as f32 + if acc == Accumulate::Add { *into } else { 0.0 };
    }
}

struct Part<'a, T, const N: usize, const C: usize> {
    f: T,
    inputs: [&'a [f32]; N],
    params: [&'a [f32]; C],
    channels: usize,
    sums: &'a mut [f64],
}

/// Channels whose `f32` sums are on the stack at a time.
const STRIP: usize = 512;

impl<T, const N: usize, const C: usize> Part<'_, T, N, C> {
    #[inline(always)]
    fn strips<S: Simd, const R: usize>(&mut self, s: S)
    where
        T: Terms<N, C, R>,
    {
        let rows = self.inputs[0].len() / self.channels;
        for first in (0..rows).step_by(BLOCK) {
            for channel in (0..self.channels).step_by(STRIP) {
                let width = STRIP.min(self.channels - channel);
                let mut block = [[0.0f32; STRIP]; R];
                let mut row = first;
                while row < rows.min(first + BLOCK) {
                    let group = GROUP.min(rows.min(first + BLOCK) - row);
                    self.group(s, row, group, channel, width, &mut block);
                    row += group;
                }
                for (r, block) in block.iter().enumerate() {
                    let sums = &mut self.sums[r * self.channels + channel..][..width];
                    sums.iter_mut()
                        .zip(block)
                        .for_each(|(sum, value)| *sum += f64::from(*value));
                }
            }
        }
    }

    /// Adds the terms of `group` rows to `block`.
    #[inline(always)]
    fn group<S: Simd, const R: usize>(
        &self,
        s: S,
        row: usize,
        group: usize,
        channel: usize,
        width: usize,
        block: &mut [[f32; STRIP]; R],
    ) where
        T: Terms<N, C, R>,
    {
        for_vectors!(s, width, |at, mask| {
            let (mut params, mut sums) = ([s.splat(0.0); C], [s.splat(0.0); R]);
            // SAFETY: the mask ends with the strip, which lies within a row of every input and within the parameters.
            unsafe {
                for (param, from) in params.iter_mut().zip(self.params) {
                    *param = s.load(from.as_ptr().add(channel + at), mask);
                }
                for (sum, block) in sums.iter_mut().zip(block.iter()) {
                    *sum = s.load(block.as_ptr().add(at), mask);
                }
                for row in row..row + group {
                    let mut values = [s.splat(0.0); N];
                    for (value, from) in values.iter_mut().zip(self.inputs) {
                        *value =
                            s.load(from.as_ptr().add(row * self.channels + channel + at), mask);
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

impl<T: Terms<N, C, R>, const N: usize, const C: usize, const R: usize> Kernel
    for WithTerms<Part<'_, T, N, C>, R>
{
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        self.0.strips::<S, R>(s);
    }
}
