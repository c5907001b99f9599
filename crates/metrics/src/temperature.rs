//! Temperature scaling (Guo et al. 2017): one number, fitted on validation, that makes confidences honest.
//!
//! Logits are divided by T. The order of examples and the predicted class stay as they are (so do AUC and
//! accuracy); only the confidence moves. In β = 1/T the negative log-likelihood is convex, so its derivative has
//! one root, found by Newton steps kept inside a shrinking bracket.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;

/// Divides logits: above 1 it softens probabilities, below 1 it sharpens them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Temperature(f64);

/// A fitted temperature, and what it did to the validation data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TemperatureFit {
    /// The minimiser, within 0.01..=100. At an end of that range the data set no finite optimum: below, every
    /// validation example is right; above, the logits carry nothing.
    pub temperature: Temperature,
    /// Mean negative log-likelihood before, in nats.
    pub nll_before: f64,
    /// Mean negative log-likelihood after, in nats; never more than before.
    pub nll_after: f64,
    /// Number of examples.
    pub n: usize,
}

/// Bounds of β = 1/T.
const BETA_RANGE: (f64, f64) = (0.01, 100.0);
const MAX_STEPS: usize = 100;

impl Temperature {
    /// Leaves logits as they are.
    pub const ONE: Self = Self(1.0);

    /// Any positive finite number.
    ///
    /// # Errors
    /// Zero, negative, infinite or NaN.
    pub fn new(value: f64) -> Result<Self> {
        if value.is_finite() && value > 0.0 {
            return Ok(Self(value));
        }
        Err(check::setting(
            "temperature",
            value,
            "a positive finite number",
        ))
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// softmax(logits / T) of one example's logits; empty in, empty out.
    pub fn softmax<P: Copy + Into<f64>>(self, logits: &[P]) -> Vec<f64> {
        let logits: Vec<f64> = logits.iter().map(|logit| (*logit).into()).collect();
        softmax(&logits, 1.0 / self.0)
    }

    /// sigmoid(logit / T).
    pub fn sigmoid(self, logit: f64) -> f64 {
        1.0 / (1.0 + (-logit / self.0).exp())
    }
}

impl TryFrom<f64> for Temperature {
    type Error = crate::MetricsError;

    fn try_from(value: f64) -> Result<Self> {
        Self::new(value)
    }
}

impl From<Temperature> for f64 {
    fn from(temperature: Temperature) -> Self {
        temperature.0
    }
}

/// Fits T on validation logits, n × `classes` row-major, f32 or f64, with softmax over each row.
///
/// # Errors
/// Empty input, lengths that do not fit, a label out of range, or a logit that is not finite.
pub fn fit_temperature<P: Copy + Into<f64>>(
    labels: &[usize],
    logits: &[P],
    classes: usize,
) -> Result<TemperatureFit> {
    check::not_empty("labels", labels.len())?;
    check::not_empty("classes", classes)?;
    check::same_length(
        "logits",
        logits.len(),
        "labels × classes",
        labels.len().saturating_mul(classes),
    )?;
    check::labels_in_range("labels", labels, classes)?;
    let logits: Vec<f64> = logits.iter().map(|logit| (*logit).into()).collect();
    check::finite("logits", &logits)?;
    Ok(Likelihood {
        labels,
        logits: &logits,
        classes,
    }
    .fit())
}

/// Fits T on one logit per example, with the sigmoid.
///
/// # Errors
/// Empty input, different lengths, or a logit that is not finite.
pub fn fit_temperature_binary(labels: &[bool], logits: &[f64]) -> Result<TemperatureFit> {
    check::scored(labels, logits)?;
    // sigmoid(z) is softmax of (0, z).
    let labels: Vec<usize> = labels.iter().map(|label| usize::from(*label)).collect();
    let pairs: Vec<f64> = logits.iter().flat_map(|logit| [0.0, *logit]).collect();
    fit_temperature(&labels, &pairs, 2)
}

struct Likelihood<'a> {
    labels: &'a [usize],
    logits: &'a [f64],
    classes: usize,
}

impl Likelihood<'_> {
    fn fit(&self) -> TemperatureFit {
        let temperature = Temperature(1.0 / self.minimising_beta());
        let (nll_before, nll_after) = (self.nll(1.0), self.nll(1.0 / temperature.0));
        let n = self.labels.len();
        // Flat to rounding: changing nothing is then the better answer.
        if nll_after >= nll_before {
            return TemperatureFit {
                temperature: Temperature::ONE,
                nll_before,
                nll_after: nll_before,
                n,
            };
        }
        TemperatureFit {
            temperature,
            nll_before,
            nll_after,
            n,
        }
    }

    /// The root of the rising derivative, or the end of the range that it lies beyond.
    fn minimising_beta(&self) -> f64 {
        let (mut low, mut high) = BETA_RANGE;
        let mut beta = 1.0;
        for _ in 0..MAX_STEPS {
            let (slope, curvature) = self.derivatives(beta);
            if slope > 0.0 {
                high = beta
            } else {
                low = beta
            }
            let newton = beta - slope / curvature;
            let inside = newton > low && newton < high; // false for NaN
            let next = if inside { newton } else { (low * high).sqrt() };
            if (next - beta).abs() <= 1e-14 * beta {
                break;
            }
            beta = next;
        }
        beta
    }

    /// Mean of −ln softmax(β·z)[label].
    fn nll(&self, beta: f64) -> f64 {
        let loss = |(z, label): (&[f64], &usize)| {
            let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = z.iter().map(|z| (beta * (z - top)).exp()).sum();
            sum.ln() - beta * (z[*label] - top)
        };
        self.rows().map(loss).sum::<f64>() / self.labels.len() as f64
    }

    /// d/dβ: E[z] − z[label], and d²/dβ²: Var[z], both under softmax(β·z), meaned over examples.
    fn derivatives(&self, beta: f64) -> (f64, f64) {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for (z, label) in self.rows() {
            let p = softmax(z, beta);
            let mean: f64 = p.iter().zip(z).map(|(p, z)| p * z).sum();
            slope += mean - z[*label];
            curvature += p
                .iter()
                .zip(z)
                .map(|(p, z)| p * (z - mean).powi(2))
                .sum::<f64>();
        }
        let n = self.labels.len() as f64;
        (slope / n, curvature / n)
    }

    fn rows(&self) -> impl Iterator<Item = (&[f64], &usize)> {
        self.logits.chunks_exact(self.classes).zip(self.labels)
    }
}

/// softmax(β·z), shifted by the largest so that nothing overflows.
fn softmax(z: &[f64], beta: f64) -> Vec<f64> {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = z.iter().map(|z| (beta * (z - top)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}
