use super::Simd;

/// Eight lanes in plain Rust, which the compiler vectorises for the target's baseline.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    let mut out = a;
    for (out, b) in out.iter_mut().zip(b) {
        *out = f(*out, b);
    }
    out
}

/// The upper half of a number, rounded to nearest even; NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    if value.is_nan() {
        bits >> 16 | 0x40
    } else {
        rounded
    }
}

impl Simd for Portable {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    type V = [f32; 8];
    type Mask = usize;

    #[inline(always)]
    fn mask(self, count: usize) -> usize {
        count.min(8)
    }
    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 8] {
        [value; 8]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32, mask: usize) -> [f32; 8] {
        let mut out = [0.0; 8];
        // SAFETY: the caller guarantees the first `mask` values, and `out` has room for them.
        unsafe { std::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), mask) };
        out
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, mask: usize, value: [f32; 8]) {
        // SAFETY: the caller guarantees the first `mask` values.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), to, mask) };
    }
    #[inline(always)]
    unsafe fn load_all(self, from: *const f32) -> [f32; 8] {
        // SAFETY: the caller guarantees eight values.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn quotient(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn min(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    /// Not `f32::mul_add`, which is a library call where the instruction is missing.
    #[inline(always)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn where_positive(self, x: [f32; 8], value: [f32; 8]) -> [f32; 8] {
        zip(x, value, |x, value| if x > 0.0 { value } else { 0.0 })
    }
    #[inline(always)]
    fn pair(self, low: [f32; 8], high: [f32; 8]) -> [f32; 8] {
        zip(low, high, |low, high| {
            f32::from_bits(bf16(high) << 16 | bf16(low))
        })
    }
    #[inline(always)]
    fn dot(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        let low = |x: f32| f32::from_bits(x.to_bits() << 16);
        let high = |x: f32| f32::from_bits(x.to_bits() & 0xFFFF_0000);
        let products = zip(a, b, |a, b| low(a) * low(b) + high(a) * high(b));
        self.add(c, products)
    }
    #[inline(always)]
    unsafe fn store_narrow(self, to: *mut f32, value: [f32; 8]) {
        let halves = value.map(|value| bf16(value) as u16);
        // SAFETY: the caller guarantees four words.
        unsafe { to.cast::<[u16; 8]>().write_unaligned(halves) };
    }
    #[inline(always)]
    fn power_of_two(self, biased: [f32; 8]) -> [f32; 8] {
        biased.map(|biased| f32::from_bits(biased.to_bits() << 23))
    }
}
