//! A few numbers per image that exclude nearly all pairs.

use super::correlation::CORRELATION;
use crate::small::{BLOCK, BLOCKS, SIDE, Signature, VALUES};

/// Blocks of a signature per side.
pub(super) const ROW: usize = SIDE / BLOCK;

/// What a length of 1 is in the integers that are stored; a difference is at most twice that, and fits in 16 bits.
const SCALE: f64 = 16_000.0;

/// The squared distance of near-identical images is at most this. 2772 is above the square root of 2 (1 − 0.985), times
/// the scale; rounding changes each of at most 64 differences by 1 at most, and thus the distance by 8.
const FARTHEST: i32 = 2780 * 2780;
const _: () = assert!(2.0 * (1.0 - CORRELATION) * SCALE * SCALE < 2772.0 * 2772.0);

/// An image in `S` × `S` parts.
///
/// An image's grey values minus their mean, divided by their length, are a vector of length 1; two such vectors have the
/// squared distance 2 (1 − correlation). The means of their parts, times the square root of a part's number of values, are
/// coordinates in an orthonormal basis of a subspace, where distances can only be smaller: images whose outlines are too
/// far from one another cannot be near-identical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Outline<const S: usize>([[i16; S]; S]);

/// What is compared first: 4 × 8 parts. Of two neighbours in a row there are their sum and their difference, divided by √2:
/// the sums are the outline of 4 × 4 parts, by which most pairs are excluded, and the differences exclude most others.
///
/// One is read here and one there: aligned, it is in one line of the processor's caches and not in two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Coarse {
    pub(super) sums: Half,
    pub(super) differences: Half,
}

/// The sums or the differences.
pub(super) type Half = Outline<4>;

/// What is compared then.
pub(super) type Fine = Outline<ROW>;

impl Coarse {
    /// Of an image that is not of one colour.
    pub(super) fn of(signature: &Signature) -> Self {
        let blocks = centred(signature);
        let mut differences = blocks;
        // Of the two parts that make up a part of the sums, the right one counts negatively.
        let right = differences.iter_mut().skip(1).step_by(2);
        right.for_each(|block| *block = -*block);
        Self {
            sums: Outline::of_blocks(&blocks),
            differences: Outline::of_blocks(&differences),
        }
    }

    /// Of the mirror image.
    pub(super) fn mirrored(&self) -> Self {
        let Outline(differences) = self.differences.mirrored();
        Self {
            sums: self.sums.mirrored(),
            differences: Outline(differences.map(|row| row.map(|difference| -difference))),
        }
    }

    /// Whether the images may be near-identical.
    #[inline]
    pub(super) fn is_near(&self, other: &Self) -> bool {
        self.sums.is_near(&other.sums)
            && Half::are_near(
                [&self.sums, &self.differences],
                [&other.sums, &other.differences],
            )
    }

    /// Of equal sums, for tests.
    #[cfg(test)]
    pub(super) fn filled(part: i16) -> Self {
        Self {
            sums: Outline([[part; 4]; 4]),
            differences: Outline::default(),
        }
    }
}

impl<const S: usize> Outline<S> {
    /// Of an image that is not of one colour.
    pub(super) fn of(signature: &Signature) -> Self {
        Self::of_blocks(&centred(signature))
    }

    fn of_blocks(blocks: &[f64; BLOCKS]) -> Self {
        let mut parts = [[0.0; S]; S];
        for (i, block) in blocks.iter().enumerate() {
            parts[i / ROW * S / ROW][i % ROW * S / ROW] += block;
        }
        // A block is a coordinate already. A part has the mean of its blocks times the square root of their number.
        let root = (ROW / S) as f64;
        Self(parts.map(|row| row.map(|sum| (sum / root * SCALE).round() as i16)))
    }

    /// Of the mirror image.
    pub(super) fn mirrored(&self) -> Self {
        let mut mirrored = self.0;
        mirrored.iter_mut().for_each(|row| row.reverse());
        Self(mirrored)
    }

    /// Whether the images may be near-identical.
    #[inline]
    pub(super) fn is_near(&self, other: &Self) -> bool {
        self.distance(other) <= FARTHEST
    }

    /// The same for images of which each is described by two outlines, with different coordinates.
    #[inline]
    pub(super) fn are_near(own: [&Self; 2], others: [&Self; 2]) -> bool {
        own[0].distance(others[0]) + own[1].distance(others[1]) <= FARTHEST
    }

    #[inline]
    fn distance(&self, other: &Self) -> i32 {
        let mut sum = 0;
        for (a, b) in self.0.as_flattened().iter().zip(other.0.as_flattened()) {
            let difference = i32::from(a.wrapping_sub(*b));
            sum += difference * difference;
        }
        sum
    }
}

impl<const S: usize> Default for Outline<S> {
    fn default() -> Self {
        Self([[0; S]; S])
    }
}

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
