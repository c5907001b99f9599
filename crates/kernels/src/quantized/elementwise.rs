//! Element-wise passes over codes.

use super::write::Finish;
use super::{Affine, Output, Quantized};
use crate::parallel::{CHUNK, for_each};
use crate::simd::{Kernel, Simd, dispatch, for_vectors};
use crate::{Nhwc, size};
use std::ops::Range;

/// The codes of `x`, rounded to the nearest.
pub fn quantize(x: &[f32], affine: Affine, y: &mut [u8]) {
    assert_eq!(x.len(), y.len(), "quantize: length of y");
    map(Floats(x), Output::U8(y, affine));
}

/// The numbers that codes stand for.
pub fn dequantize(x: Quantized<'_>, y: &mut [f32]) {
    assert_eq!(x.data.len(), y.len(), "dequantize: length of y");
    map(Codes(x), Output::F32(y));
}

/// `y = a + b`.
pub fn add(a: Quantized<'_>, b: Quantized<'_>, y: Output<'_>) {
    assert!(
        a.data.len() == y.len() && b.data.len() == y.len(),
        "quantized::add: inputs and output differ in length"
    );
    map(Sum(Codes(a), Codes(b)), y);
}

/// `y[n, …, c] = x[n, …, c] · scale[n, c]`: the scale of squeeze-and-excitation.
pub fn scale_channels(x: Quantized<'_>, xs: Nhwc, scale: &[f32], y: Output<'_>) {
    assert!(
        x.data.len() == xs.len() && y.len() == xs.len(),
        "quantized::scale_channels: length of x or y for {xs:?}"
    );
    assert_eq!(
        scale.len(),
        size([xs.n, xs.c]),
        "quantized::scale_channels: length of the scale for {xs:?}"
    );
    if xs.is_empty() {
        return;
    }
    let (image, step) = (xs.h * xs.w * xs.c, (CHUNK / xs.c).max(1) * xs.c);
    let (per_image, y) = (image.div_ceil(step), Finish::plain(y));
    for_each(xs.n * per_image, |task| {
        let (n, first) = (task / per_image, task % per_image * step);
        dispatch(Rows {
            x: Codes(x),
            scale: &scale[n * xs.c..(n + 1) * xs.c],
            range: n * image + first..n * image + image.min(first + step),
            y,
        });
    });
}

/// Numbers by their index.
trait Values: Copy + Send + Sync {
    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The values of `mask` at `at` exist.
    unsafe fn load<S: Simd>(&self, s: S, at: usize, mask: S::Mask) -> S::V;
}

#[derive(Clone, Copy)]
struct Floats<'a>(&'a [f32]);

#[derive(Clone, Copy)]
struct Codes<'a>(Quantized<'a>);

#[derive(Clone, Copy)]
struct Sum<'a>(Codes<'a>, Codes<'a>);

impl Values for Floats<'_> {
    /// # Safety
    /// As the trait's.
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, s: S, at: usize, mask: S::Mask) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { s.load(self.0.as_ptr().add(at), mask) }
    }
}

impl Values for Codes<'_> {
    /// # Safety
    /// As the trait's.
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, s: S, at: usize, mask: S::Mask) -> S::V {
        let Affine { scale, zero } = self.0.affine;
        // SAFETY: the caller guarantees it.
        let codes = unsafe { s.load_bytes(self.0.data.as_ptr().add(at), mask) };
        s.mul(s.sub(codes, s.splat(f32::from(zero))), s.splat(scale))
    }
}

impl Values for Sum<'_> {
    /// # Safety
    /// As the trait's.
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, s: S, at: usize, mask: S::Mask) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { s.add(self.0.load(s, at, mask), self.1.load(s, at, mask)) }
    }
}

fn map(x: impl Values, y: Output<'_>) {
    let y = Finish::plain(y);
    for_each(y.len().div_ceil(CHUNK), |task| {
        dispatch(Chunk {
            x,
            range: task * CHUNK..y.len().min((task + 1) * CHUNK),
            y,
        });
    });
}

struct Chunk<'a, X> {
    x: X,
    range: Range<usize>,
    y: Finish<'a>,
}

impl<X: Values> Kernel for Chunk<'_, X> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        /// Vectors that are written together.
        const EACH: usize = 4;
        let mut at = self.range.start;
        let all = s.mask(S::LANES);
        while at + EACH * S::LANES <= self.range.end {
            let places: [usize; EACH] = std::array::from_fn(|i| at + i * S::LANES);
            let mut values = [s.splat(0.0); EACH];
            // SAFETY: vectors of the chunk, which no other task writes; inputs are as long as the output.
            unsafe {
                for i in 0..EACH {
                    values[i] = self.y.scaled(s, self.x.load(s, places[i], all));
                }
                self.y.write_all(s, places, values);
            }
            at += EACH * S::LANES;
        }
        let left = self.range.end - at;
        for_vectors!(s, left, |i, mask| {
            // SAFETY: as above; the mask ends with the chunk.
            unsafe {
                let value = self.y.scaled(s, self.x.load(s, at + i, mask));
                self.y.write(s, [at + i], [mask], [value]);
            }
        });
    }
}

/// Whole pixels of an image.
struct Rows<'a> {
    x: Codes<'a>,
    /// Of the image's channels.
    scale: &'a [f32],
    range: Range<usize>,
    y: Finish<'a>,
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (c, all) = (self.scale.len(), s.mask(S::LANES));
        let pairs = c - c % (2 * S::LANES);
        for pixel in self.range.clone().step_by(c) {
            for at in (0..pairs).step_by(2 * S::LANES) {
                let at = [at, at + S::LANES];
                // SAFETY: whole vectors of the channels of the scale and of a pixel, which no other task writes.
                unsafe {
                    let low = self.value(s, pixel, at[0], all);
                    let high = self.value(s, pixel, at[1], all);
                    self.y
                        .write_all(s, [pixel + at[0], pixel + at[1]], [low, high]);
                }
            }
            for_vectors!(s, c - pairs, |i, mask| {
                let at = pairs + i;
                // SAFETY: as above; the mask ends with the channels.
                unsafe {
                    let value = self.value(s, pixel, at, mask);
                    self.y.write(s, [pixel + at], [mask], [value]);
                }
            });
        }
    }
}

impl Rows<'_> {
    /// The scaled channels of `mask` from `at`.
    ///
    /// # Safety
    /// The pixel has these channels.
    #[inline(always)]
    unsafe fn value<S: Simd>(&self, s: S, pixel: usize, at: usize, mask: S::Mask) -> S::V {
        // SAFETY: the caller guarantees the channels, of which the scale has as many.
        unsafe {
            let scale = s.load(self.scale.as_ptr().add(at), mask);
            let value = s.mul(self.x.load(s, pixel + at, mask), scale);
            self.y.scaled(s, value)
        }
    }
}
