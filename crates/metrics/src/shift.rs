//! How far two samples of a quantity differ, such as the brightness of the images of two hospitals.

use crate::check;
use crate::error::Result;

/// The two-sample Kolmogorov-Smirnov distance: the largest difference of the empirical distribution functions, from 0
/// (the same distribution) to 1 (no overlap).
///
/// # Errors
/// A sample that is empty, or a value that is not finite.
pub fn ks_distance(first: &[f64], second: &[f64]) -> Result<f64> {
    let [first, second] = [sorted("first", first)?, sorted("second", second)?];
    // A distribution function changes only at values of its sample, and is constant from each to the next.
    let share = |sample: &[f64], value: f64| {
        sample.partition_point(|v| *v <= value) as f64 / sample.len() as f64
    };
    let values = first.iter().chain(&second);
    Ok(values.fold(0.0, |largest: f64, value| {
        largest.max((share(&first, *value) - share(&second, *value)).abs())
    }))
}

/// The mean of `second` minus that of `first`, in units of their pooled standard deviation, the root of the mean of
/// both variances (Austin 2009). `None` if the means differ but neither sample varies, or if a sample has fewer than two
/// values.
///
/// # Errors
/// A sample that is empty, or a value that is not finite.
pub fn standardized_mean_difference(first: &[f64], second: &[f64]) -> Result<Option<f64>> {
    let [(a, sd_a), (b, sd_b)] = [mean_and_sd(first)?, mean_and_sd(second)?];
    let (Some(sd_a), Some(sd_b)) = (sd_a, sd_b) else {
        return Ok(None);
    };
    let pooled = (0.5 * (sd_a * sd_a + sd_b * sd_b)).sqrt();
    let difference = b - a;
    Ok(match (difference == 0.0, pooled > 0.0) {
        (true, _) => Some(0.0),
        (false, true) => Some(difference / pooled),
        (false, false) => None,
    })
}

fn sorted(what: &'static str, sample: &[f64]) -> Result<Vec<f64>> {
    check::not_empty(what, sample.len())?;
    check::finite(what, sample)?;
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(sorted)
}

/// Mean and standard deviation (with n − 1) of a sample; no deviation of a single value.
///
/// # Errors
/// A sample that is empty, or a value that is not finite.
pub fn mean_and_sd(sample: &[f64]) -> Result<(f64, Option<f64>)> {
    check::not_empty("sample", sample.len())?;
    check::finite("sample", sample)?;
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    let squares: f64 = sample.iter().map(|v| (v - mean).powi(2)).sum();
    Ok((
        mean,
        (sample.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 5] = [0.1, 0.4, 0.4, 0.7, 0.9];
    const B: [f64; 7] = [0.2, 0.4, 0.8, 1.0, 1.1, 1.3, 0.4];

    /// 40 and 25 values without a pattern.
    fn two_samples() -> [Vec<f64>; 2] {
        let x = (0..40).map(|i| f64::from(37 * i % 101) / 101.0);
        let y = (0..25).map(|i| f64::from(53 * i % 97) / 97.0 * 1.3 - 0.1);
        [x.collect(), y.collect()]
    }

    /// `scipy.stats.ks_2samp(x, y).statistic`, SciPy 1.x.
    #[test]
    fn ks_distances_agree_with_scipy() {
        let check = |x: &[f64], y: &[f64], expected: f64| {
            for distance in [ks_distance(x, y).unwrap(), ks_distance(y, x).unwrap()] {
                assert!((distance - expected).abs() < 1e-12, "{distance} {expected}");
            }
        };
        check(&A, &B, 0.42857142857142855);
        check(&[1.0, 2.0, 3.0], &[4.0, 5.0], 1.0);
        check(&[1.0; 3], &[1.0; 2], 0.0);
        let [x, y] = two_samples();
        check(&x, &y, 0.19);
    }

    /// `(y.mean() - x.mean()) / sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)`, NumPy.
    #[test]
    fn mean_differences_agree_with_numpy() {
        let check = |x: &[f64], y: &[f64], expected: f64| {
            let found = standardized_mean_difference(x, y).unwrap().unwrap();
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        };
        check(&A, &B, 0.6636120496050029);
        let [x, y] = two_samples();
        check(&x, &y, -0.07482492329554877);
        check(&[2.0; 3], &[2.0; 2], 0.0);
        let sd = mean_and_sd(&A).unwrap().1.unwrap();
        assert!((sd - 0.3082207001484488).abs() < 1e-12, "{sd}");
        assert_eq!(standardized_mean_difference(&[2.0; 3], &[3.0; 2]), Ok(None));
        assert_eq!(standardized_mean_difference(&[2.0], &B), Ok(None));
    }

    #[test]
    fn samples_without_values_and_nan_are_refused() {
        let empty = ks_distance(&[], &A).unwrap_err().to_string();
        assert!(empty.contains("first"), "{empty}");
        let nan = standardized_mean_difference(&A, &[f64::NAN]).unwrap_err();
        assert!(nan.to_string().contains("sample[0]"), "{nan}");
    }
}
