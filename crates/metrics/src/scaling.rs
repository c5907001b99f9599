//! Bias-corrected temperature scaling: calibrated probabilities, fitted on validation data.
//!
//! `p = softmax(z / T + b)`: the temperature of Guo et al. 2017 with a bias per class (Alexandari, Kundaje & Shrikumar
//! 2020). Rankings and thresholds use the logits, which it does not change; without a threshold the most probable class is
//! predicted, which the biases can change.
//!
//! **Prior.** The negative log-likelihood is convex in β = 1/T and b, but it has no minimum if the validation data are
//! separable: β then grows without bound. Therefore β has a Gamma prior with its mode at 1, and each bias a normal
//! prior around 0 (standard deviation 2). They add `β − 1 − ln β + Σ b² / 8` to the sum over all examples, about the
//! weight of a single example. The sum is strictly convex, so its minimum exists, is finite, and is found by Newton's
//! method.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::logits::{Logits, log_odds};
use crate::newton::{Convex, minimum};

/// Standard deviation of the prior on a bias.
pub(crate) const BIAS_DEVIATION: f64 = 2.0;

/// Maps logits to probabilities: `softmax(z / temperature + bias)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Scaling {
    temperature: f64,
    bias: Vec<f64>,
}

/// A scaling as read from a file, before it is checked.
#[derive(Deserialize)]
struct Unchecked {
    temperature: f64,
    bias: Vec<f64>,
}

/// A fitted scaling, and its effect on the validation data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingFit {
    /// The scaling that minimizes the negative log-likelihood plus prior.
    pub scaling: Scaling,
    /// Mean negative log-likelihood before scaling, in nats.
    pub nll_before: f64,
    /// Mean negative log-likelihood after scaling, in nats. Because of the prior, it can be higher than before if there
    /// are few examples.
    pub nll_after: f64,
    /// Number of examples.
    pub n: usize,
    /// Why the examples alone do not determine finite values, if they do not: the values then depend on the prior.
    pub unbounded: Option<Unbounded>,
}

/// Why a likelihood has no minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unbounded {
    /// Every example is classified correctly: the likelihood increases with confidence without bound.
    Separable,
    /// The logits are no more informative than the class shares, or point the wrong way.
    Uninformative,
    /// A class has no examples: the likelihood increases as its probability decreases.
    AbsentClass,
}

impl Scaling {
    /// Plain softmax.
    pub fn identity(classes: usize) -> Self {
        Self {
            temperature: 1.0,
            bias: vec![0.0; classes],
        }
    }

    /// Creates a scaling from a temperature and one bias per class.
    ///
    /// # Errors
    /// A temperature that is not positive and finite, no biases, or a bias that is not finite.
    pub fn new(temperature: f64, bias: Vec<f64>) -> Result<Self> {
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(check::setting(
                "temperature",
                temperature,
                "a positive finite number",
            ));
        }
        check::not_empty("bias", bias.len())?;
        check::finite("bias", &bias)?;
        Ok(Self { temperature, bias })
    }

    /// The divisor of the logits: above 1 it softens probabilities, below 1 it sharpens them.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The biases added to the divided logits, one per class.
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// The probabilities for one example's logits, one logit per class.
    pub fn probabilities<P: Copy + Into<f64>>(&self, logits: &[P]) -> Vec<f64> {
        softmax(&self.scores(logits))
    }

    /// The scaled scores of one example, whose softmax are its probabilities.
    pub fn scores<P: Copy + Into<f64>>(&self, logits: &[P]) -> Vec<f64> {
        let scaled = logits.iter().zip(&self.bias);
        scaled
            .map(|(z, bias)| (*z).into() / self.temperature + bias)
            .collect()
    }

    /// With two classes, the scaled log-odds of class `positive` if its log-odds are `log_odds`.
    pub fn scaled_log_odds(&self, log_odds: f64, positive: usize) -> f64 {
        log_odds / self.temperature + self.shift(positive)
    }

    /// With two classes, the probability of class `positive` if its log-odds against the other class are `log_odds`.
    pub fn probability_at(&self, log_odds: f64, positive: usize) -> f64 {
        let x = self.scaled_log_odds(log_odds, positive);
        if x >= 0.0 {
            1.0 / (1.0 + (-x).exp())
        } else {
            x.exp() / (1.0 + x.exp())
        }
    }

    /// With two classes, the log-odds from which class `positive` has at least this probability, which must be strictly
    /// between 0 and 1: the inverse of [`Scaling::probability_at`].
    pub fn log_odds_at(&self, probability: f64, positive: usize) -> f64 {
        let logit = (probability / (1.0 - probability)).ln();
        self.temperature * (logit - self.shift(positive))
    }

    /// Bias of class `positive` minus that of the other of two classes.
    fn shift(&self, positive: usize) -> f64 {
        let bias = |class: usize| self.bias.get(class).copied().unwrap_or(0.0);
        bias(positive) - bias(1 - positive.min(1))
    }
}

impl TryFrom<Unchecked> for Scaling {
    type Error = crate::MetricsError;

    fn try_from(read: Unchecked) -> Result<Self> {
        Self::new(read.temperature, read.bias)
    }
}

/// Fits temperature and biases on validation logits, n × `classes` row-major, f32 or f64.
///
/// # Errors
/// Empty input, inconsistent lengths, a label out of range, or a logit that is not finite.
pub fn fit_scaling<P: Copy + Into<f64>>(
    labels: &[usize],
    logits: &[P],
    classes: usize,
) -> Result<ScalingFit> {
    let logits = Logits::new(classes, logits)?;
    logits.check_labels(labels)?;
    let posterior = Posterior {
        labels,
        logits: &logits,
    };
    let mut plain = vec![0.0; classes + 1];
    plain[0] = 1.0;
    let found = minimum(&posterior, plain.clone());
    let scaling = Scaling {
        temperature: 1.0 / found[0],
        bias: found[1..].to_vec(),
    };
    Ok(ScalingFit {
        nll_before: posterior.mean_nll(&plain),
        nll_after: posterior.mean_nll(&found),
        n: labels.len(),
        unbounded: posterior.unbounded(&scaling),
        scaling,
    })
}

/// The objective to minimize, as a function of `[β, b…]`.
struct Posterior<'a> {
    labels: &'a [usize],
    logits: &'a Logits,
}

impl Convex for Posterior<'_> {
    /// Sum of −ln p(true class) plus the terms of the prior; infinite if β is not positive.
    fn value(&self, at: &[f64]) -> f64 {
        let beta = at[0];
        if beta <= 0.0 {
            return f64::INFINITY;
        }
        let biases: f64 = at[1..].iter().map(|b| b * b).sum();
        let prior = beta - 1.0 - beta.ln() + biases / (2.0 * BIAS_DEVIATION * BIAS_DEVIATION);
        self.mean_nll(at) * self.labels.len() as f64 + prior
    }

    /// The derivative of a scaled logit x_k is z_k with respect to β, and 1 with respect to b_k.
    fn derivatives(&self, at: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let width = at.len();
        let (mut gradient, mut hessian) = (vec![0.0; width], vec![0.0; width * width]);
        for (z, label) in self.rows() {
            let p = softmax(&scaled(z, at));
            let mean: f64 = p.iter().zip(z).map(|(p, z)| p * z).sum();
            gradient[0] += mean - z[*label];
            gradient[label + 1] -= 1.0;
            let spread = p.iter().zip(z).map(|(p, z)| p * (z - mean).powi(2));
            hessian[0] += spread.sum::<f64>();
            for (k, (p_k, z_k)) in p.iter().zip(z).enumerate() {
                gradient[k + 1] += p_k;
                hessian[k + 1] += p_k * (z_k - mean);
                hessian[(k + 1) * width] += p_k * (z_k - mean);
                hessian[(k + 1) * width + k + 1] += p_k;
                for (l, p_l) in p.iter().enumerate() {
                    hessian[(k + 1) * width + l + 1] -= p_k * p_l;
                }
            }
        }
        let beta = at[0];
        gradient[0] += 1.0 - 1.0 / beta;
        hessian[0] += 1.0 / (beta * beta);
        let precision = 1.0 / (BIAS_DEVIATION * BIAS_DEVIATION);
        for k in 1..width {
            gradient[k] += precision * at[k];
            hessian[k * width + k] += precision;
        }
        (gradient, hessian)
    }
}

impl Posterior<'_> {
    fn mean_nll(&self, at: &[f64]) -> f64 {
        let loss = |(z, label): (&[f64], &usize)| {
            let scaled = scaled(z, at);
            let top = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scaled.iter().map(|x| (x - top).exp()).sum();
            sum.ln() - (scaled[*label] - top)
        };
        self.rows().map(loss).sum::<f64>() / self.labels.len() as f64
    }

    fn unbounded(&self, fitted: &Scaling) -> Option<Unbounded> {
        let classes = self.logits.classes();
        let mut counts = vec![0usize; classes];
        self.labels.iter().for_each(|label| counts[*label] += 1);
        if counts.contains(&0) {
            return Some(Unbounded::AbsentClass);
        }
        if self.separable(fitted) {
            return Some(Unbounded::Separable);
        }
        // The derivative at β = 0, where the probabilities are the class shares.
        let shares: Vec<f64> = counts
            .iter()
            .map(|n| *n as f64 / self.labels.len() as f64)
            .collect();
        let slope = |(z, label): (&[f64], &usize)| {
            let mean: f64 = shares.iter().zip(z).map(|(share, z)| share * z).sum();
            mean - z[*label]
        };
        let slope: f64 = self.rows().map(slope).sum();
        (slope >= 0.0).then_some(Unbounded::Uninformative)
    }

    /// Whether some temperature and biases classify all examples correctly: exact with two classes; with more, only the
    /// fitted values are tested.
    fn separable(&self, fitted: &Scaling) -> bool {
        if self.logits.classes() == 2 {
            let of = |class: usize| {
                let rows = self.rows().filter(move |(_, label)| **label == class);
                rows.map(|(z, _)| log_odds(z, 1))
            };
            let (low, high) = (f64::min, f64::max);
            let highest_negative = of(0).fold(f64::NEG_INFINITY, high);
            let lowest_positive = of(1).fold(f64::INFINITY, low);
            // If all are equal, they cannot be separated.
            let parted = of(0).fold(f64::INFINITY, low) < of(1).fold(f64::NEG_INFINITY, high);
            return highest_negative <= lowest_positive && parted;
        }
        let right = |(z, label): (&[f64], &usize)| {
            let p = fitted.probabilities(z);
            p.iter()
                .enumerate()
                .all(|(k, p_k)| k == *label || *p_k < p[*label])
        };
        self.rows().all(right)
    }

    fn rows(&self) -> impl Iterator<Item = (&[f64], &usize)> {
        self.logits.rows().zip(self.labels)
    }
}

/// β·z + b.
fn scaled(z: &[f64], at: &[f64]) -> Vec<f64> {
    z.iter().zip(&at[1..]).map(|(z, b)| at[0] * z + b).collect()
}

/// Probabilities of the scores of one example: softmax, shifted by the largest score to avoid overflow.
pub fn softmax(x: &[f64]) -> Vec<f64> {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = x.iter().map(|x| (x - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}
