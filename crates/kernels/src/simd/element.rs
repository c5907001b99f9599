//! Numbers as they are stored in memory.

use super::{Kernel, Simd, bf16, dispatch, dispatch_bf16};

/// A number of which the upper half of an `f32` is stored: 8 bits of precision.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The nearest number, ties to even; NaN stays NaN.
    pub fn nearest(value: f32) -> Self {
        Self(bf16(value) as u16)
    }

    /// The number, exactly.
    pub fn get(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// A number in memory, which kernels compute with as `f32`.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    /// # Safety
    /// The lanes of `mask` at `from` are readable.
    unsafe fn load<S: Simd>(s: S, from: *const Self, mask: S::Mask) -> S::V;
    /// # Safety
    /// `LANES` numbers at `from` are readable.
    unsafe fn load_all<S: Simd>(s: S, from: *const Self) -> S::V;
    /// # Safety
    /// The lanes of `mask` at `to` are writable.
    unsafe fn store<S: Simd>(s: S, to: *mut Self, mask: S::Mask, value: S::V);
    /// As many numbers as there are words, of the words' memory: zeros if these are zero.
    fn of_words(words: &[f32]) -> &[Self];
    /// Values as `f32` numbers, if they are.
    fn numbers(values: &[Self]) -> Option<&[f32]>;
    /// Values in rows of `row` as words of two bf16 numbers, if they are stored so.
    fn pairs(values: &[Self], row: usize) -> Option<&[f32]>;
    /// Runs a kernel with the best instruction set of this machine for such numbers.
    fn dispatch<K: Kernel>(kernel: K);
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self, mask: S::Mask) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { s.load(from, mask) }
    }

    #[inline(always)]
    unsafe fn load_all<S: Simd>(s: S, from: *const Self) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { s.load_all(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut Self, mask: S::Mask, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store(to, mask, value) }
    }

    fn of_words(words: &[f32]) -> &[f32] {
        words
    }

    fn numbers(values: &[f32]) -> Option<&[f32]> {
        Some(values)
    }

    fn pairs(_: &[f32], _: usize) -> Option<&[f32]> {
        None
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch(kernel);
    }
}

impl Element for Bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self, mask: S::Mask) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { s.load_bf16(from.cast(), mask) }
    }

    #[inline(always)]
    unsafe fn load_all<S: Simd>(s: S, from: *const Self) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { s.load_bf16(from.cast(), s.mask(S::LANES)) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut Self, mask: S::Mask, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store_bf16(to.cast(), mask, value) }
    }

    fn of_words(words: &[f32]) -> &[Bf16] {
        // SAFETY: the words have twice as many numbers, of any bit pattern, at addresses that are even.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
    }

    fn numbers(_: &[Bf16]) -> Option<&[f32]> {
        None
    }

    fn pairs(values: &[Bf16], row: usize) -> Option<&[f32]> {
        let words = values.as_ptr().cast::<f32>();
        let whole = row.is_multiple_of(2) && values.len().is_multiple_of(2) && words.is_aligned();
        // SAFETY: an even number of values at an address where words may be; any bit pattern is an `f32`, and nothing is
        // computed with one.
        whole.then(|| unsafe { std::slice::from_raw_parts(words, values.len() / 2) })
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch_bf16(kernel);
    }
}
