//! The crate's only source of randomness.

/// SplitMix64 (Steele, Lea, Flood 2014): a counter stepped by the golden ratio, then mixed.
///
/// A function of (seed, stream) alone: the bootstrap gives each resample its own stream, so that neither the
/// order of work nor the number of threads changes a result. Not for secrets.
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

impl SplitMix64 {
    /// The generator of `stream` under `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self {
            state: mix(seed.wrapping_add(GOLDEN_RATIO)) ^ mix(stream),
        }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_RATIO);
        mix(self.state)
    }

    /// A whole number in `0..n` (0 for `n == 0`), by multiply and shift: the bias is below n / 2⁶⁴.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of the published generator for state 1234567 (Vigna's splitmix64.c).
    #[test]
    fn matches_the_published_sequence() {
        let mut rng = SplitMix64 { state: 1_234_567 };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([rng.next_u64(), rng.next_u64()], expected);
    }

    #[test]
    fn below_is_even_over_its_range() {
        let mut rng = SplitMix64::new(3, 0);
        let mut counts = [0_i32; 7];
        (0..70_000).for_each(|_| counts[rng.below(7)] += 1);
        assert!(
            counts.iter().all(|count| (count - 10_000).abs() < 400),
            "{counts:?}"
        );
    }
}
