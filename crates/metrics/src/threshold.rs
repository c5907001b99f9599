//! Decisions at a threshold on the score, and the choice of a threshold on validation data.
//!
//! Throughout, positive means `score >= threshold`. A chosen threshold is halfway between the two observed scores that
//! it separates, or below the lowest score by half the distance to the next: on a score itself, rounding would decide
//! the class of that example.

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Resampling};
use crate::check;
use crate::curve::CumulativeCounts;
use crate::error::Result;
use crate::interval::Interval;

/// The four counts of a binary decision, and the rates computed from them.
///
/// A rate is `None` if its denominator is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryCounts {
    /// Positives classified as positive.
    pub true_positives: u64,
    /// Negatives classified as positive.
    pub false_positives: u64,
    /// Negatives classified as negative.
    pub true_negatives: u64,
    /// Positives classified as negative.
    pub false_negatives: u64,
}

/// A threshold and its counts on the data on which it was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Positive means `score >= threshold`.
    pub threshold: f64,
    /// The counts at this threshold.
    pub counts: BinaryCounts,
}

/// Rule for choosing a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdRule {
    /// The threshold with the largest Youden index J = sensitivity + specificity − 1, compared exactly, in integers. In
    /// a tie the smallest threshold is chosen, because it has fewer false negatives.
    Youden,
    /// The largest threshold that reaches this sensitivity, and thus the one with the highest specificity. The
    /// comparison has a tolerance of 1e-12, so that 19 of 20 positives reach 0.95.
    Sensitivity(f64),
}

impl ThresholdRule {
    /// Chooses the threshold by this rule.
    ///
    /// # Errors
    /// Empty input, different lengths, a score that is not finite, only one class present, or a sensitivity outside
    /// 0 < s ≤ 1.
    pub fn choose(self, labels: &[bool], scores: &[f64]) -> Result<OperatingPoint> {
        let found = match self {
            Self::Youden => {
                let points = operating_points("Youden's index", labels, scores)?;
                // `max_by_key` returns the last of equal elements, and thresholds are in decreasing order.
                points.into_iter().max_by_key(youden_index)
            }
            Self::Sensitivity(wanted) => {
                if !(wanted > 0.0 && wanted <= 1.0) {
                    let expected = "above 0 and at most 1";
                    return Err(check::setting("sensitivity", wanted, expected));
                }
                let what = "a threshold for a given sensitivity";
                let reached =
                    |point: &OperatingPoint| point.counts.sensitivity() >= Some(wanted - 1e-12);
                operating_points(what, labels, scores)?
                    .into_iter()
                    .find(reached)
            }
        };
        // Checked inputs have at least one score, and the lowest threshold reaches a sensitivity of 1.
        found.ok_or(crate::MetricsError::Empty { what: "scores" })
    }

    /// The threshold with its bootstrap interval: how much it varies between samples of the validation data.
    ///
    /// # Errors
    /// As [`ThresholdRule::choose`] and [`Bootstrap::interval`].
    pub fn interval(
        self,
        labels: &[bool],
        scores: &[f64],
        resampling: Resampling<'_>,
        bootstrap: &Bootstrap,
    ) -> Result<Interval> {
        self.choose(labels, scores)?;
        let chosen = |sample: &[usize]| {
            let (labels, scores): (Vec<bool>, Vec<f64>) =
                sample.iter().map(|i| (labels[*i], scores[*i])).unzip();
            self.choose(&labels, &scores)
                .ok()
                .map(|point| point.threshold)
        };
        bootstrap.interval(labels.len(), resampling, chosen)
    }
}

/// J·P·N, an integer.
fn youden_index(point: &OperatingPoint) -> i128 {
    let c = point.counts;
    let (positives, negatives) = (i128::from(c.positives()), i128::from(c.negatives()));
    i128::from(c.true_positives) * negatives - i128::from(c.false_positives) * positives
}

impl BinaryCounts {
    /// Counts decisions by label.
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

    /// Number of positive examples.
    pub fn positives(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Number of negative examples.
    pub fn negatives(&self) -> u64 {
        self.true_negatives + self.false_positives
    }

    /// TP / (TP + FN): share of positives classified as positive.
    pub fn sensitivity(&self) -> Option<f64> {
        share(self.true_positives, self.positives())
    }

    /// TN / (TN + FP): share of negatives classified as negative.
    pub fn specificity(&self) -> Option<f64> {
        share(self.true_negatives, self.negatives())
    }

    /// TP / (TP + FP), the positive predictive value. Valid for this prevalence only.
    pub fn ppv(&self) -> Option<f64> {
        share(
            self.true_positives,
            self.true_positives + self.false_positives,
        )
    }

    /// TN / (TN + FN), the negative predictive value. Valid for this prevalence only.
    pub fn npv(&self) -> Option<f64> {
        share(
            self.true_negatives,
            self.true_negatives + self.false_negatives,
        )
    }
}

/// One operating point per distinct score, with the threshold just below it, by decreasing threshold.
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
    let thresholds = between(&counts.thresholds);
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
    Ok(thresholds.into_iter().zip(hits).map(point).collect())
}

/// The midpoint between each of the distinct decreasing scores and the next; for the last score, the value below it by
/// half the distance to the previous one, or by ½ if there is only one. Adjacent floating-point numbers have no
/// midpoint: the upper one is used instead.
fn between(scores: &[f64]) -> Vec<f64> {
    let below_last = match scores {
        [.., before, last] => last - 0.5 * (before - last),
        [only] => only - 0.5,
        [] => return vec![],
    };
    let middle = |pair: &[f64]| {
        let middle = pair[1] + 0.5 * (pair[0] - pair[1]);
        if middle > pair[1] { middle } else { pair[0] }
    };
    scores.windows(2).map(middle).chain([below_last]).collect()
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
