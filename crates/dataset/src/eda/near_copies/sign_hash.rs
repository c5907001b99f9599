//! Hashes by which near-identical images are found among many.

use random::Rng;

use super::whitening::Whitening;
use crate::small::BLOCKS;

/// Parts of a hash.
pub(super) const PARTS: usize = OF_TRANSFORM * TRANSFORMS;

/// Most bits of a part: with more, parts of a transform would have more bits in common than a few.
pub(super) const MOST_BITS: usize = 24;

/// Bits of a part of a hash in which near-identical images may differ.
pub(super) const RADIUS: u32 = 1;

/// Transforms, parts that are taken from each, and by how many of its rows the next part begins later.
const TRANSFORMS: usize = 12;
const OF_TRANSFORM: usize = 3;
const STEP: usize = 20;
const _: () = assert!((OF_TRANSFORM - 1) * STEP + MOST_BITS <= BLOCKS);

/// Standard deviation of what near-identical images differ by in one coordinate. The squared distance of images that
/// correlate by 0.985 is 0.03, that is 0.02² in each of 64 coordinates. Twice that finds more of the pairs that differ in
/// single blocks, and hardly fewer of those that differ in illumination (measured on radiographs from 0.01 to 0.06).
const TAU: f64 = 0.04;

/// The hash of an image: parts of some bits, each a random selection of what the image is like.
pub(super) type Hash = [u32; PARTS];

/// A number for each transform.
type Lanes<T> = [T; TRANSFORMS];

/// The hash function of a data set.
///
/// Images of one kind have much in common, so that single properties, such as the brightness of a corner, tell few of them
/// apart, and depend on one another. The means of an image's blocks
/// ([`centred`](super::outline::centred)) are therefore whitened with the covariance of the data set; a bit is the sign
/// of such a vector's product with a random direction. The directions of a part are orthogonal, so that the bits of
/// different images are nearly independent, while those of near-identical images mostly agree (Charikar 2002, "Similarity
/// estimation techniques from rounding algorithms"; whitening or rotating before the sign: Gong & Lazebnik 2011,
/// "Iterative quantization"). They are the rows of a Hadamard matrix with random signs, of which all products are computed
/// at once (Andoni et al. 2015, "Practical and optimal LSH for angular distance").
pub(super) struct SignHash {
    bits: usize,
    mean: [f64; BLOCKS],
    /// The whitening matrix by columns: in this order the sums are vectorised.
    whitening: Vec<[f32; BLOCKS]>,
    /// By block.
    signs: Vec<Lanes<f32>>,
    /// By row: added before the sign is taken, so that many images near the mean have the same bits.
    offsets: Vec<Lanes<f32>>,
}

impl SignHash {
    /// For parts of `bits` bits, and a data set with the mean and covariance of `sample`.
    pub(super) fn new(sample: &[[f64; BLOCKS]], bits: usize) -> Self {
        let whitening = Whitening::new(sample, TAU);
        let mut rng = Rng::keyed(1, &[]);
        let mut lanes = |of: &mut dyn FnMut(&mut Rng) -> f32| -> Vec<Lanes<f32>> {
            let mut lane = || [(); TRANSFORMS].map(|()| of(&mut rng));
            (0..BLOCKS).map(|_| lane()).collect()
        };
        let column = |block: usize| std::array::from_fn(|i| whitening.inverse[i][block] as f32);
        // The rows of the matrix have the length 8.
        let most = 0.1 * (BLOCKS as f64).sqrt();
        Self {
            bits,
            mean: whitening.mean,
            whitening: (0..BLOCKS).map(column).collect(),
            signs: lanes(&mut |rng| [-1.0, 1.0][rng.below(2)]),
            offsets: lanes(&mut |rng| rng.range(-most, most) as f32),
        }
    }

    /// The hash of an image with these means of its blocks.
    pub(super) fn of(&self, blocks: &[f64; BLOCKS]) -> Hash {
        let mut white = [0.0_f32; BLOCKS];
        for ((column, block), mean) in self.whitening.iter().zip(blocks).zip(&self.mean) {
            let value = (block - mean) as f32;
            let products = white.iter_mut().zip(column);
            products.for_each(|(sum, factor)| *sum += factor * value);
        }
        let mut rows = [[0.0; TRANSFORMS]; BLOCKS];
        for ((row, signs), value) in rows.iter_mut().zip(&self.signs).zip(white) {
            *row = signs.map(|sign| sign * value);
        }
        hadamard(&mut rows);
        for (row, offsets) in rows.iter_mut().zip(&self.offsets) {
            row.iter_mut().zip(offsets).for_each(|(v, o)| *v += o);
        }
        self.parts(&rows)
    }

    /// The signs: those of the first rows of each transform are one part, those of later rows another.
    fn parts(&self, rows: &[Lanes<f32>; BLOCKS]) -> Hash {
        let mut hash = [0; PARTS];
        for (i, parts) in hash.chunks_exact_mut(TRANSFORMS).enumerate() {
            for (bit, row) in rows[i * STEP..][..self.bits].iter().enumerate() {
                let signs = parts.iter_mut().zip(row);
                signs.for_each(|(part, v)| *part |= u32::from(*v > 0.0) << bit);
            }
        }
        hash
    }
}

/// The product with Sylvester's Hadamard matrix: of the columns, each on its own.
fn hadamard(rows: &mut [Lanes<f32>; BLOCKS]) {
    let mut half = 1;
    while half < BLOCKS {
        for pair in rows.chunks_exact_mut(2 * half) {
            let (upper, lower) = pair.split_at_mut(half);
            for (a, b) in upper.iter_mut().zip(lower) {
                for (a, b) in a.iter_mut().zip(b) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transforms_rows_are_at_right_angles() {
        let columns: Vec<Vec<f32>> = (0..BLOCKS)
            .map(|column| {
                let mut rows = [[0.0; TRANSFORMS]; BLOCKS];
                rows[column] = [1.0; TRANSFORMS];
                hadamard(&mut rows);
                assert!(rows.iter().all(|row| row.iter().all(|v| *v == row[0])));
                rows.map(|row| row[0]).to_vec()
            })
            .collect();
        for (i, a) in columns.iter().enumerate() {
            for (j, b) in columns.iter().enumerate() {
                let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert_eq!(dot, if i == j { BLOCKS as f32 } else { 0.0 });
            }
        }
    }

    /// Parts of all numbers of bits: every bit is set in about half of the hashes of random vectors, and two bits of a part
    /// agree in about half.
    #[test]
    fn bits_are_independent() {
        let mut rng = Rng::stream(4, 4);
        let vectors: Vec<[f64; BLOCKS]> = (0..2000)
            .map(|_| [(); BLOCKS].map(|()| rng.normal()))
            .collect();
        for bits in [1, 4, 14, 20, MOST_BITS] {
            let hash = SignHash::new(&vectors, bits);
            let hashes: Vec<Hash> = vectors.iter().map(|vector| hash.of(vector)).collect();
            let places: Vec<[usize; 2]> = (0..PARTS)
                .flat_map(|part| (0..bits).map(move |bit| [part, bit]))
                .collect();
            let is_set = |hash: &Hash, [part, bit]: [usize; 2]| hash[part] >> bit & 1 == 1;
            let half = |holds: &dyn Fn(&Hash) -> bool| {
                let n = hashes.iter().filter(|hash| holds(hash)).count();
                (850..1150).contains(&n)
            };
            for pair in places.windows(2) {
                assert!(half(&|hash| is_set(hash, pair[0])), "{bits} {pair:?}");
                let agree = |hash: &Hash| is_set(hash, pair[0]) == is_set(hash, pair[1]);
                assert!(pair[0][0] != pair[1][0] || half(&agree), "{bits} {pair:?}");
            }
            assert!(hashes.iter().flatten().all(|value| *value < 1 << bits));
        }
    }
}
