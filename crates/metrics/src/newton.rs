//! Newton's method for strictly convex functions of a few parameters.

const MAX_STEPS: usize = 200;

/// A strictly convex function of a vector.
pub(crate) trait Convex {
    /// Its value; infinite outside its domain.
    fn value(&self, at: &[f64]) -> f64;

    /// Gradient and Hessian, row-major, of which only the lower triangle and the diagonal are read.
    fn derivatives(&self, at: &[f64]) -> (Vec<f64>, Vec<f64>);
}

/// The minimum, from a start within the domain, with a line search that stays in it.
pub(crate) fn minimum(function: &impl Convex, start: Vec<f64>) -> Vec<f64> {
    let mut at = start;
    let mut value = function.value(&at);
    for _ in 0..MAX_STEPS {
        let (gradient, hessian) = function.derivatives(&at);
        let step = solve_positive(hessian, &gradient);
        let decrease: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
        // Also stops on NaN.
        if decrease.is_nan() || decrease <= 1e-18 * (1.0 + value.abs()) {
            break;
        }
        let mut length = 1.0;
        let next = loop {
            let tried: Vec<f64> = at.iter().zip(&step).map(|(x, s)| x - length * s).collect();
            let found = function.value(&tried);
            // False for NaN, and for the infinite value outside the domain.
            if found <= value - 1e-4 * length * decrease {
                break Some((tried, found));
            }
            length *= 0.5;
            if length < 1e-12 {
                break None;
            }
        };
        match next {
            Some(better) => (at, value) = better,
            None => break,
        }
    }
    at
}

/// Solves `matrix · x = right` by Cholesky decomposition; the matrix is positive definite and row-major.
fn solve_positive(mut matrix: Vec<f64>, right: &[f64]) -> Vec<f64> {
    let n = right.len();
    for j in 0..n {
        for i in j..n {
            let known: f64 = (0..j).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
            let rest = matrix[i * n + j] - known;
            matrix[i * n + j] = if i == j {
                rest.max(f64::MIN_POSITIVE).sqrt()
            } else {
                rest / matrix[j * n + j]
            };
        }
    }
    let mut x = right.to_vec();
    for i in 0..n {
        let known: f64 = (0..i).map(|k| matrix[i * n + k] * x[k]).sum();
        x[i] = (x[i] - known) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| matrix[k * n + i] * x[k]).sum();
        x[i] = (x[i] - known) / matrix[i * n + i];
    }
    x
}
