//! Extremes and means.

use super::Quantized;
use crate::parallel::{CHUNK, Shared, for_each, part};
use crate::simd::{Kernel, Simd, dispatch};
use crate::{Nhwc, size};

/// Maximum number of partial results.
const PARTS: usize = 32;

/// The smallest and the largest value, in disregard of NaN; of no values, (∞, −∞).
pub fn range(x: &[f32]) -> (f32, f32) {
    let none = (f32::INFINITY, f32::NEG_INFINITY);
    let parts = x.len().div_ceil(CHUNK).clamp(1, PARTS);
    let mut partial = [none; PARTS];
    let shared = Shared::new(&mut partial);
    for_each(parts, |index| {
        // SAFETY: each task has its own result.
        let result = unsafe { shared.part(index..index + 1) };
        dispatch(Extremes {
            x: &x[part(x.len(), parts, index)],
            result: &mut result[0],
        });
    });
    partial
        .iter()
        .fold(none, |all, one| (all.0.min(one.0), all.1.max(one.1)))
}

struct Extremes<'a> {
    x: &'a [f32],
    result: &'a mut (f32, f32),
}

impl Kernel for Extremes<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        /// Independent vectors, to hide latency.
        const EACH: usize = 4;
        let (mut least, mut most) = (
            [s.splat(f32::INFINITY); EACH],
            [s.splat(f32::NEG_INFINITY); EACH],
        );
        let mut groups = self.x.chunks_exact(EACH * S::LANES);
        for group in &mut groups {
            for i in 0..EACH {
                // SAFETY: vector `i` of the group. NaN is the first argument, so that the second is the result.
                let value = unsafe { s.load_all(group.as_ptr().add(i * S::LANES)) };
                least[i] = s.min(value, least[i]);
                most[i] = s.max(value, most[i]);
            }
        }
        let mut lanes = [[0.0; 16]; 2];
        for i in 0..EACH {
            // SAFETY: no vector is longer than sixteen.
            unsafe {
                s.store(lanes[0].as_mut_ptr(), s.mask(S::LANES), least[i]);
                s.store(lanes[1].as_mut_ptr(), s.mask(S::LANES), most[i]);
            }
            self.result.0 = lanes[0][..S::LANES]
                .iter()
                .fold(self.result.0, |a, b| a.min(*b));
            self.result.1 = lanes[1][..S::LANES]
                .iter()
                .fold(self.result.1, |a, b| a.max(*b));
        }
        for value in groups.remainder() {
            self.result.0 = self.result.0.min(*value);
            self.result.1 = self.result.1.max(*value);
        }
    }
}

/// Mean over each image's pixels; `y` is `[n, c]`. The sums of codes are exact.
pub fn global_avg_pool(x: Quantized<'_>, xs: Nhwc, y: &mut [f32]) {
    assert!(
        x.data.len() == xs.len() && y.len() == size([xs.n, xs.c]),
        "quantized::global_avg_pool: length of x or y for {xs:?}"
    );
    let strips = xs.c.div_ceil(STRIP);
    let y = Shared::new(y);
    for_each(xs.n * strips, |task| {
        let (n, first) = (task / strips, task % strips * STRIP);
        let channels = STRIP.min(xs.c - first);
        // SAFETY: each task has its own channels of an image.
        let y = unsafe { y.part(n * xs.c + first..n * xs.c + first + channels) };
        let image = &x.data[n * xs.h * xs.w * xs.c..(n + 1) * xs.h * xs.w * xs.c];
        let mut sums = [0; STRIP];
        dispatch(Sums {
            image,
            c: xs.c,
            first,
            sums: &mut sums[..channels],
        });
        let (area, zero) = ((xs.h * xs.w) as f64, f64::from(x.affine.zero));
        for (y, sum) in y.iter_mut().zip(sums) {
            *y = ((sum as f64 / area - zero) * f64::from(x.affine.scale)) as f32;
        }
    });
}

/// Channels that a task sums.
const STRIP: usize = 128;

/// Sums over the pixels of an image, for some channels from `first`.
struct Sums<'a> {
    image: &'a [u8],
    c: usize,
    first: usize,
    sums: &'a mut [u64],
}

impl Kernel for Sums<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        /// Pixels whose sum cannot be more than 2¹⁶ − 1.
        const PIXELS: usize = 256;
        let pixels = self.image.len() / self.c;
        for at in (0..self.sums.len()).step_by(2 * S::LANES) {
            let count = (2 * S::LANES).min(self.sums.len() - at);
            for block in (0..pixels).step_by(PIXELS) {
                let mut sum = s.splat(0.0);
                for pixel in block..pixels.min(block + PIXELS) {
                    let from = &self.image[pixel * self.c + self.first + at..];
                    // SAFETY: at most what remains of the image is read.
                    let codes = unsafe { s.load_bytes_as_i16(from.as_ptr(), from.len()) };
                    sum = s.add_i16(sum, codes);
                }
                let mut words = [0.0; 16];
                // SAFETY: no vector is longer than sixteen.
                unsafe { s.store(words.as_mut_ptr(), s.mask(S::LANES), sum) };
                for (i, sum) in self.sums[at..at + count].iter_mut().enumerate() {
                    *sum += u64::from((words[i / 2].to_bits() >> (i % 2 * 16)) as u16);
                }
            }
        }
    }
}
