//! SplitMix64 (Steele, Lea, Flood 2014): one word of state, any seed is good, and the sequence is
//! ours, so that a library's new version cannot change a run.

/// The generator; every draw depends on the seed alone.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// A generator of its own for each `tags` under one `seed`.
    pub(crate) fn keyed(seed: u64, tags: &[u64]) -> Self {
        Self(hash(seed, tags))
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub(crate) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n (multiply-shift; the bias is below n/2⁶⁴).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Fisher–Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// One well-mixed word from a seed and some tags; the order of the tags matters.
pub(crate) fn hash(seed: u64, tags: &[u64]) -> u64 {
    tags.iter().fold(mix(seed), |state, &tag| {
        mix(state ^ mix(tag.wrapping_add(GOLDEN)))
    })
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(GOLDEN);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_word_of_the_published_sequence() {
        // SplitMix64 seeded with 0 gives e220a8397b1dcdaf first (Vigna's splitmix64.c).
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn draws_have_their_moments() {
        let mut rng = Rng::new(7);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let var = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(
            mean.abs() < 0.03 && (var - 1.0).abs() < 0.05,
            "{mean} {var}"
        );
        let mut counts = [0; 5];
        (0..n).for_each(|_| counts[rng.below(5)] += 1);
        assert!(
            counts.iter().all(|c| (3700..4300).contains(c)),
            "{counts:?}"
        );
    }

    #[test]
    fn tags_are_not_interchangeable() {
        assert_ne!(hash(1, &[2, 3]), hash(1, &[3, 2]));
        assert_ne!(hash(1, &[2, 3]), hash(2, &[1, 3]));
        assert_ne!(hash(0, &[0]), hash(0, &[0, 0]));
    }
}
