//! Likely label errors, found by confident learning (Northcutt, Jiang & Chuang 2021, "Confident learning: estimating
//! uncertainty in dataset labels").
//!
//! A class's threshold is its mean self-confidence: the mean probability of the class over the examples given it. An
//! example is counted as truly of a class if its probability reaches the threshold of that class; of several such
//! classes, the most probable one. The counts per given and true class are the confident joint. Thresholds per class,
//! rather than the most probable class, keep a model that is underconfident in one class from reporting errors there.
//!
//! The probabilities must be out of sample, such as those of cross-validation: a model has learned the errors of the
//! examples on which it was trained.
//!
//! Counts, filters and rankings are those of cleanlab 2.9, rounding included. Where values are equal, cleanlab's order
//! depends on the processor, because NumPy's sort is not stable; here the first example or class comes first. cleanlab
//! also limits noise rates to 0.9999, which is not done here.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::logits::largest;
use crate::probability::Probabilities;

/// How far a probability may be below a threshold and still reach it, and how much the most probable class must exceed
/// the given class for an example to be a label error: cleanlab's `FLOATING_POINT_COMPARISON`.
const TOLERANCE: f64 = 1e-6;

/// Lower limit of a threshold, cleanlab's `CONFIDENT_THRESHOLDS_LOWER_BOUND`: larger than [`TOLERANCE`], so that a
/// probability of 0 never reaches a threshold.
const LOWEST_THRESHOLD: f64 = 2.0 * TOLERANCE;

/// Counts of the examples by given label and confidently estimated true label, and the noise rates computed from them.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfidentJoint {
    thresholds: Vec<Option<f64>>,
    true_classes: Vec<Option<usize>>,
    counts: Vec<u64>,
    calibrated: Vec<u64>,
}

/// Which examples are reported as label errors; cleanlab's `filter_by`. None reports an example whose most probable
/// class is the given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelErrorFilter {
    /// For each pair of a given and a true class, as many examples as the calibrated joint counts: those whose
    /// probability of the true class exceeds that of the given class the most. cleanlab's default.
    #[default]
    PruneByNoiseRate,
    /// For each given class, as many examples as the calibrated joint counts outside the diagonal: those with the
    /// lowest self-confidence.
    PruneByClass,
    /// The examples reported by both of the above.
    Both,
    /// The examples counted outside the diagonal of the joint before calibration.
    ConfidentLearning,
}

/// Label quality score, in 0..=1: the lower, the likelier is a label error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelQuality {
    /// The probability of the given label.
    #[default]
    SelfConfidence,
    /// The probability of the given label minus the largest of the others, mapped from −1..=1 to 0..=1.
    NormalizedMargin,
}

/// The indices of the likely label errors, in increasing order of their label quality score.
///
/// # Errors
/// The number of labels is not the number of rows, or a label is out of range.
pub fn label_errors(
    labels: &[usize],
    probabilities: &Probabilities,
    filter: LabelErrorFilter,
    rank_by: LabelQuality,
) -> Result<Vec<usize>> {
    let joint = ConfidentJoint::new(labels, probabilities)?;
    let quality = label_quality(labels, probabilities, rank_by)?;
    let data = Data {
        labels,
        rows: probabilities.rows().collect(),
        classes: probabilities.classes(),
    };
    let reported = data.filtered(&joint, filter);
    let errors = (0..labels.len()).filter(|i| reported[*i] && !data.predicted_as_given(*i));
    let mut errors: Vec<usize> = errors.collect();
    errors.sort_by(|a, b| quality[*a].total_cmp(&quality[*b]));
    Ok(errors)
}

/// The label quality score of every example.
///
/// # Errors
/// The number of labels is not the number of rows, or a label is out of range.
pub fn label_quality(
    labels: &[usize],
    probabilities: &Probabilities,
    quality: LabelQuality,
) -> Result<Vec<f64>> {
    probabilities.check_labels(labels)?;
    let score = |(row, label): (&[f64], &usize)| {
        let given = row[*label];
        match quality {
            LabelQuality::SelfConfidence => given,
            LabelQuality::NormalizedMargin => {
                let others = row.iter().enumerate().filter(|(class, _)| class != label);
                let largest = others.fold(0.0, |largest: f64, (_, p)| largest.max(*p));
                (given - largest + 1.0) / 2.0
            }
        }
    };
    Ok(probabilities.rows().zip(labels).map(score).collect())
}

impl ConfidentJoint {
    /// Counts examples by given label and estimated true label.
    ///
    /// # Errors
    /// The number of labels is not the number of rows, or a label is out of range.
    pub fn new(labels: &[usize], probabilities: &Probabilities) -> Result<Self> {
        probabilities.check_labels(labels)?;
        let classes = probabilities.classes();
        let thresholds = thresholds(labels, probabilities);
        let confident = |row: &[f64]| confident_class(row, &thresholds);
        let true_classes: Vec<Option<usize>> = probabilities.rows().map(confident).collect();
        let counts = confident_counts(labels, &true_classes, classes);
        let calibrated = calibrated(&counts, labels, classes);
        Ok(Self {
            thresholds,
            true_classes,
            counts,
            calibrated,
        })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.thresholds.len()
    }

    /// The mean self-confidence of each class; `None` for a class that no example is given, which no example is counted
    /// as.
    pub fn thresholds(&self) -> &[Option<f64>] {
        &self.thresholds
    }

    /// The class each example is counted as; `None` if it reaches no threshold, as outliers often do.
    pub fn true_classes(&self) -> &[Option<usize>] {
        &self.true_classes
    }

    /// The counts, given class × true class, row-major. The diagonal is at least 1.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The counts scaled to the number of examples given each class, and rounded: each row sums to that number.
    pub fn calibrated(&self) -> &[u64] {
        &self.calibrated
    }

    /// The estimated joint distribution, given class × true class, row-major: the calibrated counts as shares.
    pub fn joint(&self) -> Vec<f64> {
        let total: u64 = self.calibrated.iter().sum();
        let share = |count: &u64| *count as f64 / total as f64;
        self.calibrated.iter().map(share).collect()
    }

    /// The estimated noise matrix, given class × true class, row-major: the share of the examples of each true class
    /// that are given each label. Columns sum to 1; the column of a class without examples is 0.
    pub fn noise_matrix(&self) -> Vec<f64> {
        let classes = self.classes();
        let column_sum = |column: usize| -> u64 {
            let column = self.calibrated.iter().skip(column).step_by(classes);
            column.sum()
        };
        let sums: Vec<u64> = (0..classes).map(column_sum).collect();
        let counts = self.calibrated.iter().zip(sums.iter().cycle());
        let rate = |(count, sum): (&u64, &u64)| *count as f64 / (*sum).max(1) as f64;
        counts.map(rate).collect()
    }

    /// The estimated share of examples whose label is wrong.
    pub fn error_rate(&self) -> f64 {
        let total: u64 = self.calibrated.iter().sum();
        let correct: u64 = self.calibrated.iter().step_by(self.classes() + 1).sum();
        (total - correct) as f64 / total as f64
    }
}

/// Checked labels and probabilities.
struct Data<'a> {
    labels: &'a [usize],
    rows: Vec<&'a [f64]>,
    classes: usize,
}

impl Data<'_> {
    /// Whether each example is reported.
    fn filtered(&self, joint: &ConfidentJoint, filter: LabelErrorFilter) -> Vec<bool> {
        match filter {
            LabelErrorFilter::PruneByNoiseRate => self.pruned_by_noise_rate(joint),
            LabelErrorFilter::PruneByClass => self.pruned_by_class(joint),
            LabelErrorFilter::Both => {
                let by_class = self.pruned_by_class(joint);
                let by_noise_rate = self.pruned_by_noise_rate(joint);
                by_class
                    .iter()
                    .zip(by_noise_rate)
                    .map(|(a, b)| *a && b)
                    .collect()
            }
            LabelErrorFilter::ConfidentLearning => {
                let differs = |(label, counted): (&usize, &Option<usize>)| {
                    counted.is_some_and(|class| class != *label)
                };
                self.labels
                    .iter()
                    .zip(&joint.true_classes)
                    .map(differs)
                    .collect()
            }
        }
    }

    fn pruned_by_noise_rate(&self, joint: &ConfidentJoint) -> Vec<bool> {
        let mut pruned = vec![false; self.labels.len()];
        for given in 0..self.classes {
            let members = self.given(given);
            let numbers = prune_counts(&joint.calibrated, given, self.classes);
            for (class, number) in numbers.into_iter().enumerate() {
                // A class keeps at least one example.
                if class == given || members.len() <= 1 {
                    continue;
                }
                let margin = |i: &usize| self.rows[*i][given] - self.rows[*i][class];
                mark_lowest(&members, margin, number as usize, &mut pruned);
            }
        }
        pruned
    }

    fn pruned_by_class(&self, joint: &ConfidentJoint) -> Vec<bool> {
        let mut pruned = vec![false; self.labels.len()];
        for given in 0..self.classes {
            let members = self.given(given);
            let correct = prune_counts(&joint.calibrated, given, self.classes)[given] as usize;
            let number = members.len().saturating_sub(correct);
            mark_lowest(&members, |i| self.rows[*i][given], number, &mut pruned);
        }
        pruned
    }

    /// The examples given a class.
    fn given(&self, class: usize) -> Vec<usize> {
        let all = 0..self.labels.len();
        all.filter(|i| self.labels[*i] == class).collect()
    }

    /// Whether no class is more probable than the given one, to within the tolerance.
    fn predicted_as_given(&self, i: usize) -> bool {
        let mut row = self.rows[i].to_vec();
        row[self.labels[i]] += TOLERANCE;
        largest(&row) == self.labels[i]
    }
}

/// Marks the `number` examples with the lowest scores, the first in a tie.
fn mark_lowest(
    examples: &[usize],
    score: impl Fn(&usize) -> f64,
    number: usize,
    marked: &mut [bool],
) {
    let mut order = examples.to_vec();
    order.sort_by(|a, b| score(a).total_cmp(&score(b)));
    order.iter().take(number).for_each(|i| marked[*i] = true);
}

/// Mean self-confidence of each class.
fn thresholds(labels: &[usize], probabilities: &Probabilities) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0usize); probabilities.classes()];
    for (row, label) in probabilities.rows().zip(labels) {
        sums[*label].0 += row[*label];
        sums[*label].1 += 1;
    }
    let mean = |(sum, n): (f64, usize)| (n > 0).then(|| (sum / n as f64).max(LOWEST_THRESHOLD));
    sums.into_iter().map(mean).collect()
}

/// The only class whose threshold is reached; if there are several, the most probable of all classes.
fn confident_class(row: &[f64], thresholds: &[Option<f64>]) -> Option<usize> {
    let reached = |(p, threshold): (&f64, &Option<f64>)| {
        threshold.is_some_and(|threshold| *p >= threshold - TOLERANCE)
    };
    let mut reached = (0..row.len()).filter(|k| reached((&row[*k], &thresholds[*k])));
    let first = reached.next()?;
    Some(match reached.next() {
        Some(_) => largest(row),
        None => first,
    })
}

/// Counts of given × true class. At least one example of every class is taken to be labelled correctly.
fn confident_counts(labels: &[usize], true_classes: &[Option<usize>], classes: usize) -> Vec<u64> {
    let mut counts = vec![0; classes * classes];
    for (given, class) in labels.iter().zip(true_classes) {
        if let Some(class) = class {
            counts[given * classes + class] += 1;
        }
    }
    let diagonal = counts.iter_mut().step_by(classes + 1);
    diagonal.for_each(|count| *count = (*count).max(1));
    counts
}

/// Scales each row of the counts to the number of examples given its class, and rounds.
fn calibrated(counts: &[u64], labels: &[usize], classes: usize) -> Vec<u64> {
    let mut given = vec![0u64; classes];
    labels.iter().for_each(|label| given[*label] += 1);
    let scaled: Vec<f64> = counts
        .chunks_exact(classes)
        .zip(&given)
        .flat_map(|(row, n)| {
            let sum = row.iter().sum::<u64>() as f64;
            row.iter().map(move |count| *count as f64 / sum * *n as f64)
        })
        .collect();
    // Only rounding errors make the total differ from the number of examples. They decide which way halves are
    // rounded, hence cleanlab's order of operations.
    let columns_first = (0..classes).flat_map(|k| scaled.iter().skip(k).step_by(classes).copied());
    let total = pairwise_sum(&columns_first.collect::<Vec<f64>>());
    let normalized: Vec<f64> = scaled
        .iter()
        .map(|count| count / total * labels.len() as f64)
        .collect();
    let rows = normalized.chunks_exact(classes);
    rows.flat_map(round_preserving_sum).collect()
}

/// NumPy's sum.
fn pairwise_sum(values: &[f64]) -> f64 {
    let n = values.len();
    if n > 128 {
        let (first, second) = values.split_at(n / 2 - n / 2 % 8);
        return pairwise_sum(first) + pairwise_sum(second);
    }
    let blocks = values.chunks_exact(8);
    let rest = blocks.remainder();
    let mut sums = [0.0; 8];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, v)| *sum += v);
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let whole = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(whole, |sum, value| sum + value)
}

/// Rounds non-negative values so that their sum is the rounded sum: those that rounding changed the most are rounded
/// the other way.
fn round_preserving_sum(values: &[f64]) -> Vec<u64> {
    let mut rounded: Vec<f64> = values.iter().map(|v| v.round_ties_even()).collect();
    let wanted = values.iter().sum::<f64>().round_ties_even();
    let missing = wanted - rounded.iter().sum::<f64>();
    let lost = |i: &usize| values[*i] - values[*i].round_ties_even();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| lost(a).total_cmp(&lost(b)));
    if missing > 0.0 {
        order.reverse();
    }
    // Rounding changes each value by at most ½, so the sum by less than the number of values.
    for i in order.into_iter().take(missing.abs() as usize) {
        rounded[i] += missing.signum();
    }
    rounded.into_iter().map(|v| v as u64).collect()
}

/// How many of the examples given a class are truly of each class, with at least one left on the diagonal: if the
/// calibrated count there is 0, the others are lowered by one. cleanlab subtracts an even share of the one and rounds
/// down, which is the same.
fn prune_counts(calibrated: &[u64], given: usize, classes: usize) -> Vec<u64> {
    let row = &calibrated[given * classes..][..classes];
    let taken = 1u64.saturating_sub(row[given]);
    let mut counts: Vec<u64> = row.iter().map(|n| n.saturating_sub(taken)).collect();
    counts[given] = row[given] + taken;
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_the_sum() {
        assert_eq!(round_preserving_sum(&[4.5, 1.5]), [4, 2]);
        assert_eq!(round_preserving_sum(&[2.5, 0.5]), [2, 1]);
        assert_eq!(round_preserving_sum(&[1.5, 1.5, 3.0]), [1, 2, 3]);
        assert_eq!(round_preserving_sum(&[0.3, 0.3, 0.4]), [0, 0, 1]);
    }

    #[test]
    fn pairwise_sums_are_sums() {
        for n in [0, 1, 7, 8, 9, 128, 129, 1000_u32] {
            let values: Vec<f64> = (0..n).map(f64::from).collect();
            let expected = f64::from(n) * (f64::from(n) - 1.0) / 2.0;
            assert_eq!(pairwise_sum(&values), expected.max(0.0));
        }
    }

    #[test]
    fn one_example_is_left_in_a_class() {
        assert_eq!(prune_counts(&[0, 2, 3, 0], 0, 2), [1, 1]);
        assert_eq!(prune_counts(&[0, 2, 3, 0], 1, 2), [2, 1]);
        assert_eq!(prune_counts(&[0; 4], 1, 2), [0, 1]);
        assert_eq!(prune_counts(&[0, 2, 3, 0, 0, 0, 0, 0, 0], 0, 3), [1, 1, 2]);
    }
}
