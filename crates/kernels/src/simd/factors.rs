//! The factors of products: `f32`, bf16 alone or in pairs, `i16` in pairs, or bytes.

use super::{
    Element, Kernel, Simd, bf16, dispatch, dispatch_bf16_alone, dispatch_bf16_pairs,
    dispatch_integers,
};

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
    /// Whether they are `f32` numbers themselves, which can then be read in place.
    const IN_PLACE: bool;

    /// Values in rows of `row` as words, if their memory can be read as that.
    fn in_place<X: Element>(values: &[X], row: usize) -> Option<&[f32]>;

    /// A word of numbers that are adjacent along the summed axis; `high` is used only if there are two in a word.
    fn word(low: f32, high: f32) -> f32;

    /// Each lane's [`Factors::word`].
    fn words<S: Simd>(s: S, low: S::V, high: S::V) -> S::V;

    /// Writes neighbouring numbers: `LANES / EACH` words.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V);
}

/// Single precision.
#[derive(Clone, Copy)]
pub(crate) struct F32;

/// bf16, two per word, with sums in `f32`: for machines that have instructions for them.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Pairs;

/// bf16, each in a word of its own, where it is an `f32` number: for machines that multiply only those. A product is then
/// as fast as in `f32`, and only the rounding of factors is added.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Alone;

/// `i16`, two per word, with exact sums in `i32`.
#[derive(Clone, Copy)]
pub(crate) struct I16;

/// Unsigned bytes and signed ones, four per word, with exact sums in `i32`.
#[derive(Clone, Copy)]
pub(crate) struct Bytes;

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
    const IN_PLACE: bool = true;

    fn in_place<X: Element>(values: &[X], _: usize) -> Option<&[f32]> {
        X::numbers(values)
    }

    #[inline(always)]
    fn word(low: f32, _: f32) -> f32 {
        low
    }

    #[inline(always)]
    fn words<S: Simd>(_: S, low: S::V, _: S::V) -> S::V {
        low
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store(to, s.mask(S::LANES), value) };
    }
}

impl Words for Bf16Pairs {
    const EACH: usize = 2;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.dot(a, b, c)
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch_bf16_pairs(kernel);
    }
}

impl Factors for Bf16Pairs {
    const IN_PLACE: bool = false;

    fn in_place<X: Element>(values: &[X], row: usize) -> Option<&[f32]> {
        X::pairs(values, row)
    }

    #[inline(always)]
    fn word(low: f32, high: f32) -> f32 {
        f32::from_bits(bf16(high) << 16 | bf16(low))
    }

    #[inline(always)]
    fn words<S: Simd>(s: S, low: S::V, high: S::V) -> S::V {
        s.pair(low, high)
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store_narrow(to, value) };
    }
}

impl Words for Bf16Alone {
    const EACH: usize = 1;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.mul_add(a, b, c)
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch_bf16_alone(kernel);
    }
}

impl Factors for Bf16Alone {
    const IN_PLACE: bool = false;

    fn in_place<X: Element>(_: &[X], _: usize) -> Option<&[f32]> {
        None
    }

    /// The upper half of a word whose lower half is zero is the number itself.
    #[inline(always)]
    fn word(low: f32, _: f32) -> f32 {
        Bf16Pairs::word(0.0, low)
    }

    #[inline(always)]
    fn words<S: Simd>(s: S, low: S::V, _: S::V) -> S::V {
        s.pair(s.splat(0.0), low)
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store(to, s.mask(S::LANES), Self::words(s, value, value)) };
    }
}

impl Words for I16 {
    const EACH: usize = 2;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.dot_i16(a, b, c)
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch_integers(kernel);
    }
}

impl Words for Bytes {
    const EACH: usize = 4;

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.dot_bytes(a, b, c)
    }

    fn dispatch<K: Kernel>(kernel: K) {
        dispatch_integers(kernel);
    }
}
