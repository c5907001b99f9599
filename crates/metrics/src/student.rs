//! Student's t distribution, for the interval of a mean of few values.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

use crate::check;
use crate::error::Result;
use crate::interval::Interval;
use crate::segmentation::Spread;

/// Student's t interval of the mean of independent, normally distributed values, such as the results of several seeds;
/// `None` for fewer than two values.
///
/// # Errors
/// A value that is not finite, or a level outside 0..1.
pub fn mean_interval(values: &[f64], level: f64) -> Result<Option<Interval>> {
    check::level(level)?;
    check::finite("values", values)?;
    let Some(Spread {
        mean,
        sd: Some(sd),
        n,
    }) = Spread::of(values)
    else {
        return Ok(None);
    };
    let half = t_quantile(level, n - 1) * sd / (n as f64).sqrt();
    Ok(Some(Interval {
        estimate: mean,
        low: mean - half,
        high: mean + half,
        level,
        n,
    }))
}

/// The t with P(|T| ≤ t) = `level`, found by bisection over the angle atan(t / √df).
pub(crate) fn t_quantile(level: f64, df: usize) -> f64 {
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    // Bisects until the bounds are adjacent floating-point numbers: about sixty iterations.
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle.tan() * (df as f64).sqrt();
        }
        if central(middle, df) < level {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// P(|T| ≤ t) for whole degrees of freedom, with tan θ = t / √df (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn central(theta: f64, df: usize) -> f64 {
    let (sin, cos) = theta.sin_cos();
    // The powers of the cosine start at 0 if df is even and at 1 if it is odd.
    let odd = df % 2;
    let mut term = if odd == 1 { cos } else { 1.0 };
    let mut sum = 0.0;
    for power in (odd..df.saturating_sub(1)).step_by(2) {
        sum += term;
        let power = power as f64;
        term *= (power + 1.0) / (power + 2.0) * cos * cos;
    }
    match odd {
        1 => FRAC_2_PI * (theta + sin * sum),
        _ => sin * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_mpmath() {
        // The root t of 1 - mpmath.betainc(df/2, 1/2, 0, df/(df + t²), regularized=True) = level, with 30 digits.
        for (level, df, expected) in [
            (0.95, 1, 12.706204736174705),
            (0.95, 2, 4.302652729749464),
            (0.95, 3, 3.18244630528371),
            (0.99, 4, 4.604094871349993),
            (0.9, 5, 2.015048373333024),
            (0.95, 29, 2.0452296421327043),
            (0.95, 100, 1.9839715185235523),
        ] {
            let found = t_quantile(level, df);
            assert!((found / expected - 1.0).abs() < 1e-12, "{df}: {found}");
        }
    }

    #[test]
    fn a_mean_has_an_interval_from_two_values_on() {
        assert_eq!(mean_interval(&[0.5], 0.95).unwrap(), None);
        let interval = mean_interval(&[1.0, 2.0, 3.0], 0.95).unwrap().unwrap();
        let half = 4.302652729749464 / 3.0_f64.sqrt();
        assert_eq!((interval.estimate, interval.n), (2.0, 3));
        assert!((interval.high - 2.0 - half).abs() < 1e-12);
        assert!((2.0 - interval.low - half).abs() < 1e-12);
        assert!(mean_interval(&[1.0, f64::NAN], 0.95).is_err());
        assert!(mean_interval(&[1.0, 2.0], 1.0).is_err());
    }
}
