//! Spearman's rank correlation.

use crate::check;
use crate::error::Result;
use crate::ranks::midranks;

/// Spearman's rank correlation in −1..=1: Pearson's correlation of the ranks, where ties share their mean rank. `None`
/// if all values of either are equal.
///
/// # Errors
/// Empty input, different lengths, or a value that is not finite.
pub fn spearman(a: &[f64], b: &[f64]) -> Result<Option<f64>> {
    check::not_empty("a", a.len())?;
    check::same_length("b", b.len(), "a", a.len())?;
    check::finite("a", a)?;
    check::finite("b", b)?;
    let mean = (a.len() + 1) as f64 / 2.0;
    let [a, b] = [a, b].map(|values| -> Vec<f64> {
        let ranks = midranks(values).into_iter();
        ranks.map(|rank| rank - mean).collect()
    });
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let norm = (dot(&a, &a) * dot(&b, &b)).sqrt();
    Ok((norm > 0.0).then(|| (dot(&a, &b) / norm).clamp(-1.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `scipy.stats.spearmanr`.
    #[test]
    fn agrees_with_scipy() {
        let a = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        let b = [2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0, 8.0];
        let found = spearman(&a, &b).unwrap().unwrap();
        assert!((found - 0.19885368120992467).abs() < 1e-15, "{found}");
        assert_eq!(spearman(&a, &a).unwrap(), Some(1.0));
        let falling = a.map(|x| -x.powi(3));
        assert_eq!(spearman(&a, &falling).unwrap(), Some(-1.0));
    }

    #[test]
    fn constants_have_none_and_bad_input_is_refused() {
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]).unwrap(), None);
        assert!(spearman(&[], &[]).is_err());
        assert!(spearman(&[1.0], &[1.0, 2.0]).is_err());
        assert!(spearman(&[f64::NAN, 1.0], &[1.0, 2.0]).is_err());
    }
}
