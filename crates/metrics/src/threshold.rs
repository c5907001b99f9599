//! Decisions at a threshold on the score, and choosing one on validation data.
//!
//! Throughout, positive means `score >= threshold`. Both choosers try the observed scores and return one of
//! them, so that the choice repeats to the bit and can be found again in the predictions.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::curve::CumulativeCounts;
use crate::error::Result;
use crate::interval::{Interval, wilson};

/// The four counts of a binary decision, and the rates made of them.
///
/// A rate is `None` where nothing is counted in its denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryCounts {
    /// Positives called positive.
    pub true_positives: u64,
    /// Negatives called positive.
    pub false_positives: u64,
    /// Negatives called negative.
    pub true_negatives: u64,
    /// Positives called negative.
    pub false_negatives: u64,
}

/// A threshold and what it does on the data it was chosen on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Positive means `score >= threshold`.
    pub threshold: f64,
    /// The counts at this threshold.
    pub counts: BinaryCounts,
}

/// The threshold with the largest Youden index J = sensitivity + specificity − 1.
///
/// Compared exactly, in integers. Of equal ones the smallest threshold is taken: it misses fewer positives.
///
/// # Errors
/// Empty input, different lengths, a score that is not finite, or only one class present.
pub fn youden_threshold(labels: &[bool], scores: &[f64]) -> Result<OperatingPoint> {
    let candidates = operating_points("Youden's index", labels, scores)?;
    // J·P·N, an integer. `max_by_key` keeps the last of equals, and thresholds fall.
    let index = |point: &OperatingPoint| {
        let c = point.counts;
        let (positives, negatives) = (i128::from(c.positives()), i128::from(c.negatives()));
        i128::from(c.true_positives) * negatives - i128::from(c.false_positives) * positives
    };
    candidates
        .into_iter()
        .max_by_key(index)
        .ok_or_else(unreachable_without_examples)
}

/// The threshold that reaches `sensitivity` and keeps the specificity highest.
///
/// Sensitivity only grows as the threshold falls, so this is the *largest* observed score at which it is
/// reached. `sensitivity` counts as reached within 1e-12, so that 0.95 of 20 positives is 19 of them.
///
/// # Errors
/// As [`youden_threshold`], or `sensitivity` outside 0 < s ≤ 1.
pub fn threshold_for_sensitivity(
    labels: &[bool],
    scores: &[f64],
    sensitivity: f64,
) -> Result<OperatingPoint> {
    if !(sensitivity > 0.0 && sensitivity <= 1.0) {
        return Err(check::setting(
            "sensitivity",
            sensitivity,
            "above 0 and at most 1",
        ));
    }
    let candidates = operating_points("a threshold for a wanted sensitivity", labels, scores)?;
    let needed = sensitivity - 1e-12;
    let reached = |point: &OperatingPoint| point.counts.sensitivity() >= Some(needed);
    candidates
        .into_iter()
        .find(reached)
        .ok_or_else(unreachable_without_examples)
}

impl BinaryCounts {
    /// Counts decisions against labels.
    ///
    /// # Errors
    /// Empty input or different lengths.
    pub fn new(labels: &[bool], decisions: &[bool]) -> Result<Self> {
        check::not_empty("labels", labels.len())?;
        check::same_length("decisions", decisions.len(), "labels", labels.len())?;
        Ok(Self::count(
            labels.iter().copied().zip(decisions.iter().copied()),
        ))
    }

    /// Counts the decisions `score >= threshold`.
    ///
    /// # Errors
    /// Empty input, different lengths, or a score or threshold that is not finite.
    pub fn at_threshold(labels: &[bool], scores: &[f64], threshold: f64) -> Result<Self> {
        check::scored(labels, scores)?;
        check::finite("threshold", &[threshold])?;
        let decisions = scores.iter().map(|score| *score >= threshold);
        Ok(Self::count(labels.iter().copied().zip(decisions)))
    }

    pub(crate) fn count(pairs: impl Iterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self {
            true_positives: 0,
            false_positives: 0,
            true_negatives: 0,
            false_negatives: 0,
        };
        for (label, decision) in pairs {
            *match (label, decision) {
                (true, true) => &mut counts.true_positives,
                (false, true) => &mut counts.false_positives,
                (false, false) => &mut counts.true_negatives,
                (true, false) => &mut counts.false_negatives,
            } += 1;
        }
        counts
    }

    /// Number of examples that are positive.
    pub fn positives(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Number of examples that are negative.
    pub fn negatives(&self) -> u64 {
        self.true_negatives + self.false_positives
    }

    /// TP / (TP + FN): share of positives found.
    pub fn sensitivity(&self) -> Option<f64> {
        share(self.true_positives, self.positives())
    }

    /// TN / (TN + FP): share of negatives cleared.
    pub fn specificity(&self) -> Option<f64> {
        share(self.true_negatives, self.negatives())
    }

    /// TP / (TP + FP), the positive predictive value. Holds for this prevalence only.
    pub fn ppv(&self) -> Option<f64> {
        share(
            self.true_positives,
            self.true_positives + self.false_positives,
        )
    }

    /// TN / (TN + FN), the negative predictive value. Holds for this prevalence only.
    pub fn npv(&self) -> Option<f64> {
        share(
            self.true_negatives,
            self.true_negatives + self.false_negatives,
        )
    }

    /// Sensitivity with its Wilson interval.
    pub fn sensitivity_interval(&self, level: f64) -> Option<Interval> {
        wilson(self.true_positives, self.positives(), level).ok()
    }

    /// Specificity with its Wilson interval.
    pub fn specificity_interval(&self, level: f64) -> Option<Interval> {
        wilson(self.true_negatives, self.negatives(), level).ok()
    }

    /// Positive predictive value with its Wilson interval.
    pub fn ppv_interval(&self, level: f64) -> Option<Interval> {
        wilson(
            self.true_positives,
            self.true_positives + self.false_positives,
            level,
        )
        .ok()
    }

    /// Negative predictive value with its Wilson interval.
    pub fn npv_interval(&self, level: f64) -> Option<Interval> {
        wilson(
            self.true_negatives,
            self.true_negatives + self.false_negatives,
            level,
        )
        .ok()
    }
}

/// Every distinct score as a threshold, falling.
fn operating_points(
    metric: &'static str,
    labels: &[bool],
    scores: &[f64],
) -> Result<Vec<OperatingPoint>> {
    check::scored(labels, scores)?;
    check::both_classes(metric, labels)?;
    let positives = check::count_true(labels) as u64;
    let negatives = labels.len() as u64 - positives;
    let counts = CumulativeCounts::new(labels, scores);
    let hits = counts
        .true_positives
        .into_iter()
        .zip(counts.false_positives);
    let point = |(threshold, (tp, fp))| OperatingPoint {
        threshold,
        counts: BinaryCounts {
            true_positives: tp,
            false_positives: fp,
            true_negatives: negatives - fp,
            false_negatives: positives - tp,
        },
    };
    Ok(counts.thresholds.into_iter().zip(hits).map(point).collect())
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Checked inputs have at least one score, and the lowest reaches a sensitivity of 1.
fn unreachable_without_examples() -> crate::MetricsError {
    crate::MetricsError::Empty { what: "scores" }
}
