//! Two classifiers on the same examples.

use serde::{Deserialize, Serialize};

use super::checked::CheckedPredictions;
use super::{EvaluationSettings, Predictions};
use crate::check;
use crate::error::Result;
use crate::interval::Interval;

/// How much better the first of two classifiers is than the second, on the same examples. An interval that holds 0 shows no
/// difference.
///
/// The bootstrap draws the same examples (or groups) for both, so that what is hard for both cancels. Whether two intervals of
/// their own overlap says less: they may do so where the difference is certain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Difference of the areas under the ROC curves; none if a class has no example.
    pub auc: Option<Interval>,
    /// Difference of the shares of right predictions.
    pub accuracy: Interval,
}

/// Compares two classifiers, each judged by its own settings (thresholds differ); resamples, seed and level are the first's.
///
/// # Errors
/// As [`super::evaluate`] of each, or other labels or groups.
pub fn compare<S: AsRef<str>>(
    [first, second]: [&Predictions<'_, S>; 2],
    [settings, other_settings]: [&EvaluationSettings; 2],
) -> Result<Comparison> {
    let (first, second) = (
        CheckedPredictions::new(first, settings)?,
        CheckedPredictions::new(second, other_settings)?,
    );
    if first.labels != second.labels || first.groups != second.groups {
        let expected = "the same examples in the same order for both classifiers";
        return Err(check::setting("labels", "different", expected));
    }
    let right = |checked: &CheckedPredictions<'_>| -> Vec<f64> {
        let pairs = checked.labels.iter().zip(&checked.decisions);
        pairs.map(|(l, d)| f64::from(u8::from(l == d))).collect()
    };
    let (right_first, right_second) = (right(&first), right(&second));
    let accuracy = first.resampled(|sample| {
        let more = sample.iter().map(|i| right_first[*i] - right_second[*i]);
        Some(more.sum::<f64>() / sample.len() as f64)
    })?;
    let auc = match (first.macro_auc()?, second.macro_auc()?) {
        (Some(mut a), Some(mut b)) => {
            Some(first.resampled(|sample| Some(a(sample)? - b(sample)?))?)
        }
        _ => None,
    };
    Ok(Comparison { auc, accuracy })
}
