//! The maximum of a mixture's likelihood over its shares: the limit of EM, found in far fewer steps.
//!
//! EM converges linearly, and slowly where the classes overlap: thousands of steps for each resample of a bootstrap. Here
//! two steps of EM are extrapolated to where the following ones would lead (SQUAREM, scheme S3; Varadhan & Roland
//! 2008), which for two classes is Steffensen's method and converges quadratically. The likelihood is concave, so that
//! both end in the same maximum.

/// The largest change of a share in a step of EM at which it has converged.
const TOLERANCE: f64 = 1e-11;

/// Most extrapolations; about five are usual.
const EXTRAPOLATIONS: usize = 500;

/// A decrease of the log-likelihood that may be due to rounding, per example.
const ROUNDING: f64 = 1e-13;

/// Examples with the number of times that each was drawn.
pub(crate) struct Counted {
    n: f64,
    times: Vec<f64>,
    /// For each class p(x | class) of each example, up to a factor per example; one of them is not 0.
    densities: Vec<Vec<f64>>,
}

impl Counted {
    /// Of a sample (indices with repeats) of examples whose densities are n × `classes`.
    pub(crate) fn new(classes: usize, densities: &[f64], sample: &[usize]) -> Self {
        let mut times = vec![0_u32; densities.len() / classes];
        sample.iter().for_each(|i| times[*i] += 1);
        let drawn: Vec<usize> = (0..times.len()).filter(|i| times[*i] > 0).collect();
        let of_class = |class: usize| {
            drawn
                .iter()
                .map(|i| densities[i * classes + class])
                .collect()
        };
        Self {
            n: sample.len() as f64,
            times: drawn.iter().map(|i| f64::from(times[*i])).collect(),
            densities: (0..classes).map(of_class).collect(),
        }
    }

    /// The shares of the highest likelihood, from a `start` whose shares are all positive.
    pub(crate) fn maximum(&self, start: &[f64]) -> Vec<f64> {
        let mut shares = start.to_vec();
        for _ in 0..EXTRAPOLATIONS {
            let first = self.step(&shares);
            let second = self.step(&first);
            if change(&first, &second) <= TOLERANCE {
                return second;
            }
            let far = extrapolated(&shares, &first, &second);
            let better = self.gain(&far, &second) >= -ROUNDING * self.n;
            shares = if better { far } else { second };
        }
        shares
    }

    /// The mean posterior: a step of EM.
    fn step(&self, shares: &[f64]) -> Vec<f64> {
        let mut weights = self.mixed(shares);
        let pairs = weights.iter_mut().zip(&self.times);
        pairs.for_each(|(density, times)| *density = times / *density);
        let pairs = shares.iter().zip(&self.densities);
        pairs
            .map(|(share, density)| share * long_dot(density, &weights) / self.n)
            .collect()
    }

    /// How much higher the log-likelihood of `shares` is than that of `others`.
    fn gain(&self, shares: &[f64], others: &[f64]) -> f64 {
        let ratios = self.mixed(shares).into_iter().zip(self.mixed(others));
        // One logarithm for many examples, before their product leaves the range of a double.
        let (mut sum, mut product) = (0.0, 1.0_f64);
        for ((a, b), times) in ratios.zip(&self.times) {
            product *= (a / b).powi(*times as i32);
            if !(1e-100..1e100).contains(&product) {
                sum += product.ln();
                product = 1.0;
            }
        }
        sum + product.ln()
    }

    /// The density of each example under the shares.
    fn mixed(&self, shares: &[f64]) -> Vec<f64> {
        let mut mixed = vec![0.0; self.times.len()];
        for (density, share) in self.densities.iter().zip(shares) {
            let pairs = mixed.iter_mut().zip(density);
            pairs.for_each(|(sum, d)| *sum += share * d);
        }
        mixed
    }
}

/// Where the steps from `start` to `first` to `second` lead. Shares stay positive, because EM never leaves 0.
fn extrapolated(start: &[f64], first: &[f64], second: &[f64]) -> Vec<f64> {
    let step: Vec<f64> = first.iter().zip(start).map(|(a, b)| a - b).collect();
    let next = second.iter().zip(first).map(|(a, b)| a - b);
    let bend: Vec<f64> = next.zip(&step).map(|(a, b)| a - b).collect();
    let length = (dot(&step, &step) / dot(&bend, &bend)).sqrt();
    if !length.is_finite() {
        return second.to_vec();
    }
    // At 1 it is `second` itself.
    let length = length.max(1.0);
    let shares = start.iter().zip(step.iter().zip(&bend)).zip(second);
    let shares: Vec<f64> = shares
        .map(|((start, (step, bend)), second)| {
            let far = start + 2.0 * length * step + length * length * bend;
            far.max(second / 1000.0)
        })
        .collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

/// The largest change of a share.
fn change(a: &[f64], b: &[f64]) -> f64 {
    let changes = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    changes.fold(0.0, f64::max)
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The same in four interleaved sums, which need not wait for each other.
fn long_dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest = dot(a.remainder(), b.remainder());
    let mut sums = [0.0; 4];
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use random::Rng;

    /// Densities of examples of classes with these shares, whose own density is higher by `separation`.
    fn draw(rng: &mut Rng, n: usize, shares: &[f64], separation: f64) -> Vec<f64> {
        let row = |_| {
            let mut rest = rng.unit();
            let own = shares.iter().position(|share| {
                rest -= share;
                rest < 0.0
            });
            let density = |class| {
                let shift = if Some(class) == own { separation } else { 0.0 };
                (separation * (rng.normal() + shift)).exp()
            };
            (0..shares.len()).map(density).collect::<Vec<f64>>()
        };
        (0..n).flat_map(row).collect()
    }

    #[test]
    fn the_maximum_is_the_limit_of_em() {
        let shares: [&[f64]; 4] = [
            &[0.5, 0.5],
            &[0.02, 0.98],
            &[0.2, 0.5, 0.3],
            &[0.0, 0.4, 0.3, 0.3],
        ];
        for (stream, shares) in shares.into_iter().enumerate() {
            for separation in [0.5, 1.0, 2.5] {
                let mut rng = Rng::stream(31, stream as u64);
                let densities = draw(&mut rng, 200, shares, separation);
                let sample: Vec<usize> = (0..200).map(|_| rng.below(200)).collect();
                let counted = Counted::new(shares.len(), &densities, &sample);
                let start = vec![1.0 / shares.len() as f64; shares.len()];
                let mut limit = start.clone();
                (0..50_000).for_each(|_| limit = counted.step(&limit));
                let found = counted.maximum(&start);
                let far = change(&found, &limit);
                assert!(far < 1e-7, "{shares:?} {separation}: {found:?}, {limit:?}");
                assert!(counted.gain(&found, &limit) > -1e-10);
                assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
    }
}
