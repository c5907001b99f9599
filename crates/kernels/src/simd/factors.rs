//! The factors of products: `f32`, or bf16 or `i16` in pairs.

use super::{Kernel, Simd, dispatch, dispatch_bf16, dispatch_i16};

/// How the factors of an inner product are stored. A word has 32 bits and holds [`Words::EACH`] numbers that are
/// adjacent along the summed axis; vectors of words have the type of `f32` vectors whatever they hold.
pub(crate) trait Words: Copy + Send + Sync {
    /// Numbers per word.
    const EACH: usize;

    /// `c + a · b`, over all numbers of a word.
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V;

    /// Runs a kernel with these factors.
    fn dispatch<K: Kernel>(kernel: K);
}

/// Factors that are made from `f32` numbers by rounding each.
pub(crate) trait Factors: Words {
    /// Writes neighbouring numbers: `LANES / EACH` words.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V);
}

/// Single precision.
#[derive(Clone, Copy)]
pub(crate) struct F32;

/// bf16, two per word, with sums in `f32`.
#[derive(Clone, Copy)]
pub(crate) struct Bf16;

/// `i16`, two per word, with exact sums in `i32`.
#[derive(Clone, Copy)]
pub(crate) struct I16;

impl Words for F32 {
    const EACH: usize = 1;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.mul_add(a, b, c)
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch(kernel);
    }
}

impl Factors for F32 {
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store(to, s.mask(S::LANES), value) };
    }
}

impl Words for Bf16 {
    const EACH: usize = 2;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.dot(a, b, c)
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch_bf16(kernel);
    }
}

impl Factors for Bf16 {
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store_narrow(to, value) };
    }
}

impl Words for I16 {
    const EACH: usize = 2;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.dot_i16(a, b, c)
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch_i16(kernel);
    }
}
