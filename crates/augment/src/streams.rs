//! The random number streams of a sample, and the distributions that only augmentation uses.
//!
//! Each transform draws from its own stream: switching one on or off does not change what the others draw.

use random::{Rng, finalize, hash};

use crate::math;

/// What a stream of numbers is for. The discriminants are part of every recorded run: never renumber.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Rotation = 1,
    FlipHorizontal = 2,
    FlipVertical = 3,
    Zoom = 4,
    Shift = 5,
    Shear = 6,
    Brightness = 7,
    Contrast = 8,
    Gamma = 9,
    NoiseStrength = 10,
    NoisePixels = 11,
    Blur = 12,
    Border = 13,
    Erase = 14,
    Elastic = 15,
    ElasticGrid = 16,
    Crop = 17,
    Jpeg = 18,
}

/// The stream of `seed` for `purpose`.
pub(crate) fn stream(seed: u64, purpose: Purpose) -> Rng {
    // After multiplication by an odd constant, purposes differ in bits all over the word.
    let purpose = (purpose as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Rng::from_state(finalize(hash(seed, &[]) ^ purpose))
}

/// A number between `low` and `high`, both above 0, whose logarithm is uniform.
pub(crate) fn log_uniform(rng: &mut Rng, low: f64, high: f64) -> f64 {
    let [from, to] = [low, high].map(|end| f64::from(math::log2(end as f32)));
    let drawn = math::exp2(rng.range(from, to) as f32);
    // Rounding to single precision must not take the value out of the range.
    f64::from(drawn).clamp(low, high)
}

/// A number with mean 0 and variance 1, normal except in its tails: the `index`-th of the stream.
///
/// The sum of eight uniform 16-bit numbers (Irwin–Hall): kurtosis 2.85, where the normal distribution
/// has 3, and never beyond 4.9 standard deviations. It needs no logarithm or cosine, is exact on every platform, and on
/// 8-bit images makes no visible difference. Reads the stream at `2·index` and `2·index + 1`.
pub(crate) fn normal_at(rng: &Rng, index: u64) -> f32 {
    const MEAN: i32 = 4 * 65_535;
    // Variance of a uniform number on 0..=65535 is (2³² − 1)/12; of eight of them, eight times that.
    const SCALE: f32 = 1.868_812_4e-5;
    let sum = sum_of_halves(rng.at(2 * index)) + sum_of_halves(rng.at(2 * index + 1));
    (sum - MEAN) as f32 * SCALE
}

/// The sum of the four 16-bit parts of `bits`.
fn sum_of_halves(bits: u64) -> i32 {
    const EVEN: u64 = 0x0000_FFFF_0000_FFFF;
    let pairs = (bits & EVEN) + ((bits >> 16) & EVEN);
    ((pairs & 0xFFFF_FFFF) + (pairs >> 32)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every recorded run depends on them.
    #[test]
    fn the_streams_of_purposes_never_change() {
        assert_eq!(stream(1, Purpose::Zoom).next_u64(), 0xccc9_8c3d_2c3b_e303);
    }

    #[test]
    fn uniform_numbers_are_flat_over_neighbouring_seeds() {
        let mut counts = [0usize; 10];
        for seed in 0..20_000 {
            counts[(stream(seed, Purpose::Zoom).unit() * 10.0) as usize] += 1;
        }
        // Chi-square with 9 degrees of freedom: 27.9 is its 99.9 % point.
        let chi_square: f64 = counts
            .iter()
            .map(|&n| (n as f64 - 2000.0).powi(2) / 2000.0)
            .sum();
        assert!(chi_square < 27.9, "{counts:?}");
    }

    #[test]
    fn normal_numbers_have_the_documented_moments() {
        let stream = stream(3, Purpose::NoisePixels);
        let n = 200_000;
        let moment = |power| {
            (0..n)
                .map(|i| f64::from(normal_at(&stream, i)).powi(power))
                .sum::<f64>()
                / n as f64
        };
        assert!(
            moment(1).abs() < 0.01 && moment(3).abs() < 0.02,
            "mean {}, skew {}",
            moment(1),
            moment(3)
        );
        assert!(
            (moment(2) - 1.0).abs() < 0.01 && (moment(4) - 2.85).abs() < 0.05,
            "{} {}",
            moment(2),
            moment(4)
        );
    }

    #[test]
    fn purposes_are_independent() {
        let n = 10_000;
        let product: f64 = (0..n)
            .map(|seed| {
                (stream(seed, Purpose::Zoom).unit() - 0.5)
                    * (stream(seed, Purpose::Shift).unit() - 0.5)
            })
            .sum();
        assert!(
            (12.0 * product / n as f64).abs() < 0.04,
            "correlation {}",
            12.0 * product / n as f64
        );
    }
}
