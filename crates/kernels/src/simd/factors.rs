//! The factors of products: `f32`, or bf16 in pairs.

use super::{Kernel, Simd, dispatch, dispatch_bf16};

/// How the factors of an inner product are stored. A word has 32 bits and holds [`Factors::EACH`] numbers that are
/// adjacent along the summed axis; vectors of words have the type of `f32` vectors whatever they hold.
pub(crate) trait Factors: Copy + Send + Sync {
    /// Numbers per word.
    const EACH: usize;

    /// `c + a · b`, over all numbers of a word.
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V;

    /// Writes neighbouring numbers: `LANES / EACH` words.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V);

    /// Runs a kernel with these factors.
    fn dispatch<K: Kernel>(kernel: K);
}

/// Single precision.
#[derive(Clone, Copy)]
pub(crate) struct F32;

/// bf16, two per word, with sums in `f32`.
#[derive(Clone, Copy)]
pub(crate) struct Bf16;

impl Factors for F32 {
    const EACH: usize = 1;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.mul_add(a, b, c)
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store(to, s.mask(S::LANES), value) };
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch(kernel);
    }
}

impl Factors for Bf16 {
    const EACH: usize = 2;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.dot(a, b, c)
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store_narrow(to, value) };
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch_bf16(kernel);
    }
}
