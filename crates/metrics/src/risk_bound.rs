//! p-values for the mean of independent values in 0..=1, without an assumption on their distribution.
//!
//! The hypothesis is that the mean is above a limit; a small p-value shows that it is not.

use libm::lgamma;

/// By Hoeffding's (1963) and Bentkus's (2004) inequality together: the smaller of both, which is a p-value by itself
/// (Bates et al. 2021; Angelopoulos et al. 2021, equation 5). 1 without values.
pub(crate) fn hoeffding_bentkus(sum: f64, n: usize, limit: f64) -> f64 {
    hoeffding(sum, n, limit).min(bentkus(sum, n, limit))
}

/// By Hoeffding's inequality in its form for values in 0..=1: exp(−n · KL(mean ‖ limit)).
fn hoeffding(sum: f64, n: usize, limit: f64) -> f64 {
    let mean = sum / n as f64;
    if n == 0 || mean >= limit {
        return 1.0;
    }
    // The limit of x · ln x at 0 is 0.
    let low = match mean > 0.0 {
        true => mean * (mean / limit).ln(),
        false => 0.0,
    };
    let high = (1.0 - mean) * ((1.0 - mean) / (1.0 - limit)).ln();
    (-(n as f64) * (low + high)).exp()
}

/// By Bentkus's inequality with the constant e.
pub(crate) fn bentkus(sum: f64, n: usize, limit: f64) -> f64 {
    (std::f64::consts::E * binomial(sum, n, limit)).min(1.0)
}

/// P(X ≤ ⌈sum⌉) for X binomial: the p-value itself if all values are 0 or 1.
pub(crate) fn binomial(sum: f64, n: usize, limit: f64) -> f64 {
    // Sums of thirds and the like must not miss a whole number by rounding.
    binomial_below(n, limit, (sum - 1e-9).ceil().max(0.0) as usize)
}

/// P(X ≤ `most`) for X binomial.
fn binomial_below(n: usize, p: f64, most: usize) -> f64 {
    let log = |k: usize| {
        let (n, k) = (n as f64, k as f64);
        let choose = lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
        choose + k * p.ln() + (n - k) * (-p).ln_1p()
    };
    let below: f64 = (0..=most.min(n)).map(|k| log(k).exp()).sum();
    below.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binomial_probabilities_are_sums() {
        assert!((binomial_below(3, 0.5, 1) - 0.5).abs() < 1e-12);
        assert!((binomial_below(300, 0.05, 300) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn without_a_loss_the_bound_is_that_of_the_binomial_distribution() {
        for n in [1, 20, 300] {
            let p = hoeffding_bentkus(0.0, n, 0.05);
            assert!((p / 0.95_f64.powi(n as i32) - 1.0).abs() < 1e-12, "{p}");
        }
        assert_eq!(hoeffding_bentkus(0.0, 0, 0.05), 1.0);
        assert_eq!(hoeffding_bentkus(5.0, 10, 0.05), 1.0);
    }
}
