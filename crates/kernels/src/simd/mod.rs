//! One vector abstraction over AVX-512, AVX2 + FMA and portable code, chosen at run time in [`dispatch`].
//!
//! A kernel is a struct whose `run` is written once against [`Simd`] and marked `#[inline(always)]`, as is all that it
//! calls in a loop: it is then compiled separately inside each of the functions below that enable an instruction set.
//! Vectors carry a [`Simd::Mask`] so that a row's last few channels need no second loop.

mod element;
mod factors;
pub(crate) mod kinds;
mod math;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use element::Bf16;
pub(crate) use element::Element;
pub(crate) use factors::{Bf16Alone, Bf16Pairs, Bytes, F32, Factors, I16, Words};
pub(crate) use kinds::{Kind, with_kind};
pub(crate) use math::{activate, activate_all, activation_gradient};
pub(crate) use portable::{Portable, bf16, byte, pair_i16};

/// An instruction set. A value of such a type is proof that the machine has it.
///
/// Loads and stores access only the lanes selected by the mask; a masked-off lane loads as zero.
/// `min` and `max` return their second argument if either is NaN, as x86 does.
pub(crate) trait Simd: Copy + Send + Sync {
    const LANES: usize;
    /// Vector registers, which bound the size of the convolution's tiles.
    const REGISTERS: usize;
    type V: Copy;
    type Mask: Copy;

    /// The first `count` lanes; all if `count` is larger than the vector.
    fn mask(self, count: usize) -> Self::Mask;
    fn splat(self, value: f32) -> Self::V;
    /// # Safety
    /// The lanes of `mask` at `from` are readable.
    unsafe fn load(self, from: *const f32, mask: Self::Mask) -> Self::V;
    /// # Safety
    /// The lanes of `mask` at `to` are writable.
    unsafe fn store(self, to: *mut f32, mask: Self::Mask, value: Self::V);
    /// # Safety
    /// `LANES` values at `from` are readable.
    unsafe fn load_all(self, from: *const f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b` within a unit in the last place, and exact where `a = b`, for finite `b` whose inverse is a normal number.
    fn quotient(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, fused where the machine does so.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The sum of all lanes.
    fn sum(self, x: Self::V) -> f32;
    /// `value` where `x > 0`, else zero.
    fn where_positive(self, x: Self::V, value: Self::V) -> Self::V;
    /// bf16 numbers in pairs: lane `i` holds `low[i]` in its lower half and `high[i]` in its upper, rounded to nearest
    /// even. Such vectors, and the words that they are stored as, have the type of `f32` but are not `f32` numbers.
    fn pair(self, low: Self::V, high: Self::V) -> Self::V;
    /// `a_low · b_low + a_high · b_high + c` of pairs `a` and `b`, and `f32` `c`. For sets that [`dispatch_bf16_pairs`] picks.
    fn dot(self, _a: Self::V, _b: Self::V, _c: Self::V) -> Self::V {
        unreachable!("an instruction set that does not multiply bf16 in pairs")
    }
    /// Writes neighbouring lanes as pairs: half as many words as lanes. For sets that [`dispatch_bf16_pairs`] picks.
    ///
    /// # Safety
    /// `LANES / 2` words at `to` are writable.
    unsafe fn store_narrow(self, _to: *mut f32, _value: Self::V) {
        unreachable!("an instruction set that does not multiply bf16 in pairs")
    }
    /// 2ⁿ, where the lowest nine bits of each lane are the number n + 127 in 1..=254.
    fn power_of_two(self, biased: Self::V) -> Self::V;
    /// `a_low · b_low + a_high · b_high + c` of pairs of `i16` and of `i32` numbers `c`, exact unless it wraps. Such
    /// vectors, too, have the type of `f32`.
    fn dot_i16(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c` plus the products of the four unsigned bytes of `a` with the signed bytes of `b`, of `i32` numbers `c`; exact
    /// unless it wraps.
    fn dot_bytes(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b` of `i16` numbers; wraps.
    fn add_i16(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b` of `i16` numbers; wraps.
    fn sub_i16(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b / 2¹⁵` of `i16` numbers, rounded to nearest, ties upwards; wraps where both are −2¹⁵.
    fn mul_high_i16(self, a: Self::V, b: Self::V) -> Self::V;
    /// `128 · a` of `i16` numbers; wraps.
    fn times_128_i16(self, a: Self::V) -> Self::V;
    /// The `i16` numbers as `f32`, in order.
    fn floats_of_i16(self, x: Self::V) -> [Self::V; 2];
    /// `a + b` of `i32` numbers; wraps.
    fn add_i32(self, a: Self::V, b: Self::V) -> Self::V;
    /// The `f32` nearest to each `i32`.
    fn float_of_i32(self, x: Self::V) -> Self::V;
    /// `2 · LANES` bytes as `i16` numbers; zeros after the first `count`.
    ///
    /// # Safety
    /// `count` bytes at `from` are readable, or `2 · LANES` if it is larger.
    unsafe fn load_bytes_as_i16(self, from: *const u8, count: usize) -> Self::V;
    /// `LANES` bf16 numbers as `f32`.
    ///
    /// # Safety
    /// The lanes of `mask` at `from` are readable.
    unsafe fn load_bf16(self, from: *const u16, mask: Self::Mask) -> Self::V;
    /// Rounds to the nearest bf16 numbers, ties to even; those below the least normal one may become zero.
    ///
    /// # Safety
    /// The lanes of `mask` at `to` are writable.
    unsafe fn store_bf16(self, to: *mut u16, mask: Self::Mask, value: Self::V);
    /// `LANES` bytes as `f32` numbers.
    ///
    /// # Safety
    /// The lanes of `mask` at `from` are readable.
    unsafe fn load_bytes(self, from: *const u8, mask: Self::Mask) -> Self::V;
    /// Rounds numbers of at most 255 to the nearest of 0..=255, ties to even; NaN becomes 0.
    ///
    /// # Safety
    /// The lanes of `mask` at `to` are writable.
    unsafe fn store_bytes(self, to: *mut u8, mask: Self::Mask, value: Self::V);
    /// Like [`Simd::store_bytes`], for two whole vectors.
    ///
    /// # Safety
    /// `LANES` bytes are writable at both places.
    #[inline(always)]
    unsafe fn store_bytes_all(self, to: [*mut u8; 2], values: [Self::V; 2]) {
        for (to, value) in to.into_iter().zip(values) {
            // SAFETY: the caller guarantees it.
            unsafe { self.store_bytes(to, self.mask(Self::LANES), value) };
        }
    }
}

/// A computation written once for every instruction set; `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

/// Runs `body` for each vector of `0..len` with its offset and mask; compiled twice, so that all but the last need no
/// mask.
macro_rules! for_vectors {
    ($s:expr, $len:expr, |$at:ident, $mask:ident| $body:block) => {
        let (len, lanes) = ($len, crate::simd::lanes_of($s));
        let full = len - len % lanes;
        let mut $at = 0;
        let $mask = $s.mask(lanes);
        while $at < full {
            $body
            $at += lanes;
        }
        if $at < len {
            let $mask = $s.mask(len - $at);
            $body
        }
    };
}
pub(crate) use for_vectors;

#[inline(always)]
pub(crate) fn lanes_of<S: Simd>(_: S) -> usize {
    S::LANES
}

/// The instruction sets that were found, best first; the environment variable `KERNELS_SIMD` (`avx2` or `portable`),
/// read once, limits them, so that tests reach the slower ones too.
#[cfg(target_arch = "x86_64")]
fn found() -> (Option<x86::Avx512>, Option<x86::Avx2>) {
    static FOUND: std::sync::OnceLock<(Option<x86::Avx512>, Option<x86::Avx2>)> =
        std::sync::OnceLock::new();
    *FOUND.get_or_init(|| match std::env::var("KERNELS_SIMD").as_deref() {
        Ok("portable") => (None, None),
        Ok("avx2") => (None, x86::Avx2::detect()),
        _ => (x86::Avx512::detect(), x86::Avx2::detect()),
    })
}

/// Whether this machine has instructions that multiply bf16 pairs; otherwise bf16 is emulated, which is slower than `f32`.
pub fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return found_bf16().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether bf16 numbers are multiplied in pairs: where there are instructions for it, and by portable code, so that what
/// is common to both is tested on every machine.
pub(crate) fn pairs_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return found_bf16().is_some() || matches!(found(), (None, None));
    #[cfg(not(target_arch = "x86_64"))]
    true
}

#[cfg(target_arch = "x86_64")]
fn found_bf16() -> Option<x86::Avx512<true>> {
    found().0.and_then(|_| x86::Avx512::detect_bf16())
}

/// Like [`dispatch`], for a kernel that multiplies bf16 pairs.
///
/// # Panics
/// Panics unless [`pairs_bf16`].
pub(crate) fn dispatch_bf16_pairs<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    match found_bf16() {
        Some(simd) => return x86::with_avx512_bf16(kernel, simd),
        None => assert!(pairs_bf16(), "bf16 is not multiplied in pairs here"),
    }
    kernel.run(Portable);
}

/// Like [`dispatch`], for a kernel that multiplies bf16 numbers one by one.
///
/// # Panics
/// Panics if [`pairs_bf16`].
pub(crate) fn dispatch_bf16_alone<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    match found() {
        (Some(simd), _) => return x86::with_avx512(kernel, simd),
        (None, Some(simd)) => return x86::with_avx2(kernel, simd),
        (None, None) => {}
    }
    let _ = kernel;
    unreachable!("portable code multiplies bf16 in pairs");
}

/// Like [`dispatch`], for a kernel that writes bf16 numbers: uses the instruction that rounds to them where available.
pub(crate) fn dispatch_bf16<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = found_bf16() {
        return x86::with_avx512_bf16(kernel, simd);
    }
    dispatch(kernel);
}

/// Like [`dispatch`], for a kernel that multiplies `i16` pairs or bytes: uses the instructions for them where available.
pub(crate) fn dispatch_integers<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    if let (Some(_), _) = found()
        && let Some(simd) = x86::Avx512::detect_vnni()
    {
        return x86::with_avx512_vnni(kernel, simd);
    }
    dispatch(kernel);
}

/// Runs `kernel` with the best instruction set of this machine.
pub(crate) fn dispatch<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    match found() {
        (Some(simd), _) => return x86::with_avx512(kernel, simd),
        (None, Some(simd)) => return x86::with_avx2(kernel, simd),
        (None, None) => {}
    }
    kernel.run(Portable);
}

/// Starts to fetch a line of the caches; any address will do.
#[inline(always)]
pub(crate) fn prefetch(from: *const f32) {
    // SAFETY: part of every x86-64, and it accesses no memory that the program could observe.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Lanes of the instruction set that [`dispatch`] picks.
pub(crate) fn lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if found().0.is_some() {
        return 16;
    }
    Portable::LANES
}
