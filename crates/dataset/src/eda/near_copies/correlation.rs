//! The correlation of two small copies, and a bound that is known without their values.

use std::borrow::Cow;

use crate::small::{Signature, VALUES};

/// Least correlation of the small copies of near-identical images. Of the 17 million pairs of 5,856 radiographs of children
/// the most similar ones that are of different images have .970; copies have .997 and more after JPEG of quality 20, halved
/// sides or a changed brightness, and .98 if 1 % of each side is cut off.
pub(super) const CORRELATION: f64 = 0.985;

/// Whether the correlation, with one image mirrored if so asked, may reach [`CORRELATION`].
pub(super) fn may_be_alike(signatures: [&Signature; 2], mirrored: bool) -> bool {
    /// More than what rounding changes.
    const ROUNDING: f64 = 1e-9;
    let [a, b] = signatures;
    let (Some(of_a), Some(of_b)) = (Statistics::of(a), Statistics::of(b)) else {
        return false;
    };
    let blocks = match mirrored {
        true => Cow::Owned(a.mirrored_blocks()),
        false => Cow::Borrowed(a.blocks()),
    };
    let most = greatest_product([&blocks, b.blocks()], [&of_a, &of_b]);
    correlation(most, [&of_a, &of_b]) >= CORRELATION - ROUNDING
}

/// What of a correlation depends on one image only, and is the same for its mirror image.
pub(super) struct Statistics {
    sum: f64,
    /// n² times the variance.
    spread: f64,
    /// The sum of the squares of the values' differences from the means of their blocks.
    within: f64,
}

impl Statistics {
    /// `None` if all values are the same: a correlation is then undefined.
    pub(super) fn of(signature: &Signature) -> Option<Self> {
        let (sum, squares) = (f64::from(signature.sum), f64::from(signature.squares));
        let spread = VALUES as f64 * squares - sum * sum;
        let blocks = signature.blocks();
        let within = squares - of_blocks(blocks, blocks);
        (spread > 0.0).then_some(Self {
            sum,
            spread,
            within,
        })
    }
}

/// Pearson's correlation of two images from their sum of products.
pub(super) fn correlation(product: f64, [a, b]: [&Statistics; 2]) -> f64 {
    // Integers below 2^53, and therefore exact.
    let covariance = VALUES as f64 * product - a.sum * b.sum;
    (covariance / (a.spread * b.spread).sqrt()).min(1.0)
}

/// Sum of products; of 4096 values it is below 2³².
pub(super) fn product(a: &[u8], b: &[u8]) -> u32 {
    let products = a.iter().zip(b).map(|(a, b)| u32::from(*a) * u32::from(*b));
    products.sum()
}

/// The greatest sum of products that two images with these sums of blocks can have: that of the blocks' means, and, of
/// what differs from them, at most the product of the two lengths (Cauchy and Schwarz).
fn greatest_product([a, b]: [&[u16]; 2], [of_a, of_b]: [&Statistics; 2]) -> f64 {
    of_blocks(a, b) + (of_a.within * of_b.within).sqrt()
}

/// The sum of products of two images in which each value is replaced by the mean of its block.
fn of_blocks(a: &[u16], b: &[u16]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| u32::from(*a) * u32::from(*b));
    let values = (VALUES / a.len().max(1)) as f64;
    products.map(u64::from).sum::<u64>() as f64 / values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small::Small;

    /// Images of which half are a changed copy of another one, from nearly the same to hardly similar.
    fn images() -> Vec<Small> {
        let mut rng = random::Rng::stream(3, 3);
        let mut images: Vec<Vec<f32>> = vec![];
        for i in 0..60 {
            let steps = [1, 3, 8, 24][i / 2 % 4];
            let draw: Vec<f32> = (0..VALUES).map(|_| rng.unit() as f32).collect();
            let smooth = |at: usize| draw[at / 64 / steps * 64 + at % 64 / steps];
            let noise = 0.01 * (i / 2) as f32;
            let image = match i % 2 {
                0 => (0..VALUES).map(smooth).collect(),
                _ => {
                    let other = &images[i - 1];
                    let changed = other.iter().zip(&draw);
                    changed
                        .map(|(v, d)| (v + noise * (d - 0.5)).clamp(0.0, 1.0))
                        .collect()
                }
            };
            images.push(image);
        }
        images.iter().map(|image| Small::of(image, 64)).collect()
    }

    #[test]
    fn the_bound_is_never_below_the_correlation_and_excludes_different_images() {
        let images = images();
        let statistics: Vec<Statistics> = images
            .iter()
            .map(|image| Statistics::of(image.signature()).unwrap())
            .collect();
        for (i, a) in images.iter().enumerate() {
            for (j, b) in images.iter().enumerate() {
                let both = [&statistics[i], &statistics[j]];
                let exact = product(&a.values().unwrap(), &b.values().unwrap());
                let exact = correlation(f64::from(exact), both);
                let blocks = [a.signature().blocks(), b.signature().blocks()];
                let bound = correlation(greatest_product(blocks, both), both);
                assert!(bound >= exact - 1e-9, "{i} {j}: {bound} < {exact}");
                // Blocks as large as those of the sums: the bound excludes what is different.
                let coarse = |i: usize| i / 2 % 4 >= 2;
                if coarse(i) && coarse(j) && i / 2 != j / 2 {
                    assert!(bound < CORRELATION, "{i} {j}: {bound}, {exact}");
                }
            }
        }
    }
}
