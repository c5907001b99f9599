//! One vector abstraction over AVX-512, AVX2 + FMA and portable code, chosen at run time in [`dispatch`].
//!
//! A kernel is a struct whose `run` is written once against [`Simd`] and marked `#[inline(always)]`, as is all that it
//! calls in a loop: it is then compiled separately inside each of the functions below that enable an instruction set.
//! Vectors carry a [`Simd::Mask`] so that a row's last few channels need no second loop.

mod factors;
mod math;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use factors::{Bf16, F32, Factors};
pub(crate) use math::{activate, activate_all, activation_gradient};
pub(crate) use portable::{Portable, bf16};

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
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `1 / x` within 2 units in the last place, for finite `x` that is not zero and not subnormal.
    fn reciprocal(self, x: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, fused where the machine does so.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `value` where `x > 0`, else zero.
    fn where_positive(self, x: Self::V, value: Self::V) -> Self::V;
    /// bf16 numbers in pairs: lane `i` holds `low[i]` in its lower half and `high[i]` in its upper, rounded to nearest
    /// even. Such vectors, and the words that they are stored as, have the type of `f32` but are not `f32` numbers.
    fn pair(self, low: Self::V, high: Self::V) -> Self::V;
    /// `a_low · b_low + a_high · b_high + c` of pairs `a` and `b`, and `f32` `c`.
    fn dot(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Writes neighbouring lanes as pairs: half as many words as lanes.
    ///
    /// # Safety
    /// `LANES / 2` words at `to` are writable.
    unsafe fn store_narrow(self, to: *mut f32, value: Self::V);
    /// `x · 2ⁿ` for integral `n` in −126..=128 (2¹²⁸ may count as infinite).
    fn scale_by_power_of_two(self, x: Self::V, n: Self::V) -> Self::V;
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

/// Like [`dispatch`], for a kernel that multiplies bf16 pairs: uses the instructions for them where available.
pub(crate) fn dispatch_bf16<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    if let (Some(_), _) = found()
        && let Some(simd) = x86::Avx512::detect_bf16()
    {
        return x86::with_avx512_bf16(kernel, simd);
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
