//! How finely weights are rounded.

/// The largest magnitude of a code, and of `code − zero`.
pub(super) const CODE: i32 = 255;
/// The largest magnitude of a weight in a byte.
const BYTE: f64 = i8::MAX as f64;

/// The factor by which `terms` weights are multiplied before they are rounded to integers: none is then beyond `limit`, and
/// it is such that no sum of their products with integers of magnitude up to `input`, nor any part of the sum, leaves `i32`.
/// `largest` and `sum` are those of the weights' magnitudes. NaN if a weight is not finite.
///
/// Rounding changes a weight by at most ½, so the magnitudes of the rounded ones add up to at most
/// `factor · sum + terms / 2`; here `terms` is subtracted in full, which leaves room for the rounding of `sum` itself.
pub(super) fn factor(limit: f64, largest: f64, sum: f64, terms: usize, input: i32) -> f64 {
    if !sum.is_finite() {
        return f64::NAN;
    }
    if sum == 0.0 {
        return 1.0;
    }
    let room = f64::from(i32::MAX) / f64::from(input) - terms as f64;
    (limit / largest).min(room / sum)
}

/// The [`factor`] of weights that are multiplied with codes in bytes.
pub(super) fn of_bytes(weights: &[f64]) -> f64 {
    let largest = weights.iter().fold(0f64, |most, w| most.max(w.abs()));
    let sum = weights.iter().map(|w| w.abs()).sum();
    factor(BYTE, largest, sum, weights.len(), CODE)
}

/// Whether [`factor`] leaves at least 6 bits to weights that are all of a size; others have more.
pub(super) fn suffices(terms: usize, input: i32) -> bool {
    const LEAST: f64 = 63.0;
    f64::from(i32::MAX) / f64::from(input) / terms as f64 - 1.0 >= LEAST
}

/// A weight times its [`factor`], rounded. NaN becomes 0.
pub(super) fn rounded(weight: f64, factor: f64) -> i16 {
    (weight * factor).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rounded weights and their worst sum, for weights of any distribution.
    #[test]
    fn no_sum_leaves_i32() {
        for (terms, input) in [(1, 255), (9, 25_500), (600, 25_500), (60_000, 255)] {
            for power in [0, 1, 6] {
                let weight = |i: usize| ((i * 7919 % 1009) as f64 / 500.0 - 1.0).powi(power) * 1e-3;
                let weights: Vec<f64> = (0..terms).map(weight).collect();
                let magnitudes = weights.iter().map(|w| w.abs());
                let largest = magnitudes.clone().fold(0.0, f64::max);
                let factor = factor(f64::from(i16::MAX), largest, magnitudes.sum(), terms, input);
                let sum: i64 = weights
                    .iter()
                    .map(|w| i64::from(rounded(*w, factor)).abs())
                    .sum();
                assert!(sum * i64::from(input) <= i64::from(i32::MAX));
                assert!(sum > 0, "{terms} weights vanished");
            }
        }
    }
}
