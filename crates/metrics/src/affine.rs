//! Calibration maps with a factor or a row of factors per class: vector scaling and Dirichlet calibration.
//!
//! Both are a multinomial logistic regression on the outputs of the network, with a penalty: `scores = W x + b`, where
//! `W` is diagonal and `x` the logits (vector scaling, Guo et al. 2017), or `W` is any matrix and `x` the logarithms of
//! the probabilities (Dirichlet calibration, Kull et al. 2019). The penalized negative log-likelihood is strictly convex,
//! so that its minimum exists, is finite, and is found by Newton's method.
//!
//! With more parameters than [`crate::fit_scaling`] has, they need more examples; unlike a temperature, they also change
//! the order in which a class ranks the examples.

use serde::Serialize;

use crate::check;
use crate::error::Result;
use crate::logits::Logits;
use crate::newton::{Convex, minimum};
use crate::scaling::{BIAS_DEVIATION, softmax};

/// Lower limit of the logarithm of a probability: the smallest that `f64` represents has −745.
const LOWEST_LOG: f64 = -700.0;

/// Most classes of a Dirichlet calibration, whose Hessian has the fourth power of this.
const MOST_CLASSES: usize = 32;

/// A fitted calibration, and its effect on the validation data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationFit<C> {
    /// The calibration that minimizes the negative log-likelihood plus penalty.
    pub calibration: C,
    /// Mean negative log-likelihood of plain softmax, in nats.
    pub nll_before: f64,
    /// Mean negative log-likelihood of the calibrated probabilities, in nats, on the data of the fit: optimistic.
    pub nll_after: f64,
    /// Number of examples.
    pub n: usize,
}

/// `softmax(a ⊙ z + b)`: a factor and a bias per class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VectorScaling {
    factors: Vec<f64>,
    bias: Vec<f64>,
}

impl VectorScaling {
    /// What the logits are multiplied by, one positive factor per class.
    pub fn factors(&self) -> &[f64] {
        &self.factors
    }

    /// What is then added to them, per class.
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// The probabilities for one example's logits, one logit per class.
    pub fn probabilities<P: Copy + Into<f64>>(&self, logits: &[P]) -> Vec<f64> {
        let parts = logits.iter().zip(&self.factors).zip(&self.bias);
        let scores = parts.map(|((z, factor), bias)| factor * (*z).into() + bias);
        softmax(&scores.collect::<Vec<_>>())
    }
}

/// `softmax(W ln p + b)` of the probabilities p of plain softmax.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirichletCalibration {
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl DirichletCalibration {
    /// `W`, classes × classes, row-major: row i makes the score of class i.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// What is added to the scores, per class.
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// The probabilities for one example's logits, one logit per class.
    pub fn probabilities<P: Copy + Into<f64>>(&self, logits: &[P]) -> Vec<f64> {
        let logits: Vec<f64> = logits.iter().map(|z| (*z).into()).collect();
        let x = log_softmax(&logits);
        let rows = self.weights.chunks_exact(self.bias.len()).zip(&self.bias);
        let score = |(row, bias): (&[f64], &f64)| dot(row, &x) + bias;
        softmax(&rows.map(score).collect::<Vec<_>>())
    }
}

/// Off-diagonal and intercept regularization (ODIR) of a Dirichlet calibration of k classes, added to the mean negative
/// log-likelihood: `off_diagonal / (k (k − 1)) · Σ W_ij² + intercept / k · Σ b_j²`, i ≠ j.
///
/// Kull et al. choose both by cross-validation on a logarithmic grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Odir {
    /// λ, for the entries of `W` outside its diagonal.
    pub off_diagonal: f64,
    /// µ, for the biases.
    pub intercept: f64,
}

/// Fits vector scaling on validation logits, n × `classes` row-major, f32 or f64.
///
/// Each factor has a Gamma prior with its mode at 1, each bias a normal prior around 0 (standard deviation 2), as
/// temperature and biases have in [`crate::fit_scaling`]: `Σ (a − 1 − ln a) + Σ b² / 8` is added to the negative
/// log-likelihood of all examples. Factors are therefore positive.
///
/// # Errors
/// Empty input, inconsistent lengths, a label out of range, or a logit that is not finite.
pub fn fit_vector_scaling<P: Copy + Into<f64>>(
    labels: &[usize],
    logits: &[P],
    classes: usize,
) -> Result<CalibrationFit<VectorScaling>> {
    let logits = Logits::new(classes, logits)?;
    logits.check_labels(labels)?;
    let regression = Regression {
        labels,
        inputs: logits.rows().map(<[f64]>::to_vec).collect(),
        form: Form::Diagonal,
        off_diagonal: 0.0,
        intercept: 1.0 / (BIAS_DEVIATION * BIAS_DEVIATION),
    };
    Ok(regression.fit(|found| VectorScaling {
        factors: found.iter().step_by(2).copied().collect(),
        bias: found.iter().skip(1).step_by(2).copied().collect(),
    }))
}

/// Fits a Dirichlet calibration on validation logits, n × `classes` row-major, f32 or f64.
///
/// In addition to the penalty each entry of the diagonal of `W` has a Gamma prior with its mode at 1, of the weight of a
/// single example, which keeps it positive and finite where the data are separable; Kull et al. leave it free.
///
/// # Errors
/// As [`fit_vector_scaling`]; also a penalty that is not positive and finite, and more than 32 classes.
pub fn fit_dirichlet<P: Copy + Into<f64>>(
    labels: &[usize],
    logits: &[P],
    classes: usize,
    penalty: Odir,
) -> Result<CalibrationFit<DirichletCalibration>> {
    let expected = "1 to 32: use vector scaling with more classes";
    check::count_in("classes", classes, MOST_CLASSES, expected)?;
    let logits = Logits::new(classes, logits)?;
    logits.check_labels(labels)?;
    let (n, k) = (labels.len() as f64, classes as f64);
    let regression = Regression {
        labels,
        inputs: logits.rows().map(log_softmax).collect(),
        form: Form::Full,
        off_diagonal: 2.0 * n * positive("off_diagonal", penalty.off_diagonal)? / (k * (k - 1.0)),
        intercept: 2.0 * n * positive("intercept", penalty.intercept)? / k,
    };
    let rows = |found: &[f64]| -> Vec<Vec<f64>> {
        let rows = found.chunks_exact(classes + 1);
        rows.map(<[f64]>::to_vec).collect()
    };
    Ok(regression.fit(|found| DirichletCalibration {
        weights: rows(found)
            .iter()
            .flat_map(|row| row[..classes].to_vec())
            .collect(),
        bias: rows(found).iter().map(|row| row[classes]).collect(),
    }))
}

fn positive(name: &'static str, value: f64) -> Result<f64> {
    match value.is_finite() && value > 0.0 {
        true => Ok(value),
        false => Err(check::setting(name, value, "a positive finite number")),
    }
}

/// The logarithms of the probabilities of plain softmax, which are finite.
fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|z| (z - top).exp()).sum();
    let log = |z: &f64| (z - top - sum.ln()).max(LOWEST_LOG);
    logits.iter().map(log).collect()
}

/// Which inputs the score of a class depends on.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Its own.
    Diagonal,
    /// All.
    Full,
}

/// The penalized regression, as a function of one block of parameters per class: its factors, then its bias.
struct Regression<'a> {
    labels: &'a [usize],
    /// One per class, of each example.
    inputs: Vec<Vec<f64>>,
    form: Form,
    /// Second derivative of the penalty of a factor outside the diagonal.
    off_diagonal: f64,
    /// Second derivative of that of a bias.
    intercept: f64,
}

impl Regression<'_> {
    fn fit<C>(&self, read: impl Fn(&[f64]) -> C) -> CalibrationFit<C> {
        let found = minimum(self, self.identity());
        CalibrationFit {
            calibration: read(&found),
            nll_before: self.mean_nll(&self.identity()),
            nll_after: self.mean_nll(&found),
            n: self.labels.len(),
        }
    }

    fn classes(&self) -> usize {
        self.inputs.first().map_or(0, Vec::len)
    }

    /// Parameters of a class.
    fn width(&self) -> usize {
        match self.form {
            Form::Diagonal => 2,
            Form::Full => self.classes() + 1,
        }
    }

    /// Index of the factor on the diagonal among the parameters of a class.
    fn diagonal(&self, class: usize) -> usize {
        match self.form {
            Form::Diagonal => 0,
            Form::Full => class,
        }
    }

    /// The parameters that leave probabilities as they are.
    fn identity(&self) -> Vec<f64> {
        let mut plain = vec![0.0; self.classes() * self.width()];
        for (class, block) in plain.chunks_exact_mut(self.width()).enumerate() {
            block[self.diagonal(class)] = 1.0;
        }
        plain
    }

    /// What the parameters of a class are multiplied by.
    fn features(&self, inputs: &[f64], class: usize) -> Vec<f64> {
        match self.form {
            Form::Diagonal => vec![inputs[class], 1.0],
            Form::Full => inputs.iter().copied().chain([1.0]).collect(),
        }
    }

    fn scores(&self, inputs: &[f64], at: &[f64]) -> Vec<f64> {
        let blocks = at.chunks_exact(self.width()).enumerate();
        let score = |(class, block)| dot(block, &self.features(inputs, class));
        blocks.map(score).collect()
    }

    fn rows(&self) -> impl Iterator<Item = (&Vec<f64>, &usize)> {
        self.inputs.iter().zip(self.labels)
    }

    fn mean_nll(&self, at: &[f64]) -> f64 {
        let loss = |(inputs, label): (&Vec<f64>, &usize)| {
            let scores = self.scores(inputs, at);
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|x| (x - top).exp()).sum();
            sum.ln() - (scores[*label] - top)
        };
        self.rows().map(loss).sum::<f64>() / self.labels.len() as f64
    }

    /// Adds an example's part of the derivatives of the negative log-likelihood.
    fn add(&self, (inputs, label): (&[f64], usize), p: &[f64], sums: (&mut [f64], &mut [f64])) {
        let (gradient, hessian) = sums;
        let (width, all) = (self.width(), gradient.len());
        let features: Vec<Vec<f64>> = (0..p.len()).map(|k| self.features(inputs, k)).collect();
        for (k, own) in features.iter().enumerate() {
            let error = p[k] - f64::from(u8::from(k == label));
            for (i, f) in own.iter().enumerate() {
                let row = k * width + i;
                gradient[row] += error * f;
                for (l, other) in features.iter().enumerate().take(k + 1) {
                    let curvature = p[k] * (f64::from(u8::from(k == l)) - p[l]) * f;
                    let cells = &mut hessian[row * all + l * width..][..width];
                    cells
                        .iter_mut()
                        .zip(other)
                        .for_each(|(h, g)| *h += curvature * g);
                }
            }
        }
    }

    /// The penalty on each parameter: its value and first two derivatives.
    fn penalties(&self, at: &[f64]) -> Vec<[f64; 3]> {
        let width = self.width();
        let one = |(i, x): (usize, &f64)| {
            let (class, own) = (i / width, i % width);
            let ridge = |weight: f64| [0.5 * weight * x * x, weight * x, weight];
            match own {
                _ if own == self.diagonal(class) => {
                    [x - 1.0 - x.ln(), 1.0 - 1.0 / x, 1.0 / (x * x)]
                }
                _ if own + 1 == width => ridge(self.intercept),
                _ => ridge(self.off_diagonal),
            }
        };
        at.iter().enumerate().map(one).collect()
    }

    /// Whether each factor on the diagonal is positive.
    fn allows(&self, at: &[f64]) -> bool {
        let blocks = at.chunks_exact(self.width()).enumerate();
        let mut diagonal = blocks.map(|(class, block)| block[self.diagonal(class)]);
        diagonal.all(|factor| factor > 0.0)
    }
}

impl Convex for Regression<'_> {
    fn value(&self, at: &[f64]) -> f64 {
        if !self.allows(at) {
            return f64::INFINITY;
        }
        let penalty: f64 = self.penalties(at).iter().map(|[value, ..]| value).sum();
        self.mean_nll(at) * self.labels.len() as f64 + penalty
    }

    fn derivatives(&self, at: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let all = at.len();
        let (mut gradient, mut hessian) = (vec![0.0; all], vec![0.0; all * all]);
        for (inputs, label) in self.rows() {
            let p = softmax(&self.scores(inputs, at));
            self.add((inputs, *label), &p, (&mut gradient, &mut hessian));
        }
        for (i, [_, slope, curvature]) in self.penalties(at).into_iter().enumerate() {
            gradient[i] += slope;
            hessian[i * all + i] += curvature;
        }
        (gradient, hessian)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
