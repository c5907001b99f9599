//! The code of a tensor.

use crate::simd::byte;

/// How numbers are stored as bytes: `real = scale · (code − zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// The step between two codes; positive.
    pub scale: f32,
    /// The code of 0.
    pub zero: u8,
}

impl Affine {
    /// The code whose 256 numbers cover `min..=max`, extended to contain 0. Where that leaves no range, or none with
    /// finite ends, the step is 1.
    pub fn of_range(min: f32, max: f32) -> Affine {
        let (min, max) = (min.min(0.0), max.max(0.0));
        // Divided first: the difference of two finite numbers may be infinite.
        let scale = max / 255.0 - min / 255.0;
        if !scale.is_finite() || scale < f32::MIN_POSITIVE {
            return Affine {
                scale: 1.0,
                zero: 0,
            };
        }
        let zero = byte(-min / scale);
        Affine { scale, zero }
    }

    /// The code of the number nearest to `x`; of NaN, 0.
    pub fn code(self, x: f32) -> u8 {
        byte(x * self.inverse() + f32::from(self.zero))
    }

    /// The number that `code` stands for.
    pub fn value(self, code: u8) -> f32 {
        self.scale * (f32::from(code) - f32::from(self.zero))
    }

    pub(super) fn inverse(self) -> f32 {
        1.0 / self.scale
    }
}

/// A tensor of bytes to read.
#[derive(Clone, Copy, Debug)]
pub struct Quantized<'a> {
    /// The codes.
    pub data: &'a [u8],
    /// What they stand for.
    pub affine: Affine,
}

/// Where a result goes.
#[derive(Debug)]
pub enum Output<'a> {
    /// As it is.
    F32(&'a mut [f32]),
    /// As codes, rounded to the nearest.
    U8(&'a mut [u8], Affine),
}

impl Output<'_> {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Output::F32(y) => y.len(),
            Output::U8(y, _) => y.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
