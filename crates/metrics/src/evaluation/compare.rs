//! Comparison of two classifiers on the same examples.

use serde::{Deserialize, Serialize};

use super::checked::CheckedPredictions;
use super::{EvaluationSettings, Predictions};
use crate::check;
use crate::error::Result;
use crate::interval::Interval;

/// Difference between two classifiers on the same examples, first minus second. An interval that contains 0 shows no
/// significant difference.
///
/// The bootstrap draws the same examples (or groups) for both, so the effect of examples that are hard for both
/// cancels. Comparing separate intervals is less sensitive: they can overlap even if the difference is significant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Difference of the areas under the ROC curves; `None` if a class has no examples.
    pub auc: Option<Interval>,
    /// Difference of the accuracies.
    pub accuracy: Interval,
}

/// Compares two classifiers, each evaluated with its own settings (their thresholds may differ); resamples, seed and
/// level are taken from the first.
///
/// # Errors
/// As [`super::evaluate`] for each; also if their labels or groups differ.
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
