//! A classifier's scores before softmax, which rankings and thresholds are based on.

use crate::check;
use crate::error::Result;

/// Logits of `classes` classes for a number of examples, row-major and finite.
///
/// Rankings and thresholds use logits rather than probabilities, which round to 0 or 1 for large logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    classes: usize,
    values: Vec<f64>,
}

impl Logits {
    /// Checks `values`, n × `classes` row-major, f32 or f64.
    ///
    /// # Errors
    /// No classes or examples, a length that is not a multiple of `classes`, or a value that is not finite.
    pub fn new<P: Copy + Into<f64>>(classes: usize, values: &[P]) -> Result<Self> {
        check::not_empty("classes", classes)?;
        check::not_empty("logits", values.len())?;
        let whole_rows = values.len().div_ceil(classes) * classes;
        check::same_length("logits", values.len(), "classes", whole_rows)?;
        let values: Vec<f64> = values.iter().map(|value| (*value).into()).collect();
        check::finite("logits", &values)?;
        Ok(Self { classes, values })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of examples.
    pub fn n(&self) -> usize {
        self.values.len() / self.classes
    }

    /// One slice of `classes` logits per example.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.classes)
    }

    /// The log-odds of a class against all others, per example ([`log_odds`]).
    pub fn log_odds(&self, class: usize) -> Vec<f64> {
        self.rows().map(|row| log_odds(row, class)).collect()
    }

    /// The class with the largest logit per example, the first in a tie (NumPy's `argmax`).
    pub fn argmax(&self) -> Vec<usize> {
        self.rows().map(largest).collect()
    }

    /// Errors unless there is one label per example, each below the number of classes.
    pub(crate) fn check_labels(&self, labels: &[usize]) -> Result<()> {
        check::same_length("labels", labels.len(), "logits", self.n())?;
        check::labels_in_range("labels", labels, self.classes)
    }
}

/// `ln(p / (1 − p))` of a class's probability under plain softmax: its logit minus the log-sum-exp of the others. With
/// two classes this is the difference of the logits; ∞ if there is no other class, −∞ if the class does not exist.
pub fn log_odds(logits: &[f64], class: usize) -> f64 {
    let others = || {
        let all = logits.iter().enumerate();
        all.filter(move |(other, _)| *other != class)
            .map(|(_, z)| *z)
    };
    let top = others().fold(f64::NEG_INFINITY, f64::max);
    let own = logits.get(class).copied().unwrap_or(f64::NEG_INFINITY);
    if logits.len() == 2 || !top.is_finite() {
        return own - top;
    }
    own - top - others().map(|z| (z - top).exp()).sum::<f64>().ln()
}

/// The index of the largest value, the first in a tie.
pub(crate) fn largest(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, k| if values[k] > values[best] { k } else { best })
}
