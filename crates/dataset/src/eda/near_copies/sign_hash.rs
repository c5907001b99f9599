//! Hashes by which near-identical images are found among many.

use random::Rng;
use rayon::prelude::*;

use super::images::Images;
use super::outline::centred;
use super::whitening::Whitening;
use crate::small::{BLOCK, BLOCKS, SIDE, Signature};

/// Parts of a hash.
pub(super) const PARTS: usize = 8;

/// Most bits of a part.
pub(super) const MOST_BITS: usize = 22;

/// Bits of a part of a hash in which near-identical images may differ.
pub(super) const RADIUS: u32 = 2;

/// Images of which mean and covariance are computed, at most about.
const SAMPLE: usize = 1 << 16;

/// Standard deviation of what near-identical images differ by in one coordinate. The squared distance of images that
/// correlate by 0.985 is 0.03, that is 0.02² in each of 64 coordinates. Twice that finds more of the pairs that differ in
/// single blocks, and hardly fewer of those that differ in illumination (measured on radiographs from 0.01 to 0.06).
const TAU: f64 = 0.04;

/// The hash of an image: parts of some bits, each a random selection of what the image is like.
pub(super) type Hash = [u32; PARTS];

/// The hash function of a data set.
///
/// Images of one kind have much in common, so that single properties, such as the brightness of a corner, tell few of them
/// apart, and depend on one another. The means of an image's blocks ([`centred`]) are therefore whitened with the
/// covariance of the data set; a bit is the sign of such a vector's product with a random direction. The directions of a
/// part are orthogonal, so that the bits of different images are nearly independent, while those of near-identical images
/// mostly agree (Charikar 2002, "Similarity estimation techniques from rounding algorithms"; whitening or rotating before
/// the sign: Gong & Lazebnik 2011, "Iterative quantization").
///
/// Of copies that were changed by uneven illumination or a mark, the hashes of 99 % share a part of 19 bits at a correlation of 0.985,
/// 99.9 % at 0.99 and all at 0.997 (on images with a common pattern; docs/scaling.md has other changes and images, of which
/// the worst at 0.985, other values in each block, is found in 73 %).
pub(super) struct SignHash {
    mean: [f32; BLOCKS],
    parts: Vec<Directions>,
}

/// What the bits of a part are computed with.
struct Directions {
    bits: usize,
    /// By block, its factors for each bit: in this order the sums of a part are vectorised.
    factors: Vec<[f32; MOST_BITS]>,
    /// Added before the sign is taken, so that many images near the mean have the same bits.
    offsets: [f32; MOST_BITS],
}

impl SignHash {
    /// For parts of `bits` bits.
    pub(super) fn of(images: &Images<'_>, bits: usize) -> Self {
        let step = images.len().div_ceil(SAMPLE).max(1);
        let sample = (0..images.len()).step_by(step);
        let sample = sample.map(|i| centred(images.signature(i as u32)));
        Self::new(&sample.collect::<Vec<_>>(), bits)
    }

    /// For a data set with the mean and covariance of `sample`.
    pub(super) fn new(sample: &[[f64; BLOCKS]], bits: usize) -> Self {
        let whitening = Whitening::new(sample, TAU);
        let mut rng = Rng::keyed(1, &[]);
        let parts = (0..PARTS).map(|_| Directions::new(bits, &whitening, &mut rng));
        Self {
            mean: whitening.mean.map(|mean| mean as f32),
            parts: parts.collect(),
        }
    }

    /// The hashes of all images, and of their mirror images.
    pub(super) fn of_all(&self, images: &Images<'_>) -> (Vec<Hash>, Vec<Hash>) {
        let all = (0..images.len() as u32).into_par_iter();
        all.map(|image| self.both(images.signature(image))).unzip()
    }

    /// The hash of an image, and of its mirror image.
    pub(super) fn both(&self, signature: &Signature) -> (Hash, Hash) {
        let mut blocks = centred(signature);
        let hash = self.hash(&blocks);
        blocks
            .chunks_exact_mut(SIDE / BLOCK)
            .for_each(<[_]>::reverse);
        (hash, self.hash(&blocks))
    }

    fn hash(&self, blocks: &[f64; BLOCKS]) -> Hash {
        let mut centred = [0.0; BLOCKS];
        for ((value, block), mean) in centred.iter_mut().zip(blocks).zip(&self.mean) {
            *value = *block as f32 - mean;
        }
        let mut hash = Hash::default();
        for (value, part) in hash.iter_mut().zip(&self.parts) {
            *value = part.value(&centred);
        }
        hash
    }
}

impl Directions {
    fn new(bits: usize, whitening: &Whitening<BLOCKS>, rng: &mut Rng) -> Self {
        let mut factors = vec![[0.0; MOST_BITS]; BLOCKS];
        for (bit, direction) in orthonormal(bits, rng).iter().enumerate() {
            for (block, factors) in factors.iter_mut().enumerate() {
                let rows = direction.iter().zip(&whitening.inverse);
                factors[bit] = rows.map(|(d, row)| d * row[block]).sum::<f64>() as f32;
            }
        }
        Self {
            bits,
            factors,
            offsets: [(); MOST_BITS].map(|()| rng.range(-0.1, 0.1) as f32),
        }
    }

    fn value(&self, centred: &[f32; BLOCKS]) -> u32 {
        let mut sums = self.offsets;
        for (factors, value) in self.factors.iter().zip(centred) {
            let products = sums.iter_mut().zip(factors);
            products.for_each(|(sum, factor)| *sum += factor * value);
        }
        let signs = sums.iter().take(self.bits).enumerate();
        signs.fold(0, |value, (bit, sum)| value | u32::from(*sum > 0.0) << bit)
    }
}

/// Random directions at right angles (Gram and Schmidt).
fn orthonormal(n: usize, rng: &mut Rng) -> Vec<[f64; BLOCKS]> {
    let dot =
        |a: &[f64; BLOCKS], b: &[f64; BLOCKS]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let mut directions: Vec<[f64; BLOCKS]> = vec![];
    for _ in 0..n {
        let mut new = [(); BLOCKS].map(|()| rng.normal());
        for other in &directions {
            let common = dot(&new, other);
            new.iter_mut()
                .zip(other)
                .for_each(|(v, o)| *v -= common * o);
        }
        let length = dot(&new, &new).sqrt();
        directions.push(new.map(|v| v / length));
    }
    directions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_at_right_angles() {
        let directions = orthonormal(MOST_BITS, &mut Rng::keyed(3, &[]));
        for (i, a) in directions.iter().enumerate() {
            for (j, b) in directions.iter().enumerate() {
                let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-9);
            }
        }
    }
}
