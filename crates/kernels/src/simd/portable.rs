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

/// The nearest of 0..=255, ties to even; NaN becomes 0.
#[inline(always)]
pub(crate) fn byte(value: f32) -> u8 {
    /// 1.5 · 2²³: adding it rounds to an integer, which is then in the lower bits.
    const ROUND: f32 = 12_582_912.0;
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 255.0 { value } else { 255.0 };
    (value + ROUND).to_bits() as u8
}

/// The lower and the upper number of a pair.
#[inline(always)]
fn halves(pair: f32) -> [i16; 2] {
    [pair.to_bits() as i16, (pair.to_bits() >> 16) as i16]
}

#[inline(always)]
fn bits(number: i32) -> f32 {
    f32::from_bits(number as u32)
}

/// The word that holds two `i16` numbers.
#[inline(always)]
pub(crate) fn pair_i16(low: i16, high: i16) -> f32 {
    f32::from_bits(u32::from(low as u16) | u32::from(high as u16) << 16)
}

#[inline(always)]
fn zip_halves(a: [f32; 8], b: [f32; 8], f: impl Fn(i16, i16) -> i16) -> [f32; 8] {
    zip(a, b, |a, b| {
        let ([a, upper_a], [b, upper_b]) = (halves(a), halves(b));
        pair_i16(f(a, b), f(upper_a, upper_b))
    })
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
    fn sum(self, x: [f32; 8]) -> f32 {
        x.iter().sum()
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
    #[inline(always)]
    fn dot_i16(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        let products = zip(a, b, |a, b| {
            let ([a, upper_a], [b, upper_b]) = (halves(a), halves(b));
            let lower = i32::from(a) * i32::from(b);
            bits(lower.wrapping_add(i32::from(upper_a) * i32::from(upper_b)))
        });
        let number = |x: f32| x.to_bits() as i32;
        zip(c, products, |c, p| bits(number(c).wrapping_add(number(p))))
    }
    #[inline(always)]
    fn dot_bytes(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        let products = zip(a, b, |a, b| {
            let (a, b) = (a.to_bits().to_le_bytes(), b.to_bits().to_le_bytes());
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i] as i8);
            bits(product(0) + product(1) + product(2) + product(3))
        });
        let number = |x: f32| x.to_bits() as i32;
        zip(c, products, |c, p| bits(number(c).wrapping_add(number(p))))
    }
    #[inline(always)]
    fn add_i16(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip_halves(a, b, i16::wrapping_add)
    }
    #[inline(always)]
    fn sub_i16(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip_halves(a, b, i16::wrapping_sub)
    }
    #[inline(always)]
    fn mul_high_i16(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip_halves(a, b, |a, b| {
            ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16
        })
    }
    #[inline(always)]
    fn times_128_i16(self, a: [f32; 8]) -> [f32; 8] {
        zip_halves(a, a, |a, _| a << 7)
    }
    #[inline(always)]
    fn floats_of_i16(self, x: [f32; 8]) -> [[f32; 8]; 2] {
        let number = |i: usize| f32::from(halves(x[i / 2])[i % 2]);
        [0, 8].map(|first| std::array::from_fn(|i| number(first + i)))
    }
    #[inline(always)]
    fn add_i32(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        let number = |x: f32| x.to_bits() as i32;
        zip(a, b, |a, b| bits(number(a).wrapping_add(number(b))))
    }
    #[inline(always)]
    fn float_of_i32(self, x: [f32; 8]) -> [f32; 8] {
        x.map(|x| x.to_bits() as i32 as f32)
    }
    #[inline(always)]
    unsafe fn load_bytes_as_i16(self, from: *const u8, count: usize) -> [f32; 8] {
        let mut bytes = [0; 16];
        // SAFETY: the caller guarantees the bytes, and there is room for sixteen.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count.min(16)) };
        let mut out = [0.0; 8];
        for (out, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *out = f32::from_bits(u32::from(pair[0]) | u32::from(pair[1]) << 16);
        }
        out
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16, mask: usize) -> [f32; 8] {
        let mut halves = [0u16; 8];
        // SAFETY: the caller guarantees the first `mask` numbers, and there is room for them.
        unsafe { std::ptr::copy_nonoverlapping(from, halves.as_mut_ptr(), mask) };
        halves.map(|half| f32::from_bits(u32::from(half) << 16))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, mask: usize, value: [f32; 8]) {
        let halves = value.map(|value| bf16(value) as u16);
        // SAFETY: the caller guarantees the first `mask` numbers.
        unsafe { std::ptr::copy_nonoverlapping(halves.as_ptr(), to, mask) };
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8, mask: usize) -> [f32; 8] {
        let mut bytes = [0u8; 8];
        // SAFETY: the caller guarantees the first `mask` bytes, and there is room for them.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), mask) };
        bytes.map(f32::from)
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, mask: usize, value: [f32; 8]) {
        let bytes = value.map(byte);
        // SAFETY: the caller guarantees the first `mask` bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, mask) };
    }
}
