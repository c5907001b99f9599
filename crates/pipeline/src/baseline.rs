//! The linear baseline: multinomial logistic regression on small grey images.
//!
//! A network that does not beat it has learned no more than brightness and position. The model is L2-regularized and
//! convex, fitted by Nesterov's accelerated gradient with a fixed step (1/L, L from the power method), starting from
//! zeros, over fixed chunks that are summed in order: the result depends only on the data, not on threads or a seed.

use anyhow::{Context as _, Result};
use metrics::fit_scaling;
use rayon::prelude::*;

/// Rows per chunk; fixed, because the order of the sums must not depend on the machine.
const CHUNK: usize = 64;
const ITERATIONS: usize = 300;
/// Iteration stops once no component of the gradient exceeds this.
const FLAT: f32 = 1e-5;

/// A fitted model: standardization and weights.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    mean: Vec<f32>,
    scale: Vec<f32>,
    /// `[features + 1, classes]`; the last row is the bias.
    weights: Vec<f32>,
    classes: usize,
}

/// Penalties that are tried, strongest first; each fit starts from the previous one.
pub(crate) const PENALTIES: [f32; 4] = [1.0, 1e-1, 1e-2, 1e-3];

/// Features of images, `[n, features]`, and their classes.
#[derive(Clone, Copy)]
pub(crate) struct Labelled<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) labels: &'a [usize],
}

impl Linear {
    /// The fit to training images with the penalty, of [`PENALTIES`], that has the lowest log loss on validation after
    /// calibration; and this penalty. `each` is called before each fit.
    pub(crate) fn chosen(
        [train, val]: [Labelled<'_>; 2],
        classes: usize,
        mut each: impl FnMut() -> Result<()>,
    ) -> Result<(Linear, f64)> {
        let mut best: Option<(f64, f32, Linear)> = None;
        let mut fitted: Option<Linear> = None;
        for penalty in PENALTIES {
            each()?;
            let linear = Linear::fit(train.x, train.labels, classes, penalty, fitted.as_ref());
            let loss = fit_scaling(val.labels, &linear.scores(val.x), classes)?.nll_after;
            if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
                best = Some((loss, penalty, linear.clone()));
            }
            fitted = Some(linear);
        }
        let (_, penalty, linear) = best.context("no penalty to choose from")?;
        Ok((linear, penalty.into()))
    }

    /// Fits to `x`, `[n, features]`, and labels below `classes`, with an L2 penalty per example (scikit-learn's `C = 1` over
    /// standardized pixels would be 1/n). Starts from another fit to the same images, or from zeros.
    pub(crate) fn fit(
        x: &[f32],
        labels: &[usize],
        classes: usize,
        penalty: f32,
        start: Option<&Linear>,
    ) -> Self {
        let n = labels.len().max(1);
        let features = x.len() / n;
        let (mean, scale) = standardization(x, features, n);
        let x = standardized(x, &mean, &scale);
        let step = 1.0 / (0.5 * largest_eigenvalue(&x, features + 1) + penalty);
        let problem = Problem {
            x: &x,
            labels,
            width: features + 1,
            classes,
            penalty,
        };
        let start = start.map_or_else(
            || vec![0.0; problem.width * classes],
            |fit| fit.weights.clone(),
        );
        let weights = problem.descend(start, step);
        Linear {
            mean,
            scale,
            weights,
            classes,
        }
    }

    /// Class scores before softmax, `[n, classes]`.
    pub(crate) fn scores(&self, x: &[f32]) -> Vec<f64> {
        let features = self.mean.len().max(1);
        let row = |row: &[f32]| {
            let row = standardized(row, &self.mean, &self.scale);
            scores(&row, &self.weights, self.classes)
        };
        x.chunks(features).flat_map(row).map(f64::from).collect()
    }
}

fn standardization(x: &[f32], features: usize, n: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut sum, mut squares) = (vec![0.0_f64; features], vec![0.0_f64; features]);
    for row in x.chunks(features.max(1)) {
        for (j, v) in row.iter().enumerate() {
            sum[j] += f64::from(*v);
            squares[j] += f64::from(*v).powi(2);
        }
    }
    let mean: Vec<f64> = sum.iter().map(|s| s / n as f64).collect();
    let variance = squares
        .iter()
        .zip(&mean)
        .map(|(s, m)| (s / n as f64 - m * m).max(0.0));
    // A constant pixel carries no information: its scale is 0.
    let scale = variance
        .map(|v| {
            if v > 1e-12 {
                (1.0 / v.sqrt()) as f32
            } else {
                0.0
            }
        })
        .collect();
    (mean.into_iter().map(|m| m as f32).collect(), scale)
}

/// Standardized rows, each followed by a 1 for the bias.
fn standardized(x: &[f32], mean: &[f32], scale: &[f32]) -> Vec<f32> {
    let row = |row: &[f32]| {
        let values: Vec<f32> = row
            .iter()
            .zip(mean)
            .zip(scale)
            .map(|((v, m), s)| (v - m) * s)
            .chain([1.0])
            .collect();
        values
    };
    x.chunks(mean.len().max(1)).flat_map(row).collect()
}

/// The largest eigenvalue of XᵀX / n, by twenty iterations of the power method, with a margin of 10 %.
fn largest_eigenvalue(x: &[f32], width: usize) -> f32 {
    let n = (x.len() / width).max(1) as f32;
    let mut v = vec![1.0 / (width as f32).sqrt(); width];
    let mut value = 1.0;
    for _ in 0..20 {
        let product = summed(x.par_chunks(CHUNK * width).map(|rows| {
            let mut out = vec![0.0; width];
            for row in rows.chunks(width) {
                add_scaled(&mut out, row, dot(row, &v) / n);
            }
            out
        }));
        value = dot(&product, &product).sqrt();
        v = product.iter().map(|p| p / value.max(1e-20)).collect();
    }
    1.1 * value
}

/// The objective: the mean cross-entropy plus the penalty.
struct Problem<'a> {
    x: &'a [f32],
    labels: &'a [usize],
    width: usize,
    classes: usize,
    penalty: f32,
}

impl Problem<'_> {
    fn descend(&self, start: Vec<f32>, step: f32) -> Vec<f32> {
        let mut weights = start;
        let (mut ahead, mut momentum) = (weights.clone(), 1.0_f32);
        for _ in 0..ITERATIONS {
            let gradient = self.gradient(&ahead);
            if gradient.iter().all(|g| g.abs() < FLAT) {
                break;
            }
            let next: Vec<f32> = ahead
                .iter()
                .zip(&gradient)
                .map(|(w, g)| w - step * g)
                .collect();
            let next_momentum = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
            let push = (momentum - 1.0) / next_momentum;
            ahead = next
                .iter()
                .zip(&weights)
                .map(|(new, old)| new + push * (new - old))
                .collect();
            (weights, momentum) = (next, next_momentum);
        }
        weights
    }

    fn gradient(&self, weights: &[f32]) -> Vec<f32> {
        let (width, classes) = (self.width, self.classes);
        let n = self.labels.len().max(1) as f32;
        let rows = self.x.par_chunks(CHUNK * width);
        let chunks = rows.zip(self.labels.par_chunks(CHUNK));
        let mut gradient = summed(chunks.map(|(rows, labels)| {
            let mut out = vec![0.0; width * classes];
            for (row, label) in rows.chunks(width).zip(labels) {
                let mut error = softmax(&scores(row, weights, classes));
                if let Some(e) = error.get_mut(*label) {
                    *e -= 1.0;
                }
                for (x, out) in row.iter().zip(out.chunks_mut(classes)) {
                    add_scaled(out, &error, x / n);
                }
            }
            out
        }));
        // The bias, the last row, is not penalized.
        let penalized = (width - 1) * classes;
        add_scaled(
            &mut gradient[..penalized],
            &weights[..penalized],
            self.penalty,
        );
        gradient
    }
}

/// The scores of one row, `[classes]`.
fn scores(row: &[f32], weights: &[f32], classes: usize) -> Vec<f32> {
    let mut out = vec![0.0; classes];
    for (x, w) in row.iter().zip(weights.chunks(classes)) {
        add_scaled(&mut out, w, *x);
    }
    out
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f32> = scores.iter().map(|s| (s - top).exp()).collect();
    let sum: f32 = exp.iter().sum();
    exp.into_iter().map(|e| e / sum).collect()
}

/// Sums the chunks' results in order, whichever thread computed them.
fn summed(parts: impl IndexedParallelIterator<Item = Vec<f32>>) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = parts.collect();
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    parts.for_each(|part| add_scaled(&mut sum, &part, 1.0));
    sum
}

fn add_scaled(out: &mut [f32], x: &[f32], by: f32) {
    out.iter_mut().zip(x).for_each(|(o, x)| *o += by * x);
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clouds that are separated along one of three features.
    fn clouds(n: usize) -> (Vec<f32>, Vec<usize>) {
        let noise = |i: usize| ((i * 7919 + 13) % 101) as f32 / 101.0 - 0.5;
        let labels: Vec<usize> = (0..n).map(|i| i % 2).collect();
        let x = labels
            .iter()
            .enumerate()
            .flat_map(|(i, l)| [noise(i), *l as f32 + noise(3 * i + 1), 5.0])
            .collect();
        (x, labels)
    }

    #[test]
    fn separable_classes_are_separated() {
        let (x, labels) = clouds(200);
        let z = Linear::fit(&x, &labels, 2, 1e-2, None).scores(&x);
        let right = labels
            .iter()
            .zip(z.chunks(2))
            .filter(|(l, z)| (z[1] > z[0]) == (**l == 1))
            .count();
        assert!(right > 190, "{right}");
    }

    #[test]
    fn the_fit_does_not_depend_on_the_number_of_threads() {
        let (x, labels) = clouds(500);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| Linear::fit(&x, &labels, 2, 1e-2, None).weights)
        };
        assert_eq!(with(1), with(3));
    }

    /// At the optimum of a convex problem the gradient is zero, whatever the starting point.
    #[test]
    fn converges_to_the_optimum() {
        let (x, labels) = clouds(300);
        let far = Linear::fit(&x, &labels, 2, 1.0, None);
        for start in [None, Some(&far)] {
            let fitted = Linear::fit(&x, &labels, 2, 1e-2, start);
            let z = standardized(&x, &fitted.mean, &fitted.scale);
            let problem = Problem {
                x: &z,
                labels: &labels,
                width: 4,
                classes: 2,
                penalty: 1e-2,
            };
            let gradient = problem.gradient(&fitted.weights);
            assert!(gradient.iter().all(|g| g.abs() < 1e-4), "{gradient:?}");
        }
    }
}
