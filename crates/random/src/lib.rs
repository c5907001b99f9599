//! Random number streams that are the same in every run, on every machine, with any number of threads.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014), as
//! implemented by `rand_xoshiro`: a counter that is stepped by a constant and hashed. The n-th number of a stream is
//! therefore a function of the stream's key and n, and can be read without those before it ([`Rng::at`]). The
//! distributions (uniform and normal numbers, shuffles) are implemented here, because `rand` may change its own between
//! versions, which would change every recorded run. This is not suitable for cryptography.
//!
//! This is a separate crate because networks, augmentation, splits, phantoms and the bootstrap all draw random numbers
//! but do not depend on one another. A stream is identified by a seed and a purpose:
//!
//! ```
//! use random::Rng;
//! let epoch = 3;
//! let mut order = [0, 1, 2, 3, 4];
//! Rng::keyed(7, &[epoch]).shuffle(&mut order);
//! let weight = 0.1 * Rng::stream(7, 42).normal_f32();
//! # assert!(weight.abs() < 1.0);
//! ```

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng};

/// 2⁶⁴ divided by the golden ratio, made odd: SplitMix64's increment.
const INCREMENT: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers, which can be read in order or at any index.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The stream that starts at `state`. Neighbouring states give related streams, so hash the stream's key first.
    #[inline]
    pub fn from_state(state: u64) -> Self {
        Self { state }
    }

    /// The stream numbered `stream` under `seed`. The CUDA kernels compute the same (`elementwise.cu`).
    pub fn stream(seed: u64, stream: u64) -> Self {
        Self::from_state(finalize(seed ^ finalize(stream.wrapping_add(INCREMENT))))
    }

    /// A stream for each list of `tags` under `seed`; the order of the tags matters.
    pub fn keyed(seed: u64, tags: &[u64]) -> Self {
        // The first number of this state is skipped, as in recorded runs.
        Self::from_state(hash(seed, tags).wrapping_add(INCREMENT))
    }

    /// The number `index` places ahead (0 is the next one), without moving.
    #[inline]
    pub fn at(&self, index: u64) -> u64 {
        word(self.state.wrapping_add(index.wrapping_mul(INCREMENT)))
    }

    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let next = word(self.state);
        self.state = self.state.wrapping_add(INCREMENT);
        next
    }

    /// Uniform in [0, 1), of 53 random bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in [0, 1), of 24 random bits.
    #[inline]
    pub fn unit_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Uniform between `low` and `high`.
    #[inline]
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number in `0..n` (0 for `n` = 0), by multiply and shift: the bias is below n / 2⁶⁴.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// True with the given probability: never for 0, always for 1.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        box_muller(u, v)
    }

    /// Standard normal from two numbers of 24 bits, which reaches 5.8 standard deviations.
    pub fn normal_f32(&mut self) -> f32 {
        let u = 1.0 - f64::from(self.unit_f32());
        box_muller(u, f64::from(self.unit_f32())) as f32
    }

    /// Beta-distributed with both parameters `alpha` > 0: between 0 and 1, symmetric about ½; near 0 or 1 where `alpha`
    /// is small.
    ///
    /// One of two gamma variates' share of their sum. It is computed from their logarithms, because for a small `alpha`
    /// the variates themselves underflow.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        let (a, b) = (self.ln_gamma(alpha), self.ln_gamma(alpha));
        1.0 / (1.0 + (b - a).exp())
    }

    /// Logarithm of a gamma variate of this shape, above 0, and of scale 1 (Marsaglia and Tsang 2000; below a shape of
    /// 1 by their transformation from `shape + 1`).
    fn ln_gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let whole = self.ln_gamma(shape + 1.0);
            return whole + (1.0 - self.unit()).ln() / shape;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let (x, u) = (self.normal(), 1.0 - self.unit());
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && u.ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                return d.ln() + v.ln();
            }
        }
    }

    /// Shuffles the items so that every order is equally likely (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// One well-mixed word from a seed and some tags; the order of the tags matters.
pub fn hash(seed: u64, tags: &[u64]) -> u64 {
    tags.iter().fold(word(seed), |state, tag| {
        word(state ^ word(tag.wrapping_add(INCREMENT)))
    })
}

/// SplitMix64's hash, in which every bit of the input affects every bit of the output; `finalize(0)` is 0.
pub fn finalize(state: u64) -> u64 {
    word(state.wrapping_sub(INCREMENT))
}

/// The first number of the generator that starts at `state`.
#[inline]
fn word(state: u64) -> u64 {
    SplitMix64::seed_from_u64(state).next_u64()
}

fn box_muller(u: f64, v: f64) -> f64 {
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs for state 1234567, as published with many ports of Vigna's splitmix64.c.
    #[test]
    fn the_sequence_matches_the_published_one() {
        let mut rng = Rng::from_state(1_234_567);
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!([0, 1, 2].map(|index| rng.at(index)), published);
        assert_eq!([(); 3].map(|()| rng.next_u64()), published);
        assert_eq!(finalize(0), 0);
        assert_eq!(finalize(INCREMENT), 0xe220_a839_7b1d_cdaf);
    }

    /// Every recorded run depends on these values.
    #[test]
    fn named_streams_never_change() {
        let first = |mut rng: Rng| rng.next_u64();
        assert_eq!(first(Rng::stream(1, 2)), 0x481c_920d_996f_ce04);
        assert_eq!(first(Rng::keyed(1, &[2, 3])), 0xd92c_b713_f463_dcd7);
    }

    #[test]
    fn uniform_numbers_are_flat_over_neighbouring_seeds() {
        let mut counts = [0_i32; 10];
        for seed in 0..20_000 {
            counts[Rng::stream(seed, 4).below(10)] += 1;
            counts[(Rng::keyed(seed, &[4]).unit() * 10.0) as usize] += 1;
        }
        // Chi-square with 9 degrees of freedom: 27.9 is its 99.9 % point.
        let chi_square: f64 = counts
            .iter()
            .map(|&n| f64::from(n - 4000).powi(2) / 4000.0)
            .sum();
        assert!(chi_square < 27.9, "{counts:?}");
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut rng = Rng::keyed(7, &[]);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let var = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(
            mean.abs() < 0.03 && (var - 1.0).abs() < 0.05,
            "{mean} {var}"
        );
    }

    /// Moments of the symmetric beta distribution: mean ½, variance 1/(4(2α + 1)), and its median share below ¼.
    #[test]
    fn beta_numbers_have_the_moments_of_their_distribution() {
        let n = 20_000;
        // P(X < ¼), from scipy.stats.beta.cdf.
        for (alpha, quarter) in [(0.2, 0.414_055_5), (1.0, 0.25), (4.0, 0.070_556_6)] {
            let mut rng = Rng::keyed(5, &[]);
            let draws: Vec<f64> = (0..n).map(|_| rng.beta(alpha)).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let var = draws.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / f64::from(n);
            let below = draws.iter().filter(|x| **x < 0.25).count() as f64 / f64::from(n);
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((mean - 0.5).abs() < 0.012, "{alpha}: mean {mean}");
            assert!(
                (var / expected - 1.0).abs() < 0.04,
                "{alpha}: variance {var}"
            );
            assert!((below - quarter).abs() < 0.014, "{alpha}: {below} below ¼");
        }
        let mut rng = Rng::keyed(6, &[]);
        assert!((0..1000).all(|_| (0.0..=1.0).contains(&rng.beta(0.001))));
    }

    #[test]
    fn streams_of_one_seed_are_independent() {
        let n = 10_000;
        let product: f64 = (0..n)
            .map(|seed| (Rng::stream(seed, 4).unit() - 0.5) * (Rng::stream(seed, 5).unit() - 0.5))
            .sum();
        let correlation = 12.0 * product / n as f64;
        assert!(correlation.abs() < 0.04, "{correlation}");
    }

    #[test]
    fn tags_are_not_interchangeable() {
        assert_ne!(hash(1, &[2, 3]), hash(1, &[3, 2]));
        assert_ne!(hash(1, &[2, 3]), hash(2, &[1, 3]));
        assert_ne!(hash(0, &[0]), hash(0, &[0, 0]));
    }
}
