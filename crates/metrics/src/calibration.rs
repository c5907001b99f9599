//! Reliability bins and the expected calibration error.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;

/// The examples whose probability is in (`low`, `high`]; the first bin also includes 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower edge, excluded.
    pub low: f64,
    /// Upper edge, included.
    pub high: f64,
    /// Number of examples.
    pub n: usize,
    /// Mean probability of the examples; 0 in an empty bin.
    pub mean_probability: f64,
    /// Share of positive examples; 0 in an empty bin.
    pub positive_share: f64,
}

/// Statistics of the examples in `bins` bins of equal width over 0..=1, including empty bins (edges as in
/// scikit-learn's `calibration_curve`).
///
/// # Errors
/// Empty input, different lengths, a value that is not a probability, or no bins.
pub fn reliability_bins(
    labels: &[bool],
    probabilities: &[f64],
    bins: usize,
) -> Result<Vec<ReliabilityBin>> {
    check::scored(labels, probabilities)?;
    check::probabilities("probabilities", probabilities)?;
    check::count_in("bins", bins, 10_000, "1 to 10,000; 10 is usual")?;
    let edges: Vec<f64> = (0..=bins).map(|i| i as f64 * (1.0 / bins as f64)).collect();
    let mut sums = vec![(0_usize, 0.0, 0_usize); bins];
    for (p, label) in probabilities.iter().zip(labels) {
        let (n, sum, positives) = &mut sums[edges[1..bins].partition_point(|edge| edge < p)];
        *n += 1;
        *sum += p;
        *positives += usize::from(*label);
    }
    let bin = |(i, (n, sum, positives)): (usize, (usize, f64, usize))| ReliabilityBin {
        low: edges[i],
        high: edges[i + 1],
        n,
        mean_probability: sum / n.max(1) as f64,
        positive_share: positives as f64 / n.max(1) as f64,
    };
    Ok(sums.into_iter().enumerate().map(bin).collect())
}

/// Expected calibration error: the mean over examples of |positive share − mean probability| of their bin
/// (Naeini 2015; Guo 2017).
///
/// For two classes, pass the labels and probabilities of the positive class; for more, whether each prediction is
/// correct and the probability of the predicted class. The value depends on the number of bins and is biased upwards
/// for few examples: compare only values from the same numbers of bins and examples.
///
/// # Errors
/// As [`reliability_bins`].
pub fn expected_calibration_error(
    labels: &[bool],
    probabilities: &[f64],
    bins: usize,
) -> Result<f64> {
    let gap =
        |bin: &ReliabilityBin| bin.n as f64 * (bin.positive_share - bin.mean_probability).abs();
    let gaps: f64 = reliability_bins(labels, probabilities, bins)?
        .iter()
        .map(gap)
        .sum();
    Ok(gaps / labels.len() as f64)
}
