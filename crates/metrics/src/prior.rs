//! Prior shift (label shift): the class shares of a target population, estimated without its labels.
//!
//! A classifier calibrated on data with class shares `source` gives p(class | x) for those shares. In a hospital with
//! other shares its probabilities are wrong even if each disease looks the same there. If only the shares differ, that
//! is p(x | class) does not change, then p / source is proportional to p(x | class), and the shares of the target are
//! those of a mixture with known components. Whether only the shares differ is what [`crate::label_shift_test`]
//! examines: apply it before relying on these estimates.
//!
//! [`adapt_prior`] is the EM algorithm of Saerens, Latinne & Decaestecker ("Adjusting the outputs of a classifier to
//! new a priori probabilities", 2002), which maximizes the likelihood of the mixture; it relies on calibration
//! (Alexandari, Kundaje & Shrikumar 2020). [`bbse`] is black box shift estimation (Lipton, Wang & Smola 2018), which
//! needs no calibration but has a larger variance.

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Resampling};
use crate::check;
use crate::error::{MetricsError, Result};
use crate::interval::Interval;
use crate::logits::largest;
use crate::mixture::{Counted, dot};
use crate::probability::Probabilities;

/// Largest condition number (1-norm) of a confusion matrix that is inverted. The columns of the matrix sum to 1, so the
/// condition number bounds the error of the prior by that of the mean prediction (both in 1-norm): at 100, an error of
/// one percentage point in the mean prediction can move the prior over its whole range.
const MAX_CONDITION: f64 = 100.0;

/// The largest change of a share in an iteration of EM at which it stops. EM converges linearly, at a rate that
/// approaches 1 as the classes overlap: the remaining error can be a hundred times the last change.
const TOLERANCE: f64 = 1e-12;

/// Maximum number of iterations of EM.
const ITERATIONS: usize = 10_000;

/// The class shares of a target population, estimated by [`adapt_prior`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorShift {
    /// Share of each class in the target population; the sum is 1.
    pub prior: Vec<f64>,
    /// Number of EM iterations.
    pub iterations: usize,
    /// Whether the last iteration changed no share by more than 1e-12. If false, the shares are not reliable to more
    /// than a few digits, because the classes overlap almost completely or a share approaches 0 slowly.
    pub converged: bool,
}

/// Which predictions the confusion matrix of [`bbse`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfusionKind {
    /// The predicted probabilities, which has the smaller variance.
    Soft,
    /// The class with the largest probability, the first in a tie.
    Hard,
}

/// Estimates the class shares of the data by the EM algorithm of Saerens et al. (2002), starting from `source`.
///
/// `probabilities` is n × classes, row-major, calibrated on data whose class shares are `source`. The result maximizes
/// the likelihood `Σ ln Σ_k prior_k · p_k / source_k`, which is concave in the prior: there is no other maximum to end
/// in.
///
/// # Errors
/// Invalid probabilities ([`Probabilities::new`]), or shares that are not positive or do not sum to 1.
pub fn adapt_prior(probabilities: &[f64], source: &[f64]) -> Result<PriorShift> {
    let densities = Densities::new(probabilities, source)?;
    Ok(densities.fit(&densities.all(), source))
}

/// The probabilities under another prior: `p_k · target_k / source_k`, normalized in each row; n × classes, row-major.
///
/// `source` are the class shares of the data on which `probabilities` are calibrated.
///
/// # Errors
/// Invalid probabilities ([`Probabilities::new`]), `source` shares that are not positive, shares that do not sum to 1,
/// different numbers of classes, or a row that cannot occur because the target share of each of its classes is 0.
pub fn reweighted(probabilities: &[f64], source: &[f64], target: &[f64]) -> Result<Vec<f64>> {
    let densities = Densities::new(probabilities, source)?;
    check::same_length("target", target.len(), "source", source.len())?;
    check::class_shares("target", target)?;
    let mut posterior = Vec::with_capacity(probabilities.len());
    for (row, density) in densities.rows().enumerate() {
        let total = dot(density, target);
        if total <= 0.0 {
            return Err(MetricsError::ImpossibleRow { row });
        }
        posterior.extend(
            density
                .iter()
                .zip(target)
                .map(|(d, share)| d * share / total),
        );
    }
    Ok(posterior)
}

/// The bootstrap interval of each class's share in the target population: the estimate of [`adapt_prior`], repeated on
/// resamples of the target's examples, or of its groups if `groups` gives the group of each example.
///
/// The intervals show the sampling error of the target data only, not errors of the calibration: with little validation
/// data, they are too narrow.
///
/// # Errors
/// As [`adapt_prior`] and [`Bootstrap::interval`].
pub fn prior_intervals(
    probabilities: &[f64],
    source: &[f64],
    groups: Option<&[usize]>,
    bootstrap: &Bootstrap,
) -> Result<Vec<Interval>> {
    let densities = Densities::new(probabilities, source)?;
    let all = densities.all();
    let mut start: Option<Vec<f64>> = None;
    let resampling = groups.map_or(Resampling::Simple, Resampling::Grouped);
    bootstrap.intervals(all.len(), resampling, |sample| {
        // The first sample is the data; the resamples start near its estimate.
        if let Some(start) = &start {
            return Some(densities.maximum(sample, start));
        }
        let prior = densities.fit(sample, source).prior;
        start = Some(inside(&prior, source));
        Some(prior)
    })
}

/// Black box shift estimation (Lipton et al. 2018): the class shares of the target, from a confusion matrix and the
/// mean prediction on the target.
///
/// With `C[i][j]` the mean prediction of class i over validation examples of class j, the shares solve `C · prior =`
/// mean prediction on the target. Negative shares, which result from sampling error, become 0, and the others are
/// scaled to a sum of 1. `None` if `C` is singular or has a condition number above 100, as for a classifier that hardly
/// separates two of the classes.
///
/// `validation` and `target` are n × classes, row-major; they need not be calibrated, but both must come from the same
/// classifier.
///
/// # Errors
/// Invalid probabilities ([`Probabilities::new`]), a number of labels other than that of validation examples, a label
/// out of range, or a class without validation examples.
pub fn bbse(
    classes: usize,
    labels: &[usize],
    validation: &[f64],
    target: &[f64],
    kind: ConfusionKind,
) -> Result<Option<Vec<f64>>> {
    let validation = Probabilities::new(classes, validation)?;
    let target = Probabilities::new(classes, target)?;
    check::same_length("labels", labels.len(), "validation", validation.n())?;
    let counts = class_counts("black box shift estimation", labels, classes)?;
    let mut confusion = vec![0.0; classes * classes];
    for (row, label) in validation.rows().zip(labels) {
        for (i, p) in kind.prediction(row).into_iter().enumerate() {
            confusion[i * classes + label] += p / counts[*label] as f64;
        }
    }
    let mut mean = vec![0.0; classes];
    for row in target.rows() {
        let prediction = kind.prediction(row);
        let terms = mean.iter_mut().zip(prediction);
        terms.for_each(|(mean, p)| *mean += p / target.n() as f64);
    }
    Ok(solve(&confusion, &mean).and_then(|shares| on_simplex(&shares)))
}

impl ConfusionKind {
    fn prediction(self, row: &[f64]) -> Vec<f64> {
        match self {
            Self::Soft => row.to_vec(),
            Self::Hard => {
                let predicted = largest(row);
                let one = |class| f64::from(u8::from(class == predicted));
                (0..row.len()).map(one).collect()
            }
        }
    }
}

/// Number of examples of each class, at least one.
pub(crate) fn class_counts(
    metric: &'static str,
    labels: &[usize],
    classes: usize,
) -> Result<Vec<usize>> {
    check::labels_in_range("labels", labels, classes)?;
    let mut counts = vec![0; classes];
    labels.iter().for_each(|label| counts[*label] += 1);
    match counts.iter().position(|count| *count == 0) {
        Some(class) => Err(MetricsError::AbsentClass { metric, class }),
        None => Ok(counts),
    }
}

/// p(x | class) of each example up to a factor per example: `p / source`, n × classes.
pub(crate) struct Densities {
    classes: usize,
    values: Vec<f64>,
}

impl Densities {
    pub(crate) fn new(probabilities: &[f64], source: &[f64]) -> Result<Self> {
        check::class_shares("source", source)?;
        if let Some(share) = source.iter().find(|share| **share <= 0.0) {
            let expected =
                "a positive share for each class: without examples, a class cannot be calibrated";
            return Err(check::setting("source", share, expected));
        }
        let checked = Probabilities::new(source.len(), probabilities)?;
        let ratio = |row: &[f64]| -> Vec<f64> {
            row.iter().zip(source).map(|(p, share)| p / share).collect()
        };
        Ok(Self {
            classes: source.len(),
            values: checked.rows().flat_map(ratio).collect(),
        })
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.classes)
    }

    /// The indices of all examples.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.values.len() / self.classes).collect()
    }

    /// EM on the examples with these indices, from a `start` whose shares are all positive. The likelihood never
    /// decreases, so that no example's density can become 0.
    pub(crate) fn fit(&self, sample: &[usize], start: &[f64]) -> PriorShift {
        let mut prior = start.to_vec();
        for iteration in 1..=ITERATIONS {
            let next = self.step(sample, &prior);
            let change = next.iter().zip(&prior).map(|(a, b)| (a - b).abs());
            let converged = change.fold(0.0, f64::max) <= TOLERANCE;
            prior = next;
            if converged {
                return PriorShift {
                    prior,
                    iterations: iteration,
                    converged,
                };
            }
        }
        PriorShift {
            prior,
            iterations: ITERATIONS,
            converged: false,
        }
    }

    /// The limit of [`Densities::fit`], for resamples: faster, and without the number of iterations.
    pub(crate) fn maximum(&self, sample: &[usize], start: &[f64]) -> Vec<f64> {
        Counted::new(self.classes, &self.values, sample).maximum(start)
    }

    /// The mean posterior under `prior`: the E and M steps in one.
    fn step(&self, sample: &[usize], prior: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.classes];
        for i in sample {
            let density = &self.values[i * self.classes..(i + 1) * self.classes];
            let scale = 1.0 / dot(density, prior);
            let terms = sums.iter_mut().zip(density);
            terms.for_each(|(sum, d)| *sum += d * scale);
        }
        let n = sample.len() as f64;
        let shares = prior.iter().zip(&sums);
        shares.map(|(share, sum)| share * sum / n).collect()
    }
}

/// A start for EM near `prior`, with positive shares.
pub(crate) fn inside(prior: &[f64], source: &[f64]) -> Vec<f64> {
    let pairs = prior.iter().zip(source);
    pairs.map(|(p, s)| 0.99 * p + 0.01 * s).collect()
}

/// `matrix⁻¹ · right`; `None` if the matrix, whose columns sum to 1, is ill-conditioned.
fn solve(matrix: &[f64], right: &[f64]) -> Option<Vec<f64>> {
    let n = right.len();
    let inverse = inverse(matrix, n)?;
    let column = |j: usize| (0..n).map(|i| inverse[i * n + j].abs()).sum::<f64>();
    // The 1-norm of the matrix itself is 1.
    let condition = (0..n).map(column).fold(0.0, f64::max);
    (condition <= MAX_CONDITION)
        .then(|| inverse.chunks_exact(n).map(|row| dot(row, right)).collect())
}

/// The inverse of an n × n matrix by Gauss-Jordan elimination with partial pivoting; `None` if a pivot is 0.
fn inverse(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let width = 2 * n;
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let unit = (0..n).map(|j| f64::from(u8::from(i == j)));
            matrix[i * n..(i + 1) * n]
                .iter()
                .copied()
                .chain(unit)
                .collect()
        })
        .collect();
    for column in 0..n {
        let size = |i: &usize| rows[*i][column].abs();
        let pivot = (column..n).max_by(|a, b| size(a).total_cmp(&size(b)))?;
        rows.swap(column, pivot);
        let top = rows[column].clone();
        if top[column] == 0.0 {
            return None;
        }
        for (i, row) in rows.iter_mut().enumerate() {
            let factor = row[column] / top[column];
            for j in 0..width {
                row[j] = if i == column {
                    top[j] / top[column]
                } else {
                    row[j] - factor * top[j]
                };
            }
        }
    }
    Some(
        rows.iter()
            .flat_map(|row| row[n..].iter().copied())
            .collect(),
    )
}

/// Negative shares as 0, the others scaled to a sum of 1; `None` if none is positive.
fn on_simplex(shares: &[f64]) -> Option<Vec<f64>> {
    let clipped: Vec<f64> = shares.iter().map(|share| share.max(0.0)).collect();
    let sum: f64 = clipped.iter().sum();
    (sum > 0.0).then(|| clipped.iter().map(|share| share / sum).collect())
}
