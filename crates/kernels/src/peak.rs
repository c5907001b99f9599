//! How fast this machine multiplies and reads at best, on all threads of Rayon's current pool: the limits that benchmarks
//! compare kernels with.

use crate::Precision;
use crate::parallel::{for_each, part, workers};
use crate::simd::{Bf16Alone, Bf16Pairs, F32, Factors, Kernel, Simd, dispatch, lanes, pairs_bf16};
use std::marker::PhantomData;

/// Vectors that are summed at a time: enough independent sums to hide the latency of an addition or a product.
const SUMS: usize = 12;
/// Products of each sum in a round.
const PRODUCTS: usize = 4096;

/// Multiplies and adds in registers, `rounds` times on every thread; returns the number of floating-point operations.
pub fn multiply(precision: Precision, rounds: usize) -> usize {
    match precision {
        Precision::F32 | Precision::Tf32 => multiply_with::<F32>(rounds),
        Precision::Bf16 if pairs_bf16() => multiply_with::<Bf16Pairs>(rounds),
        Precision::Bf16 => multiply_with::<Bf16Alone>(rounds),
    }
}

fn multiply_with<F: Factors>(rounds: usize) -> usize {
    struct Products<F>(PhantomData<F>);

    impl<F: Factors> Kernel for Products<F> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let (mut sums, factor) = ([s.splat(0.0); SUMS], std::hint::black_box(s.splat(0.5)));
            for _ in 0..PRODUCTS {
                for sum in &mut sums {
                    *sum = F::multiply_add(s, factor, factor, *sum);
                }
            }
            std::hint::black_box(sums);
        }
    }

    for_each(workers(), |_| {
        for _ in 0..rounds {
            F::dispatch(Products::<F>(PhantomData));
        }
    });
    2 * SUMS * PRODUCTS * lanes() * F::EACH * rounds * workers()
}

/// Reads all values `times` times, each thread a part of its own.
pub fn read(values: &[f32], times: usize) {
    struct Sum<'a>(&'a [f32]);

    impl Kernel for Sum<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let mut sums = [s.splat(0.0); SUMS];
            for chunk in self.0.chunks_exact(SUMS * S::LANES) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the chunk has that many vectors.
                    *sum = s.add(*sum, unsafe {
                        s.load_all(chunk.as_ptr().add(i * S::LANES))
                    });
                }
            }
            std::hint::black_box(sums);
        }
    }

    let threads = workers();
    for_each(threads, |thread| {
        for _ in 0..times {
            dispatch(Sum(&values[part(values.len(), threads, thread)]));
        }
    });
}
