//! A linear map after which the coordinates of a data set's vectors are uncorrelated and of equal variance.

/// Statistics of vectors of `D` numbers.
pub(super) struct Whitening<const D: usize> {
    /// Mean of the vectors.
    pub(super) mean: [f64; D],
    /// The inverse of the lower triangular matrix L with L Lᵀ = C + τ² I, by rows, for the covariance C.
    pub(super) inverse: Vec<[f64; D]>,
}

impl<const D: usize> Whitening<D> {
    /// Of vectors to which noise of standard deviation `tau` > 0 in each coordinate is added: what varies less than that
    /// is not enlarged.
    pub(super) fn new(vectors: &[[f64; D]], tau: f64) -> Self {
        let mean = mean(vectors);
        let mut covariance = covariance(vectors, &mean);
        (0..D).for_each(|i| covariance[i][i] += tau * tau);
        Self {
            mean,
            inverse: inverse(&cholesky(covariance)),
        }
    }
}

fn mean<const D: usize>(vectors: &[[f64; D]]) -> [f64; D] {
    let mut sum = [0.0; D];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, v)| *sum += v);
    }
    sum.map(|sum| sum / vectors.len().max(1) as f64)
}

/// The mean products of two coordinates, around `mean`.
pub(super) fn covariance<const D: usize>(vectors: &[[f64; D]], mean: &[f64; D]) -> Vec<[f64; D]> {
    let mut sums = vec![[0.0; D]; D];
    for vector in vectors {
        let mut centred = *vector;
        centred.iter_mut().zip(mean).for_each(|(v, m)| *v -= m);
        for (row, a) in sums.iter_mut().zip(centred) {
            row.iter_mut()
                .zip(centred)
                .for_each(|(sum, b)| *sum += a * b);
        }
    }
    let n = vectors.len().max(1) as f64;
    sums.iter_mut().flatten().for_each(|sum| *sum /= n);
    sums
}

/// The lower triangular L with L Lᵀ = C, for a positive definite C.
fn cholesky<const D: usize>(c: Vec<[f64; D]>) -> Vec<[f64; D]> {
    let mut l = vec![[0.0; D]; D];
    for i in 0..D {
        for j in 0..=i {
            let products = (0..j).map(|k| l[i][k] * l[j][k]);
            let rest = c[i][j] - products.sum::<f64>();
            l[i][j] = match i == j {
                // τ² less what rounding takes away.
                true => rest.max(f64::EPSILON).sqrt(),
                false => rest / l[j][j],
            };
        }
    }
    l
}

/// By forward substitution, a row at a time.
fn inverse<const D: usize>(l: &[[f64; D]]) -> Vec<[f64; D]> {
    let mut inverse: Vec<[f64; D]> = vec![];
    for (i, row) in l.iter().enumerate() {
        let mut new = [0.0; D];
        new[i] = 1.0;
        for (factor, known) in row.iter().zip(&inverse) {
            new.iter_mut()
                .zip(known)
                .for_each(|(n, k)| *n -= factor * k);
        }
        inverse.push(new.map(|value| value / row[i]));
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitened_vectors_are_uncorrelated_and_of_equal_variance() {
        let mut rng = random::Rng::stream(2, 2);
        let vectors: Vec<[f64; 3]> = (0..2000)
            .map(|_| [(); 3].map(|()| rng.normal()))
            .map(|[a, b, c]| [5.0 + 3.0 * a, a + 0.5 * b, b - 0.1 * c])
            .collect();
        let whitening = Whitening::new(&vectors, 1e-6);
        let whitened = |vector: &[f64; 3]| {
            let centred: [f64; 3] = std::array::from_fn(|i| vector[i] - whitening.mean[i]);
            let row = |i: usize| (0..3).map(|j| whitening.inverse[i][j] * centred[j]).sum();
            std::array::from_fn(row)
        };
        let whitened: Vec<[f64; 3]> = vectors.iter().map(whitened).collect();
        let of_whitened = covariance(&whitened, &mean(&whitened));
        for (i, row) in of_whitened.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                assert!((value - expected).abs() < 1e-6, "{of_whitened:?}");
            }
        }
    }

    /// Where nothing varies, nothing is divided by zero, and the noise alone counts.
    #[test]
    fn equal_vectors_are_whitened_by_the_noise() {
        let whitening = Whitening::new(&[[0.25; 4]; 9], 0.5);
        assert_eq!(whitening.mean, [0.25; 4]);
        for (i, row) in whitening.inverse.iter().enumerate() {
            assert_eq!(
                *row,
                std::array::from_fn(|j| if i == j { 2.0 } else { 0.0 })
            );
        }
        let none = Whitening::<4>::new(&[], 0.5);
        assert_eq!(none.inverse, whitening.inverse);
    }
}
