//! Gauss-Legendre quadrature.

use std::f64::consts::PI;

/// Points in (0, 1), ascending, and weights that sum to 1: the integral of a polynomial of degree up to `2n − 1` over
/// (0, 1) is the weighted sum of its values. Press et al., "Numerical Recipes", section 4.6: Newton's method on the
/// Legendre polynomial of degree `n`, from the asymptotic estimates of its roots.
pub(crate) fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let node = |i: usize| {
        let mut x = -(PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
        for _ in 0..100 {
            let (p, slope) = legendre(n, x);
            let step = p / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        let (_, slope) = legendre(n, x);
        // 2 / ((1 − x²) p'²) for (−1, 1), halved.
        (f64::midpoint(1.0, x), 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).map(node).collect()
}

/// The Legendre polynomial of degree `n` ≥ 1 and its derivative at `x`, inside (−1, 1).
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut p) = (1.0, x);
    for k in 2..=n {
        let k = k as f64;
        (before, p) = (p, ((2.0 * k - 1.0) * x * p - (k - 1.0) * before) / k);
    }
    (p, n as f64 * (x * p - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.polynomial.legendre.leggauss(5)`, moved to (0, 1).
    #[test]
    fn five_points_are_those_of_numpy() {
        let expected = [
            (0.046_910_077_030_668_07, 0.118_463_442_528_094_54),
            (0.230_765_344_947_158_5, 0.239_314_335_249_683_24),
            (0.5, 0.284_444_444_444_444_44),
        ];
        let found = gauss_legendre(5);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.0 - expected.0).abs() < 1e-14, "{found:?}");
            assert!((found.1 - expected.1).abs() < 1e-14, "{found:?}");
        }
    }

    #[test]
    fn polynomials_are_integrated_exactly() {
        for n in [1, 2, 3, 8, 50, 200] {
            let points = gauss_legendre(n);
            let sum = |power: i32| points.iter().map(|(x, w)| w * x.powi(power)).sum::<f64>();
            for power in [0, 1, 2 * n as i32 - 1] {
                let exact = 1.0 / f64::from(power + 1);
                assert!((sum(power) - exact).abs() < 1e-13, "{n} {power}");
            }
        }
    }
}
