//! Class probabilities, checked once, and their proper scoring rules.

use crate::check;
use crate::error::{MetricsError, Result};

/// Probabilities of `classes` classes for a number of examples, row-major: finite, in 0..=1, with rows that sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Probabilities {
    classes: usize,
    values: Vec<f64>,
}

/// Maximum deviation of a row's sum from 1: an f32 softmax over a few classes is within 1e-6, values printed to CSV
/// with four digits within 1e-3.
const ROW_SUM_TOLERANCE: f64 = 1e-3;

impl Probabilities {
    /// Checks `values`, n × `classes` row-major, f32 or f64.
    ///
    /// # Errors
    /// No classes or examples, a length that is not a multiple of `classes`, a value outside 0..=1, or a row whose sum
    /// differs from 1 by more than 1e-3.
    pub fn new<P: Copy + Into<f64>>(classes: usize, values: &[P]) -> Result<Self> {
        check::not_empty("classes", classes)?;
        check::not_empty("probabilities", values.len())?;
        let whole_rows = values.len().div_ceil(classes) * classes;
        check::same_length("probabilities", values.len(), "classes", whole_rows)?;
        let values: Vec<f64> = values.iter().map(|value| (*value).into()).collect();
        check::probabilities("probabilities", &values)?;
        for (row, probabilities) in values.chunks_exact(classes).enumerate() {
            let sum: f64 = probabilities.iter().sum();
            if (sum - 1.0).abs() > ROW_SUM_TOLERANCE {
                return Err(MetricsError::RowSum { row, sum });
            }
        }
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

    /// One slice of `classes` probabilities per example.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.classes)
    }

    /// The probability of one class per example; empty for a class that does not exist.
    pub fn class(&self, class: usize) -> Vec<f64> {
        self.rows()
            .filter_map(|row| row.get(class).copied())
            .collect()
    }

    /// The most probable class per example, the first in a tie (NumPy's `argmax`).
    pub fn argmax(&self) -> Vec<usize> {
        let best = |row: &[f64]| {
            (1..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best })
        };
        self.rows().map(best).collect()
    }

    /// Errors unless there is one label per example, each below the number of classes.
    pub(crate) fn check_labels(&self, labels: &[usize]) -> Result<()> {
        check::same_length("labels", labels.len(), "probabilities", self.n())?;
        check::labels_in_range("labels", labels, self.classes)
    }
}

/// Mean of −ln p(true class), in nats; p is clipped to be at least 2.2e-16 away from 0 and 1, as in scikit-learn.
///
/// # Errors
/// The number of labels is not the number of rows, or a label is out of range.
pub fn log_loss(labels: &[usize], probabilities: &Probabilities) -> Result<f64> {
    log_loss_terms(labels, probabilities).map(|terms| mean(&terms))
}

/// The terms of the mean in [`log_loss`], one per example.
pub(crate) fn log_loss_terms(labels: &[usize], probabilities: &Probabilities) -> Result<Vec<f64>> {
    probabilities.check_labels(labels)?;
    let of_true_class = probabilities
        .rows()
        .zip(labels)
        .map(|(row, label)| row[*label]);
    let clipped = of_true_class.map(|p| p.clamp(f64::EPSILON, 1.0 - f64::EPSILON));
    Ok(clipped.map(|p| -p.ln()).collect())
}

/// Brier score of the positive class's probability: the mean of (p − y)², in 0..=1.
///
/// # Errors
/// Empty input, different lengths, or a value that is not a probability.
pub fn brier_score(labels: &[bool], probabilities: &[f64]) -> Result<f64> {
    check::scored(labels, probabilities)?;
    check::probabilities("probabilities", probabilities)?;
    let squared = probabilities
        .iter()
        .zip(labels)
        .map(|(p, y)| (p - f64::from(u8::from(*y))).powi(2));
    Ok(squared.sum::<f64>() / labels.len() as f64)
}

/// Brier's original score (1950): mean over examples of Σ over classes (p − y)², in 0..=2.
///
/// For two classes this is twice [`brier_score`].
///
/// # Errors
/// The number of labels is not the number of rows, or a label is out of range.
pub fn brier_score_multiclass(labels: &[usize], probabilities: &Probabilities) -> Result<f64> {
    brier_terms(labels, probabilities).map(|terms| mean(&terms))
}

/// The terms of the mean in [`brier_score_multiclass`], one per example.
pub(crate) fn brier_terms(labels: &[usize], probabilities: &Probabilities) -> Result<Vec<f64>> {
    probabilities.check_labels(labels)?;
    let distance = |(row, label): (&[f64], &usize)| -> f64 {
        let target = |class: usize| if class == *label { 1.0 } else { 0.0 };
        row.iter()
            .enumerate()
            .map(|(class, p)| (p - target(class)).powi(2))
            .sum()
    };
    Ok(probabilities.rows().zip(labels).map(distance).collect())
}

/// Mean of at least one value.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
