//! Area under the ROC curve and its bootstrap.

use std::collections::BTreeSet;

use crate::bootstrap::{Bootstrap, Resampling};
use crate::check;
use crate::error::Result;
use crate::interval::Interval;
use crate::normal::normal_quantile;

/// Area under the ROC curve: the probability that a positive scores higher than a negative, with ties counted as half.
///
/// Computed from integer counts of pairs, so it does not depend on the order of the examples.
///
/// # Errors
/// Empty input, different lengths, a score that is not finite, or only one class present.
pub fn roc_auc(labels: &[bool], scores: &[f64]) -> Result<f64> {
    let ranked = RankedScores::new(labels, scores)?;
    Ok(ranked.auc(0..labels.len(), &mut Vec::new()).unwrap_or(0.5))
}

/// Percentile bootstrap interval of [`roc_auc`]; resamples without examples of a class are redrawn (see [`Bootstrap`]).
///
/// If the classes do not overlap, every resample has the same AUC of 1 or 0, and the interval is Newcombe's instead
/// (2006, method 5): the AUCs under which such a sample is not too unlikely, based on Hanley and McNeil's variance. For
/// grouped examples it uses the numbers of groups.
///
/// Sorts once, so a resample costs O(n); 2000 resamples of 600 examples take about ten milliseconds.
///
/// # Errors
/// As [`roc_auc`] and [`Bootstrap::interval`].
pub fn bootstrap_auc(
    labels: &[bool],
    scores: &[f64],
    resampling: Resampling<'_>,
    bootstrap: &Bootstrap,
) -> Result<Interval> {
    let ranked = RankedScores::new(labels, scores)?;
    let mut scratch = Vec::new();
    let interval = bootstrap.interval(labels.len(), resampling, |sample| {
        ranked.auc(sample.iter().copied(), &mut scratch)
    })?;
    let groups = match resampling {
        Resampling::Grouped(groups) => Some(groups),
        Resampling::Simple | Resampling::Stratified(_) => None,
    };
    Ok(widen_separated(interval, labels, groups))
}

/// Replaces an interval of zero width, where the AUC is 1 or 0, with Newcombe's; returns any other unchanged.
pub(crate) fn widen_separated(
    interval: Interval,
    labels: &[bool],
    groups: Option<&[usize]>,
) -> Interval {
    let distance = || {
        let [m, n] = [true, false].map(|class| independent(labels, groups, class) as f64);
        separated_distance(m, n, interval.level)
    };
    match interval.estimate {
        1.0 => Interval {
            low: 1.0 - distance(),
            ..interval
        },
        0.0 => Interval {
            high: distance(),
            ..interval
        },
        _ => interval,
    }
}

/// Number of examples of a class, or of groups that contain any.
fn independent(labels: &[bool], groups: Option<&[usize]>, class: bool) -> usize {
    let members = (0..labels.len()).filter(|i| labels[*i] == class);
    match groups {
        Some(groups) => members.map(|i| groups[i]).collect::<BTreeSet<_>>().len(),
        None => members.count(),
    }
}

/// How far the true AUC may be from the observed 1 (or 0) of `m` positives and `n` negatives that do not overlap: the d
/// in 0..1 with d² = z² · V(1 - d), found by bisection.
fn separated_distance(m: f64, n: f64, level: f64) -> f64 {
    let z = normal_quantile((1.0 + level) / 2.0);
    let (mut near, mut far) = (0.0, 1.0);
    // Bisects until the bounds are adjacent floating-point numbers: about sixty iterations.
    loop {
        let d = f64::midpoint(near, far);
        if d <= near || d >= far {
            return d;
        }
        let spread = d / (1.0 + d) + (1.0 - d) / (2.0 - d);
        // Divided by d, which is not 0.
        let variance = (1.0 - d) / (m * n) * (1.0 + (f64::midpoint(m, n) - 1.0) * spread);
        if d < z * z * variance {
            near = d;
        } else {
            far = d;
        }
    }
}

/// Scores replaced by their dense ranks, so that computing the AUC of any multiset of examples needs no sorting.
pub(crate) struct RankedScores {
    /// Per example 2·rank + label: its index in a tally of (negatives, positives) per rank.
    slots: Vec<usize>,
    ranks: usize,
}

impl RankedScores {
    pub(crate) fn new(labels: &[bool], scores: &[f64]) -> Result<Self> {
        check::scored(labels, scores)?;
        check::both_classes("the area under the ROC curve", labels)?;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let mut slots = vec![0; scores.len()];
        let mut ranks = 0;
        for tied in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
            tied.iter()
                .for_each(|&i| slots[i] = 2 * ranks + usize::from(labels[i]));
            ranks += 1;
        }
        Ok(Self { slots, ranks })
    }

    /// AUC of the examples in `sample` (repeats count); `None` if a class has no examples.
    pub(crate) fn auc(
        &self,
        sample: impl Iterator<Item = usize>,
        tally: &mut Vec<u64>,
    ) -> Option<f64> {
        tally.clear();
        tally.resize(2 * self.ranks, 0);
        sample.for_each(|i| tally[self.slots[i]] += 1);
        let (mut negatives, mut positives, mut twice_won) = (0, 0, 0);
        for rank in tally.chunks_exact(2) {
            twice_won += rank[1] * (2 * negatives + rank[0]);
            negatives += rank[0];
            positives += rank[1];
        }
        let pairs = negatives * positives;
        (pairs > 0).then(|| twice_won as f64 / (2 * pairs) as f64)
    }
}
