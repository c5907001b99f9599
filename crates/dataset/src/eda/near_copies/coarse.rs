//! Sixteen numbers per image that exclude nearly all pairs.

use super::correlation::CORRELATION;
use crate::small::{BLOCK, BLOCKS, SIDE, Signature, VALUES};

/// Parts per side.
const PARTS: usize = 4;

/// Blocks of a signature per side, and per side of a part.
const ROW: usize = SIDE / BLOCK;
const PER_PART: usize = ROW / PARTS;

/// What a length of 1 is in the integers that are stored; a difference is at most twice that, and fits in 16 bits.
const SCALE: f64 = 16_000.0;

/// An image in 4 × 4 parts.
///
/// An image's grey values minus their mean, divided by their length, are a vector of length 1; two such vectors have the
/// squared distance 2 (1 − correlation). Their parts' means, times the square root of a part's number of values, are
/// coordinates in an orthonormal basis of a subspace, where distances can only be smaller: images whose coarse copies are
/// too far from one another cannot be near-identical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Coarse([i16; PARTS * PARTS]);

impl Coarse {
    /// Of an image that is not of one colour.
    pub(super) fn of(signature: &Signature) -> Self {
        let blocks = centred(signature);
        let mut parts = [0.0; PARTS * PARTS];
        for (i, block) in blocks.iter().enumerate() {
            parts[i / ROW / PER_PART * PARTS + i % ROW / PER_PART] += block;
        }
        // Each block is a coordinate already; a part has the mean of its blocks times the square root of their number.
        Self(parts.map(|sum| (sum / PER_PART as f64 * SCALE).round() as i16))
    }

    /// Of the mirror image.
    pub(super) fn mirrored(&self) -> Self {
        let mut mirrored = self.0;
        mirrored.chunks_exact_mut(PARTS).for_each(<[_]>::reverse);
        Self(mirrored)
    }

    /// Whether the images may be near-identical.
    #[inline]
    pub(super) fn is_near(&self, other: &Self) -> bool {
        self.distance(other) <= FARTHEST
    }

    #[inline]
    fn distance(&self, other: &Self) -> i32 {
        let mut sum = 0;
        for (a, b) in self.0.iter().zip(&other.0) {
            let difference = i32::from(a.wrapping_sub(*b));
            sum += difference * difference;
        }
        sum
    }
}

/// The squared distance of near-identical images is at most this. Rounding changes each of 16 differences by 1 at most,
/// and thus the distance by 4; 2772 is above the square root of 2 (1 − 0.985), times the scale.
const FARTHEST: i32 = 2776 * 2776;
const _: () = assert!(2.0 * (1.0 - CORRELATION) * SCALE * SCALE < 2772.0 * 2772.0);

/// The blocks' means as coordinates of the vector of length 1, row by row.
pub(super) fn centred(signature: &Signature) -> [f64; BLOCKS] {
    let (sum, squares) = (f64::from(signature.sum), f64::from(signature.squares));
    let mean = sum / BLOCKS as f64;
    let length = (squares - sum * sum / VALUES as f64).sqrt();
    let scale = 1.0 / (BLOCK as f64 * length);
    let mut centred = [0.0; BLOCKS];
    for (value, block) in centred.iter_mut().zip(signature.blocks()) {
        *value = (f64::from(*block) - mean) * scale;
    }
    centred
}
