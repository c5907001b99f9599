//! AVX-512 and AVX2. The fields are private to this file, so that only `detect` creates a token.

use super::{Kernel, Simd};
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, VL and BW (no processor has VL without BW); if `BF16`, also the instructions
/// for bf16, and if `VNNI`, those for sums of integer products.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool = false, const VNNI: bool = false>(());

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx512 {
    /// Like [`Avx512::detect`], with the instructions for bf16.
    pub(crate) fn detect_bf16() -> Option<Avx512<true>> {
        let found = Self::detect().is_some() && is_x86_feature_detected!("avx512bf16");
        found.then_some(Avx512(()))
    }

    /// Like [`Avx512::detect`], with the instructions for sums of integer products.
    pub(crate) fn detect_vnni() -> Option<Avx512<false, true>> {
        let found = Self::detect().is_some() && is_x86_feature_detected!("avx512vnni");
        found.then_some(Avx512(()))
    }

    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw");
        (found && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// The lanes of a vector that are accessed. Whether they are all is known separately, because masked stores are slow on
/// AMD's processors.
#[derive(Clone, Copy)]
pub(crate) struct Mask256 {
    lanes: __m256i,
    full: bool,
}

impl Mask256 {
    /// Number of lanes, at most eight.
    #[inline(always)]
    fn count(self) -> usize {
        // SAFETY: a mask is made only with a proof of the feature.
        let lanes = unsafe { _mm256_movemask_ps(_mm256_castsi256_ps(self.lanes)) };
        lanes.count_ones() as usize
    }
}

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

pub(crate) fn with_avx512<K: Kernel>(kernel: K, simd: Avx512) {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx2,fma")]
    fn run<K: Kernel>(kernel: K, simd: Avx512) {
        kernel.run(simd);
    }
    // SAFETY: `simd` is proof of the features.
    unsafe { run(kernel, simd) }
}

pub(crate) fn with_avx512_bf16<K: Kernel>(kernel: K, simd: Avx512<true>) {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")]
    fn run<K: Kernel>(kernel: K, simd: Avx512<true>) {
        kernel.run(simd);
    }
    // SAFETY: `simd` is proof of the features.
    unsafe { run(kernel, simd) }
}

pub(crate) fn with_avx512_vnni<K: Kernel>(kernel: K, simd: Avx512<false, true>) {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512vnni,avx2,fma")]
    fn run<K: Kernel>(kernel: K, simd: Avx512<false, true>) {
        kernel.run(simd);
    }
    // SAFETY: `simd` is proof of the features.
    unsafe { run(kernel, simd) }
}

pub(crate) fn with_avx2<K: Kernel>(kernel: K, simd: Avx2) {
    #[target_feature(enable = "avx2,fma")]
    fn run<K: Kernel>(kernel: K, simd: Avx2) {
        kernel.run(simd);
    }
    // SAFETY: `simd` is proof of the features.
    unsafe { run(kernel, simd) }
}

/// Methods that are one intrinsic each.
macro_rules! arithmetic {
    ($v:ty: $($method:ident = $intrinsic:ident),*) => {
        $(#[inline(always)]
        fn $method(self, a: $v, b: $v) -> $v {
            // SAFETY: `self` is proof of the feature.
            unsafe { $intrinsic(a, b) }
        })*
    };
}

/// Methods on vectors of `i16` that are one intrinsic each.
macro_rules! arithmetic_i16 {
    ($v:ty: $of:ident, $to:ident, $($method:ident = $intrinsic:ident),*) => {
        $(#[inline(always)]
        fn $method(self, a: $v, b: $v) -> $v {
            // SAFETY: `self` is proof of the feature.
            unsafe { $to($intrinsic($of(a), $of(b))) }
        })*
    };
}

impl<const BF16: bool, const VNNI: bool> Simd for Avx512<BF16, VNNI> {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    type V = __m512;
    type Mask = __mmask16;

    arithmetic!(__m512: add = _mm512_add_ps, sub = _mm512_sub_ps, mul = _mm512_mul_ps,
        min = _mm512_min_ps, max = _mm512_max_ps);

    #[inline(always)]
    fn mask(self, count: usize) -> __mmask16 {
        if count >= 16 { !0 } else { (1 << count) - 1 }
    }
    /// A 14-bit estimate of the inverse, and the quotient corrected by its remainder: a division takes longer.
    #[inline(always)]
    fn quotient(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let inverse = _mm512_rcp14_ps(b);
            let estimate = _mm512_mul_ps(a, inverse);
            let remainder = _mm512_fnmadd_ps(estimate, b, a);
            _mm512_fmadd_ps(remainder, inverse, estimate)
        }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: `self` is proof of the feature; masked-off lanes are not accessed.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, mask: __mmask16, value: __m512) {
        // SAFETY: as in `load`.
        unsafe { _mm512_mask_storeu_ps(to, mask, value) }
    }
    #[inline(always)]
    unsafe fn load_all(self, from: *const f32) -> __m512 {
        // SAFETY: the caller guarantees sixteen values.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm512_reduce_add_ps(x) }
    }
    #[inline(always)]
    fn where_positive(self, x: __m512, value: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            _mm512_maskz_mov_ps(
                _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps()),
                value,
            )
        }
    }
    #[inline(always)]
    fn power_of_two(self, biased: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(biased))) }
    }
    #[inline(always)]
    fn pair(self, low: __m512, high: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let low = _mm512_srli_epi32::<16>(self.rounded(low));
            let high = _mm512_and_si512(
                self.rounded(high),
                _mm512_set1_epi32(0xFFFF_0000_u32 as i32),
            );
            _mm512_castsi512_ps(_mm512_or_si512(low, high))
        }
    }
    #[inline(always)]
    fn dot(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        assert!(BF16, "a set that multiplies pairs of bf16");
        // SAFETY: `BF16` is proof of the feature; pairs may have any bit pattern.
        unsafe {
            let pairs = |x: __m512| std::mem::transmute::<__m512, __m512bh>(x);
            _mm512_dpbf16_ps(c, pairs(a), pairs(b))
        }
    }
    #[inline(always)]
    unsafe fn store_narrow(self, to: *mut f32, value: __m512) {
        assert!(BF16, "a set that multiplies pairs of bf16");
        // SAFETY: `BF16` is proof of the feature; the caller guarantees eight words.
        unsafe {
            let halves = _mm512_cvtneps_pbh(value);
            _mm256_storeu_si256(to.cast(), std::mem::transmute::<__m256bh, __m256i>(halves));
        }
    }

    arithmetic_i16!(__m512: _mm512_castps_si512, _mm512_castsi512_ps, add_i16 = _mm512_add_epi16,
        sub_i16 = _mm512_sub_epi16, mul_high_i16 = _mm512_mulhrs_epi16);

    #[inline(always)]
    fn times_128_i16(self, a: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi16::<7>(_mm512_castps_si512(a))) }
    }
    #[inline(always)]
    fn floats_of_i16(self, x: __m512) -> [__m512; 2] {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let x = _mm512_castps_si512(x);
            [_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x)]
                .map(|half| _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(half)))
        }
    }

    #[inline(always)]
    fn dot_i16(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature, `VNNI` of that instruction.
        unsafe {
            let [a, b, c] = [a, b, c].map(|x| _mm512_castps_si512(x));
            _mm512_castsi512_ps(if VNNI {
                _mm512_dpwssd_epi32(c, a, b)
            } else {
                _mm512_add_epi32(c, _mm512_madd_epi16(a, b))
            })
        }
    }
    #[inline(always)]
    fn dot_bytes(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature, `VNNI` of that instruction.
        unsafe {
            let [a, b, c] = [a, b, c].map(|x| _mm512_castps_si512(x));
            _mm512_castsi512_ps(if VNNI {
                _mm512_dpbusd_epi32(c, a, b)
            } else {
                // Bytes at even places, then those at odd ones, as pairs of `i16`.
                let even_a = _mm512_and_si512(a, _mm512_set1_epi16(0xFF));
                let even_b = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b));
                let (odd_a, odd_b) = (_mm512_srli_epi16::<8>(a), _mm512_srai_epi16::<8>(b));
                let c = _mm512_add_epi32(c, _mm512_madd_epi16(even_a, even_b));
                _mm512_add_epi32(c, _mm512_madd_epi16(odd_a, odd_b))
            })
        }
    }
    #[inline(always)]
    fn add_i32(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let sum = _mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(sum)
        }
    }
    #[inline(always)]
    fn float_of_i32(self, x: __m512) -> __m512 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm512_cvtepi32_ps(_mm512_castps_si512(x)) }
    }
    #[inline(always)]
    unsafe fn load_bytes_as_i16(self, from: *const u8, count: usize) -> __m512 {
        // SAFETY: `self` is proof of the feature; masked-off bytes are not accessed.
        unsafe {
            let bytes = if count >= 32 {
                _mm256_loadu_si256(from.cast())
            } else {
                _mm256_maskz_loadu_epi8((1 << count) - 1, from.cast())
            };
            _mm512_castsi512_ps(_mm512_cvtepu8_epi16(bytes))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16, mask: __mmask16) -> __m512 {
        // SAFETY: `self` is proof of the feature; masked-off numbers are not accessed.
        unsafe {
            let halves = _mm256_maskz_loadu_epi16(mask, from.cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, mask: __mmask16, value: __m512) {
        // SAFETY: as above, and `BF16` is proof of the instruction that rounds.
        unsafe {
            let halves = if BF16 {
                std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value))
            } else {
                _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(self.rounded(value)))
            };
            _mm256_mask_storeu_epi16(to.cast(), mask, halves);
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8, mask: __mmask16) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm_maskz_loadu_epi8(mask, from.cast());
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, mask: __mmask16, value: __m512) {
        // SAFETY: as above. NaN and what is below the range of `i32` convert to its smallest number.
        unsafe {
            let value = _mm512_max_epi32(_mm512_cvtps_epi32(value), _mm512_setzero_si512());
            _mm512_mask_cvtepi32_storeu_epi8(to.cast(), mask, value);
        }
    }
}

impl<const BF16: bool, const VNNI: bool> Avx512<BF16, VNNI> {
    /// Each number with its upper half rounded to nearest even; the lower half is arbitrary. NaN stays NaN if its upper
    /// half alone encodes NaN, as it does for a NaN that arithmetic produces.
    #[inline(always)]
    fn rounded(self, x: __m512) -> __m512i {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let bits = _mm512_castps_si512(x);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)))
        }
    }
}

impl Avx2 {
    /// Like [`Avx512::rounded`].
    #[inline(always)]
    fn rounded(self, x: __m256) -> __m256i {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let bits = _mm256_castps_si256(x);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)))
        }
    }
}

/// Eight ones, then eight zeros: the mask of the first `k` lanes starts at `8 − k`.
static AVX2_MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Simd for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    type V = __m256;
    type Mask = Mask256;

    arithmetic!(__m256: add = _mm256_add_ps, sub = _mm256_sub_ps, mul = _mm256_mul_ps,
        quotient = _mm256_div_ps, min = _mm256_min_ps, max = _mm256_max_ps);

    #[inline(always)]
    fn mask(self, count: usize) -> Mask256 {
        Mask256 {
            // SAFETY: the offset is 0..=8, so eight values of the table remain.
            lanes: unsafe { _mm256_loadu_si256(AVX2_MASKS.as_ptr().add(8 - count.min(8)).cast()) },
            full: count >= 8,
        }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32, mask: Mask256) -> __m256 {
        // SAFETY: `self` is proof of the feature; masked-off lanes are not accessed.
        unsafe {
            if mask.full {
                _mm256_loadu_ps(from)
            } else {
                _mm256_maskload_ps(from, mask.lanes)
            }
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, mask: Mask256, value: __m256) {
        // SAFETY: as in `load`.
        unsafe {
            if mask.full {
                _mm256_storeu_ps(to, value);
            } else {
                _mm256_maskstore_ps(to, mask.lanes, value);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_all(self, from: *const f32) -> __m256 {
        // SAFETY: the caller guarantees eight values.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sum(self, x: __m256) -> f32 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn where_positive(self, x: __m256, value: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps()), value) }
    }
    #[inline(always)]
    fn power_of_two(self, biased: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(biased))) }
    }
    #[inline(always)]
    fn pair(self, low: __m256, high: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let low = _mm256_srli_epi32::<16>(self.rounded(low));
            let high = _mm256_and_si256(
                self.rounded(high),
                _mm256_set1_epi32(0xFFFF_0000_u32 as i32),
            );
            _mm256_castsi256_ps(_mm256_or_si256(low, high))
        }
    }
    arithmetic_i16!(__m256: _mm256_castps_si256, _mm256_castsi256_ps, add_i16 = _mm256_add_epi16,
        sub_i16 = _mm256_sub_epi16, mul_high_i16 = _mm256_mulhrs_epi16);

    #[inline(always)]
    fn times_128_i16(self, a: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi16::<7>(_mm256_castps_si256(a))) }
    }
    #[inline(always)]
    fn floats_of_i16(self, x: __m256) -> [__m256; 2] {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let x = _mm256_castps_si256(x);
            [_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x)]
                .map(|half| _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(half)))
        }
    }

    #[inline(always)]
    fn dot_i16(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let [a, b, c] = [a, b, c].map(|x| _mm256_castps_si256(x));
            _mm256_castsi256_ps(_mm256_add_epi32(c, _mm256_madd_epi16(a, b)))
        }
    }
    #[inline(always)]
    fn dot_bytes(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let [a, b, c] = [a, b, c].map(|x| _mm256_castps_si256(x));
            // Bytes at even places, then those at odd ones, as pairs of `i16`.
            let even_a = _mm256_and_si256(a, _mm256_set1_epi16(0xFF));
            let even_b = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b));
            let (odd_a, odd_b) = (_mm256_srli_epi16::<8>(a), _mm256_srai_epi16::<8>(b));
            let c = _mm256_add_epi32(c, _mm256_madd_epi16(even_a, even_b));
            _mm256_castsi256_ps(_mm256_add_epi32(c, _mm256_madd_epi16(odd_a, odd_b)))
        }
    }
    #[inline(always)]
    fn add_i32(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe {
            let sum = _mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b));
            _mm256_castsi256_ps(sum)
        }
    }
    #[inline(always)]
    fn float_of_i32(self, x: __m256) -> __m256 {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm256_cvtepi32_ps(_mm256_castps_si256(x)) }
    }
    #[inline(always)]
    unsafe fn load_bytes_as_i16(self, from: *const u8, count: usize) -> __m256 {
        // SAFETY: `self` is proof of the feature; the caller guarantees the bytes, of which at most sixteen are read.
        unsafe {
            let bytes = if count >= 16 {
                _mm_loadu_si128(from.cast())
            } else {
                let mut bytes = [0u8; 16];
                std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count);
                _mm_loadu_si128(bytes.as_ptr().cast())
            };
            _mm256_castsi256_ps(_mm256_cvtepu8_epi16(bytes))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16, mask: Mask256) -> __m256 {
        // SAFETY: `self` is proof of the feature; the caller guarantees the numbers, of which at most eight are read.
        unsafe {
            let halves = if mask.full {
                _mm_loadu_si128(from.cast())
            } else {
                let mut halves = [0u16; 8];
                std::ptr::copy_nonoverlapping(from, halves.as_mut_ptr(), mask.count());
                _mm_loadu_si128(halves.as_ptr().cast())
            };
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, mask: Mask256, value: __m256) {
        // SAFETY: as above.
        unsafe {
            let upper = _mm256_srli_epi32::<16>(self.rounded(value));
            let (low, high) = (
                _mm256_castsi256_si128(upper),
                _mm256_extracti128_si256::<1>(upper),
            );
            let halves = _mm_packus_epi32(low, high);
            if mask.full {
                _mm_storeu_si128(to.cast(), halves);
            } else {
                let mut all = [0u16; 8];
                _mm_storeu_si128(all.as_mut_ptr().cast(), halves);
                std::ptr::copy_nonoverlapping(all.as_ptr(), to, mask.count());
            }
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8, mask: Mask256) -> __m256 {
        // SAFETY: as above, with at most eight bytes.
        unsafe {
            let bytes = if mask.full {
                _mm_loadl_epi64(from.cast())
            } else {
                let mut bytes = [0u8; 16];
                std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), mask.count());
                _mm_loadu_si128(bytes.as_ptr().cast())
            };
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, mask: Mask256, value: __m256) {
        // SAFETY: as above. NaN and what is below the range of `i32` convert to its smallest number.
        unsafe {
            let value = _mm256_cvtps_epi32(value);
            let (low, high) = (
                _mm256_castsi256_si128(value),
                _mm256_extracti128_si256::<1>(value),
            );
            let words = _mm_packs_epi32(low, high);
            let bytes = _mm_packus_epi16(words, words);
            if mask.full {
                _mm_storel_epi64(to.cast(), bytes);
            } else {
                let bytes = _mm_cvtsi128_si64(bytes).to_le_bytes();
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, mask.count());
            }
        }
    }
    /// Packs both vectors at once.
    #[inline(always)]
    unsafe fn store_bytes_all(self, to: [*mut u8; 2], values: [__m256; 2]) {
        // SAFETY: as above. Packing works within the halves of a register, so a vector's bytes are afterwards at words 0
        // and 4, or 1 and 5.
        unsafe {
            let [a, b] = values.map(|value| _mm256_cvtps_epi32(value));
            let words = _mm256_packs_epi32(a, b);
            let bytes = _mm256_packus_epi16(words, words);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
            let bytes = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order));
            _mm_storel_epi64(to[0].cast(), bytes);
            _mm_storeh_pd(to[1].cast(), _mm_castsi128_pd(bytes));
        }
    }
}
