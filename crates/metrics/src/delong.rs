//! DeLong's interval for an AUC and test of two AUCs, and Obuchowski's for grouped examples: computed without
//! resampling, as a check on the bootstrap.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::auc::{roc_auc, widen_separated};
use crate::check;
use crate::error::{MetricsError, Result};
use crate::interval::Interval;
use crate::normal::{normal_quantile, two_sided_p};
use crate::ranks::midranks;

/// AUC with a normal interval, clipped to 0..1: that of DeLong, DeLong & Clarke-Pearson (1988) for independent
/// examples, and that of Obuchowski (1997) if `groups` gives the group of each example (such as a patient with several
/// images). The two are equal if every group is a single example.
///
/// The structural components are computed from midranks (Sun & Xu 2014) in O(n log n). If the classes do not overlap,
/// their variance is 0 and the interval is Newcombe's, as in [`crate::bootstrap_auc`].
///
/// # Errors
/// As [`roc_auc`]; also if the number of groups is not that of the examples, if fewer than two groups have positives or
/// negatives, or if the level is outside 0..1.
pub fn delong_auc(
    labels: &[bool],
    scores: &[f64],
    groups: Option<&[usize]>,
    level: f64,
) -> Result<Interval> {
    check::level(level)?;
    let (estimate, variance) = auc_variance(labels, scores, groups)?;
    let half = normal_quantile((1.0 + level) / 2.0) * variance.sqrt();
    let (low, high) = ((estimate - half).max(0.0), (estimate + half).min(1.0));
    let interval = Interval {
        estimate,
        low,
        high,
        level,
        n: labels.len(),
    };
    Ok(widen_separated(interval, labels, groups))
}

/// The AUC and the variance of [`delong_auc`].
pub(crate) fn auc_variance(
    labels: &[bool],
    scores: &[f64],
    groups: Option<&[usize]>,
) -> Result<(f64, f64)> {
    let estimate = roc_auc(labels, scores)?;
    let variance = Components::new(labels, scores).variance(estimate, labels, groups)?;
    Ok((estimate, variance))
}

/// The structural component of each example, whose mean over each class is the AUC.
pub(crate) fn placements(labels: &[bool], scores: &[f64]) -> Vec<f64> {
    let Components {
        positives,
        negatives,
    } = Components::new(labels, scores);
    let mut placements = vec![0.0; labels.len()];
    for (i, component) in positives.into_iter().chain(negatives) {
        placements[i] = component;
    }
    placements
}

/// How much better the first of two rankings of the same examples is than the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AucDifference {
    /// The first AUC minus the second, with a normal interval.
    pub interval: Interval,
    /// Two-sided p-value of the hypothesis that the AUCs are equal; 1 if they are.
    pub p: f64,
}

/// DeLong's test of two AUCs on the same examples (DeLong, DeLong & Clarke-Pearson 1988), with Obuchowski's variance (1997)
/// if `groups` gives the group of each example.
///
/// # Errors
/// As [`delong_auc`] of each.
pub fn delong_difference(
    labels: &[bool],
    [first, second]: [&[f64]; 2],
    groups: Option<&[usize]>,
    level: f64,
) -> Result<AucDifference> {
    check::level(level)?;
    let estimate = roc_auc(labels, first)? - roc_auc(labels, second)?;
    let difference = Components::new(labels, first).minus(&Components::new(labels, second));
    let error = difference.variance(estimate, labels, groups)?.sqrt();
    let half = normal_quantile((1.0 + level) / 2.0) * error;
    let p = if estimate == 0.0 {
        1.0
    } else {
        two_sided_p(estimate / error)
    };
    Ok(AucDifference {
        interval: Interval {
            estimate,
            low: estimate - half,
            high: estimate + half,
            level,
            n: labels.len(),
        },
        p,
    })
}

/// Structural components of an AUC, or of a difference of two, whose mean over a class is the AUC.
struct Components {
    /// Index and component of each positive.
    positives: Vec<(usize, f64)>,
    /// Of each negative.
    negatives: Vec<(usize, f64)>,
}

/// A group's numbers of positives and negatives, and the sums of their components minus the AUC.
#[derive(Clone, Copy, Default)]
struct Group {
    positives: usize,
    negatives: usize,
    of_positives: f64,
    of_negatives: f64,
}

impl Components {
    fn new(labels: &[bool], scores: &[f64]) -> Self {
        Self {
            positives: components(labels, scores, true),
            negatives: components(labels, scores, false),
        }
    }

    fn minus(mut self, other: &Self) -> Self {
        let pairs = [
            (&mut self.positives, &other.positives),
            (&mut self.negatives, &other.negatives),
        ];
        for (own, others) in pairs {
            own.iter_mut().zip(others).for_each(|(a, b)| a.1 -= b.1);
        }
        self
    }

    /// S10 / m + S01 / n + 2 · S11 / (m · n), with m positives and n negatives, of components whose mean is `mean`.
    fn variance(&self, mean: f64, labels: &[bool], groups: Option<&[usize]>) -> Result<f64> {
        if let Some(groups) = groups {
            check::same_length("groups", groups.len(), "labels", labels.len())?;
        }
        let id = |i: usize| groups.map_or(i, |groups| groups[i]);
        let (positives, negatives) = (self.positives.len(), self.negatives.len());
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for (i, component) in &self.positives {
            let group = groups.entry(id(*i)).or_default();
            group.positives += 1;
            group.of_positives += component - mean;
        }
        for (i, component) in &self.negatives {
            let group = groups.entry(id(*i)).or_default();
            group.negatives += 1;
            group.of_negatives += component - mean;
        }
        let count = |with: fn(&Group) -> bool| groups.values().filter(|g| with(g)).count() as f64;
        let with_positives = count(|g| g.positives > 0);
        let with_negatives = count(|g| g.negatives > 0);
        if with_positives < 2.0 || with_negatives < 2.0 {
            let metric = "DeLong's variance (at least two of each)";
            return Err(MetricsError::SingleClass {
                metric,
                positives,
                n: labels.len(),
            });
        }
        let (m, n, all) = (positives as f64, negatives as f64, groups.len() as f64);
        let sum = |of: fn(&Group) -> f64| groups.values().map(of).sum::<f64>();
        let s10 = with_positives / ((with_positives - 1.0) * m) * sum(|g| g.of_positives.powi(2));
        let s01 = with_negatives / ((with_negatives - 1.0) * n) * sum(|g| g.of_negatives.powi(2));
        let s11 = all / (all - 1.0) * sum(|g| g.of_positives * g.of_negatives);
        // Negative covariance between positives and negatives of the same group can make the estimate negative.
        Ok((s10 / m + s01 / n + 2.0 * s11 / (m * n)).max(0.0))
    }
}

/// Index and structural component of each example of a class: for a positive, the share of negatives that score lower;
/// for a negative, the share of positives that score higher, with ties counted as half. The rank among all examples
/// minus the rank within the class is the number of examples of the other class below.
fn components(labels: &[bool], scores: &[f64], class: bool) -> Vec<(usize, f64)> {
    let own: Vec<usize> = (0..labels.len()).filter(|i| labels[*i] == class).collect();
    let own_scores: Vec<f64> = own.iter().map(|i| scores[*i]).collect();
    let others = (labels.len() - own.len()) as f64;
    let overall = midranks(scores);
    let ranks = own.iter().zip(midranks(&own_scores));
    ranks
        .map(|(i, among_own)| {
            let below = (overall[*i] - among_own) / others;
            (*i, if class { below } else { 1.0 - below })
        })
        .collect()
}
