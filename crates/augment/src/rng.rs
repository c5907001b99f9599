//! The only source of randomness: SplitMix64 used as a counter-based generator.
//!
//! The n-th number of a stream is a pure function of (seed, purpose, n). SplitMix64 (Steele, Lea, Flood:
//! "Fast splittable pseudorandom number generators", OOPSLA 2014) hashes `key + n·γ`; here the key is
//! itself a hash of seed and purpose, so that neighbouring seeds share nothing. Each transform draws from
//! its own purpose: switching one transform on or off leaves what the others draw unchanged.
//! It is written out here, in full, because a library's generator may change between versions and with it
//! every run ever recorded. None of this is fit for cryptography.

use crate::math;

/// 2⁶⁴ divided by the golden ratio, made odd: SplitMix64's increment.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

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
}

/// A stream of random numbers, walked in order or read at any index.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    key: u64,
    next: u64,
}

impl Stream {
    /// The stream of `seed` for `purpose`.
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let key = mix(mix(seed.wrapping_add(GAMMA)) ^ (purpose as u64).wrapping_mul(GAMMA));
        Self { key, next: 0 }
    }

    /// 64 random bits: the stream's `index`-th number, whatever was drawn before.
    pub(crate) fn at(&self, index: u64) -> u64 {
        mix(self
            .key
            .wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    /// A uniform number in `[0, 1)`, of 53 random bits.
    pub(crate) fn unit(&mut self) -> f64 {
        let bits = self.at(self.next);
        self.next += 1;
        (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A uniform number between `low` and `high`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number between `low` and `high`, both above 0, whose logarithm is uniform.
    pub(crate) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        let [from, to] = [low, high].map(|end| f64::from(math::log2(end as f32)));
        let drawn = math::exp2(self.uniform(from, to) as f32);
        // Single precision rounds, and what is drawn must not leave the range for that.
        f64::from(drawn).clamp(low, high)
    }

    /// A whole number below `n`, which is at least 1, all alike.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// True with the given probability: never for 0, always for 1.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number with mean 0 and variance 1, normal but for its tails: the `index`-th of the stream.
    ///
    /// The sum of eight uniform 16-bit numbers (Irwin–Hall): kurtosis 2.85 against the normal's 3, never
    /// beyond 4.9 standard deviations. It needs no logarithm or cosine, is exact everywhere, and 8-bit
    /// pictures cannot tell the difference. Reads the stream at `2·index` and `2·index + 1`.
    pub(crate) fn normal_at(&self, index: u64) -> f32 {
        const MEAN: i32 = 4 * 65_535;
        // Variance of a uniform number on 0..=65535 is (2³² − 1)/12; of eight of them, eight times that.
        const SCALE: f32 = 1.868_812_4e-5;
        let sum = sum_of_halves(self.at(2 * index)) + sum_of_halves(self.at(2 * index + 1));
        (sum - MEAN) as f32 * SCALE
    }
}

/// The sum of the four 16-bit parts of `bits`.
fn sum_of_halves(bits: u64) -> i32 {
    const EVEN: u64 = 0x0000_FFFF_0000_FFFF;
    let pairs = (bits & EVEN) + ((bits >> 16) & EVEN);
    ((pairs & 0xFFFF_FFFF) + (pairs >> 32)) as i32
}

/// SplitMix64's finalizer (Stafford's variant 13): every bit of the input reaches every bit of the output.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vigna's splitmix64.c with seed 1234567, as published with many ports of it.
    #[test]
    fn the_finalizer_is_splitmix64() {
        let stream = Stream {
            key: 1_234_567,
            next: 0,
        };
        let first: Vec<u64> = (0..3).map(|index| stream.at(index)).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn uniform_numbers_are_flat_over_neighbouring_seeds() {
        let mut counts = [0usize; 10];
        for seed in 0..20_000 {
            counts[(Stream::new(seed, Purpose::Zoom).unit() * 10.0) as usize] += 1;
        }
        // Chi-square with 9 degrees of freedom: 27.9 is its 99.9 % point.
        let chi_square: f64 = counts
            .iter()
            .map(|&n| (n as f64 - 2000.0).powi(2) / 2000.0)
            .sum();
        assert!(chi_square < 27.9, "{counts:?}");
    }

    #[test]
    fn normal_numbers_have_the_moments_they_claim() {
        let stream = Stream::new(3, Purpose::NoisePixels);
        let n = 200_000;
        let moment = |power| {
            (0..n)
                .map(|i| f64::from(stream.normal_at(i)).powi(power))
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
                (Stream::new(seed, Purpose::Zoom).unit() - 0.5)
                    * (Stream::new(seed, Purpose::Shift).unit() - 0.5)
            })
            .sum();
        assert!(
            (12.0 * product / n as f64).abs() < 0.04,
            "correlation {}",
            12.0 * product / n as f64
        );
    }
}
