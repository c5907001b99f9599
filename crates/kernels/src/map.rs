//! Element-wise passes, with or without parameters per channel.

use crate::Accumulate;
use crate::parallel::{CHUNK, Shared, Source, for_each};
use crate::reduce::{WIDE, pixels_per_row};
use crate::simd::{Element, Kernel, Simd, for_vectors};

/// A function of `N` values and of `C` parameters of their channel.
pub(crate) trait Map<const N: usize, const C: usize>: Copy + Send + Sync {
    /// Must be `#[inline(always)]`.
    fn apply<S: Simd>(self, s: S, values: [S::V; N], params: [S::V; C]) -> S::V;
}

/// Layout of the values: samples of `sample` values, in rows of `channels`. Each sample has its own parameters.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) sample: usize,
    pub(crate) channels: usize,
}

/// `out[i] (+)= f(inputs[..][i])`.
pub(crate) fn map<X: Element, Y: Element, const N: usize>(
    f: impl Map<N, 0>,
    inputs: [&[X]; N],
    out: &mut [Y],
    acc: Accumulate,
) {
    let rows = Rows {
        sample: out.len(),
        channels: CHUNK,
    };
    map_rows(f, inputs, [], rows, out, acc);
}

/// `x[i] = f(x[i])`.
pub(crate) fn map_in_place(f: impl Map<1, 0>, x: &mut [f32]) {
    let rows = Rows {
        sample: x.len(),
        channels: CHUNK,
    };
    let x = Shared::new(x);
    run(f, [Source(x.pointer())], [], rows, x, Accumulate::Replace);
}

/// `out[i] (+)= f(inputs[..][i], params[..][sample, channel])`.
pub(crate) fn map_rows<X: Element, Y: Element, const N: usize, const C: usize>(
    f: impl Map<N, C>,
    inputs: [&[X]; N],
    params: [&[f32]; C],
    rows: Rows,
    out: &mut [Y],
    acc: Accumulate,
) {
    for input in inputs {
        assert_eq!(input.len(), out.len(), "inputs and output differ in length");
    }
    for params in params {
        // In a wider type than the lengths, so that neither product can wrap.
        assert_eq!(
            params.len() as u128 * rows.sample as u128,
            out.len() as u128 * rows.channels as u128,
            "not one parameter per channel"
        );
    }
    run(
        f,
        inputs.map(|input| Source(input.as_ptr())),
        params,
        rows,
        Shared::new(out),
        acc,
    );
}

fn run<M: Map<N, C>, X: Element, Y: Element, const N: usize, const C: usize>(
    f: M,
    inputs: [Source<X>; N],
    params: [&[f32]; C],
    rows: Rows,
    out: Shared<'_, Y>,
    acc: Accumulate,
) {
    if out.len() == 0 {
        return;
    }
    let step = (CHUNK / rows.channels).max(1) * rows.channels;
    let per_sample = rows.sample.div_ceil(step);
    let samples = out.len() / rows.sample;
    for_each(samples * per_sample, |task| {
        let (n, first) = (task / per_sample, task % per_sample * step);
        let start = n * rows.sample + first;
        let inputs = inputs.map(|input| Source(input.0.wrapping_add(start)));
        let params = params.map(|params| &params[n * rows.channels..][..rows.channels]);
        Y::dispatch(Chunk {
            f,
            inputs,
            params,
            channels: rows.channels,
            out: out.pointer().wrapping_add(start),
            len: rows.sample.min(first + step) - first,
            add: acc == Accumulate::Add,
        });
    });
}

struct Chunk<'a, M, X, Y, const N: usize, const C: usize> {
    f: M,
    inputs: [Source<X>; N],
    params: [&'a [f32]; C],
    channels: usize,
    /// The chunk's first value: a pointer, because an input may be the output itself.
    out: *mut Y,
    len: usize,
    add: bool,
}

impl<M: Map<N, C>, X: Element, Y: Element, const N: usize, const C: usize> Kernel
    for Chunk<'_, M, X, Y, N, C>
{
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let pixels = pixels_per_row(self.channels);
        let mut wide;
        let params = if C > 0 && pixels > 1 {
            wide = [[0.0; WIDE]; C];
            for (wide, params) in wide.iter_mut().zip(self.params) {
                for pixel in wide.chunks_exact_mut(self.channels).take(pixels) {
                    pixel.copy_from_slice(params);
                }
            }
            std::array::from_fn(|i| &wide[i][..])
        } else {
            self.params
        };
        self.rows(s, params, self.channels * pixels);
    }
}

impl<M: Map<N, C>, X: Element, Y: Element, const N: usize, const C: usize>
    Chunk<'_, M, X, Y, N, C>
{
    /// Rows of `width` values, for which there are as many of each parameter; the last row may be shorter.
    #[inline(always)]
    fn rows<S: Simd>(&self, s: S, params: [&[f32]; C], width: usize) {
        let mut row = 0;
        while row < self.len {
            let width = width.min(self.len - row);
            for_vectors!(s, width, |at, mask| {
                let (mut values, mut of_channel) = ([s.splat(0.0); N], [s.splat(0.0); C]);
                // SAFETY: the mask ends with the row, which is within inputs, output and parameters; chunks are
                // disjoint.
                unsafe {
                    for (value, input) in values.iter_mut().zip(self.inputs) {
                        *value = X::load(s, input.0.add(row + at), mask);
                    }
                    for (param, from) in of_channel.iter_mut().zip(params) {
                        *param = s.load(from.as_ptr().add(at), mask);
                    }
                    let to = self.out.add(row + at);
                    let mut value = self.f.apply(s, values, of_channel);
                    if self.add {
                        value = s.add(value, Y::load(s, to, mask));
                    }
                    Y::store(s, to, mask, value);
                }
            });
            row += width;
        }
    }
}
