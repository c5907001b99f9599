//! ROC and precision-recall curves, following scikit-learn's conventions.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;

/// Which points of a curve to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CurvePoints {
    /// One point per distinct score.
    All,
    /// Only the points needed to draw the same line (scikit-learn's `drop_intermediate=True`).
    Corners,
}

/// Points of the ROC curve by decreasing threshold, from (0, 0) to (1, 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RocCurve {
    /// False positive rate, 1 − specificity; non-decreasing.
    pub fpr: Vec<f64>,
    /// True positive rate, the sensitivity; non-decreasing.
    pub tpr: Vec<f64>,
    /// Predicting positive if `score >= thresholds[i]` gives point `i`; the first is +∞ (null in JSON).
    #[serde(with = "infinity_as_null")]
    pub thresholds: Vec<f64>,
}

/// Points of the precision-recall curve by increasing threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrCurve {
    /// Precision at each threshold, followed by a final 1.
    pub precision: Vec<f64>,
    /// Recall at each threshold, non-increasing, followed by a final 0.
    pub recall: Vec<f64>,
    /// Distinct scores in increasing order: one fewer than there are points.
    pub thresholds: Vec<f64>,
}

/// The ROC curve of `scores` (higher = more likely positive) against `labels`.
///
/// # Errors
/// Empty input, different lengths, a score that is not finite, or only one class present.
pub fn roc_curve(labels: &[bool], scores: &[f64], points: CurvePoints) -> Result<RocCurve> {
    check::scored(labels, scores)?;
    check::both_classes("the ROC curve", labels)?;
    let mut counts = CumulativeCounts::new(labels, scores);
    if points == CurvePoints::Corners {
        counts.keep(|counts, i| {
            let bends = |c: &[u64]| c[i + 1] - c[i] != c[i] - c[i - 1];
            bends(&counts.false_positives) || bends(&counts.true_positives)
        });
    }
    let rates = |counts: &[u64]| std::iter::once(0.0).chain(shares_of_last(counts)).collect();
    Ok(RocCurve {
        fpr: rates(&counts.false_positives),
        tpr: rates(&counts.true_positives),
        thresholds: std::iter::once(f64::INFINITY)
            .chain(counts.thresholds)
            .collect(),
    })
}

/// The precision-recall curve of `scores` against `labels`.
///
/// # Errors
/// Empty input, different lengths, a score that is not finite, or only one class present.
pub fn pr_curve(labels: &[bool], scores: &[f64], points: CurvePoints) -> Result<PrCurve> {
    check::scored(labels, scores)?;
    check::both_classes("the precision-recall curve", labels)?;
    let mut counts = CumulativeCounts::new(labels, scores);
    if points == CurvePoints::Corners {
        // Points of equal recall are on a vertical line, which is determined by its two ends.
        counts.keep(|counts, i| {
            let hits = &counts.true_positives;
            hits[i] != hits[i - 1] || hits[i] != hits[i + 1]
        });
    }
    let precision = counts.true_positives.iter().zip(&counts.false_positives);
    let precision = precision
        .map(|(tp, fp)| *tp as f64 / (tp + fp) as f64)
        .rev();
    Ok(PrCurve {
        precision: precision.chain([1.0]).collect(),
        recall: shares_of_last(&counts.true_positives)
            .rev()
            .chain([0.0])
            .collect(),
        thresholds: counts.thresholds.into_iter().rev().collect(),
    })
}

/// Average precision: Σ (Rₙ − Rₙ₋₁)·Pₙ over decreasing thresholds, without interpolation.
///
/// # Errors
/// As [`pr_curve`].
pub fn average_precision(labels: &[bool], scores: &[f64]) -> Result<f64> {
    let PrCurve {
        precision, recall, ..
    } = pr_curve(labels, scores, CurvePoints::All)?;
    let steps = recall.windows(2).zip(&precision);
    Ok(steps
        .map(|(recall, precision)| (recall[0] - recall[1]) * precision)
        .sum())
}

/// True and false positives at `score >= threshold` for every distinct score, in decreasing order.
pub(crate) struct CumulativeCounts {
    pub(crate) thresholds: Vec<f64>,
    pub(crate) true_positives: Vec<u64>,
    pub(crate) false_positives: Vec<u64>,
}

impl CumulativeCounts {
    /// The inputs must have passed [`check::scored`]. Tied scores share one entry.
    pub(crate) fn new(labels: &[bool], scores: &[f64]) -> Self {
        let mut pairs: Vec<(f64, bool)> =
            scores.iter().copied().zip(labels.iter().copied()).collect();
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut counts = Self {
            thresholds: Vec::new(),
            true_positives: Vec::new(),
            false_positives: Vec::new(),
        };
        let (mut hits, mut false_alarms) = (0, 0);
        for tied in pairs.chunk_by(|a, b| a.0 == b.0) {
            let positives = tied.iter().filter(|(_, label)| *label).count() as u64;
            hits += positives;
            false_alarms += tied.len() as u64 - positives;
            counts.thresholds.push(tied[0].0);
            counts.true_positives.push(hits);
            counts.false_positives.push(false_alarms);
        }
        counts
    }

    /// Drops inner entries for which `wanted` is false; the first and last are always kept.
    fn keep(&mut self, wanted: impl Fn(&Self, usize) -> bool) {
        let n = self.thresholds.len();
        let kept: Vec<usize> = (0..n)
            .filter(|&i| i == 0 || i + 1 == n || wanted(self, i))
            .collect();
        self.thresholds = kept.iter().map(|&i| self.thresholds[i]).collect();
        self.true_positives = kept.iter().map(|&i| self.true_positives[i]).collect();
        self.false_positives = kept.iter().map(|&i| self.false_positives[i]).collect();
    }
}

/// Counts divided by the last one, which is the largest and not zero.
fn shares_of_last(counts: &[u64]) -> impl DoubleEndedIterator<Item = f64> {
    let total = counts.last().copied().unwrap_or(1) as f64;
    counts.iter().map(move |count| *count as f64 / total)
}

/// JSON has no infinity: it is written as null, and null is read as +∞.
mod infinity_as_null {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            values
                .iter()
                .map(|value| value.is_finite().then_some(*value)),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(from)?;
        Ok(values
            .into_iter()
            .map(|value| value.unwrap_or(f64::INFINITY))
            .collect())
    }
}
