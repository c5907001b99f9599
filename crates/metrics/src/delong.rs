//! DeLong's interval for the AUC: no resampling, a check on the bootstrap.

use crate::auc::roc_auc;
use crate::check;
use crate::error::{MetricsError, Result};
use crate::interval::Interval;
use crate::normal::normal_quantile;

/// AUC with the normal interval of DeLong, DeLong & Clarke-Pearson (1988), cut to 0..1.
///
/// The structural components come from midranks (Sun & Xu 2014), O(n log n). With perfect separation the
/// variance is 0 and so is the width: there, quote n beside it.
///
/// # Errors
/// As [`roc_auc`], fewer than two positives or negatives, or a level outside 0..1.
pub fn delong_auc(labels: &[bool], scores: &[f64], level: f64) -> Result<Interval> {
    check::level(level)?;
    let estimate = roc_auc(labels, scores)?;
    let half = normal_quantile((1.0 + level) / 2.0) * variance(labels, scores)?.sqrt();
    let (low, high) = ((estimate - half).max(0.0), (estimate + half).min(1.0));
    Ok(Interval {
        estimate,
        low,
        high,
        level,
        n: labels.len(),
    })
}

/// Var(positives' components) / m + Var(negatives' components) / n.
fn variance(labels: &[bool], scores: &[f64]) -> Result<f64> {
    let positives = check::count_true(labels);
    let negatives = labels.len() - positives;
    if positives < 2 || negatives < 2 {
        let metric = "DeLong's variance, two of each,";
        return Err(MetricsError::SingleClass {
            metric,
            positives,
            n: labels.len(),
        });
    }
    let overall = midranks(scores);
    // A positive's component is the share of negatives it beats, a negative's that of positives that beat it
    // (up to a constant, which no variance sees): the rank among all less the rank among its own.
    let component_variance = |class: bool, others: usize| {
        let own: Vec<usize> = (0..labels.len()).filter(|i| labels[*i] == class).collect();
        let own_scores: Vec<f64> = own.iter().map(|i| scores[*i]).collect();
        let ranks = own.iter().map(|i| overall[*i]).zip(midranks(&own_scores));
        let components: Vec<f64> = ranks
            .map(|(all, own)| (all - own) / others as f64)
            .collect();
        sample_variance(&components) / own.len() as f64
    };
    Ok(component_variance(true, negatives) + component_variance(false, positives))
}

/// Rank of each value from 1, ties sharing their mean rank.
fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = before as f64 + (tied.len() + 1) as f64 / 2.0;
        tied.iter().for_each(|i| ranks[*i] = rank);
        before += tied.len();
    }
    ranks
}

/// Unbiased, for at least two values.
fn sample_variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / (n - 1.0)
}
