//! Gaussian blur.

use model::graph::Hwc;

use crate::error::{AttributionError, Result};
use crate::image::Image;

/// Largest standard deviation in pixels.
const LARGEST: f64 = 1000.0;

/// The image convolved with a Gaussian of this standard deviation in pixels, cut off at three of them. At the edges the
/// weights inside the image are normalized.
pub(crate) fn blurred(image: Image<'_>, deviation: f64) -> Result<Vec<f32>> {
    if !(deviation > 0.0 && deviation <= LARGEST) {
        return Err(AttributionError::Setting {
            name: "blur",
            value: deviation.to_string(),
            expected: format!("above 0 and at most {LARGEST} pixels"),
        });
    }
    let Hwc { h, w, c } = image.shape();
    let rows = along(image.data(), (h, w * c), &weights(deviation));
    // The other axis: each row is an image of `w` rows of `c` values.
    let rows = rows.chunks(w * c);
    Ok(rows
        .flat_map(|row| along(row, (w, c), &weights(deviation)))
        .collect())
}

/// Weights at distances of 0, 1, 2 … pixels.
fn weights(deviation: f64) -> Vec<f64> {
    let radius = (3.0 * deviation).ceil() as usize;
    let weight = |i: usize| (-0.5 * (i as f64 / deviation).powi(2)).exp();
    (0..=radius).map(weight).collect()
}

/// Weighted means over the first axis of `[count, len]`.
fn along(data: &[f32], (count, len): (usize, usize), weights: &[f64]) -> Vec<f32> {
    let radius = weights.len() - 1;
    let mut blurred = Vec::with_capacity(data.len());
    let mut sums = vec![0.0; len];
    for i in 0..count {
        sums.fill(0.0);
        let mut total = 0.0;
        for j in i.saturating_sub(radius)..(i + radius + 1).min(count) {
            let weight = weights[i.abs_diff(j)];
            total += weight;
            let terms = sums.iter_mut().zip(&data[j * len..(j + 1) * len]);
            terms.for_each(|(sum, x)| *sum += weight * f64::from(*x));
        }
        blurred.extend(sums.iter().map(|sum| (sum / total) as f32));
    }
    blurred
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_constants_and_spreads_a_point_evenly() {
        let shape = Hwc { h: 9, w: 9, c: 2 };
        let constant = vec![3.0; shape.len()];
        let image = Image::new(&constant, shape).unwrap();
        for value in blurred(image, 1.5).unwrap() {
            assert!((value - 3.0).abs() < 1e-6);
        }
        let mut point = vec![0.0; shape.len()];
        point[(4 * 9 + 4) * 2] = 1.0;
        let image = Image::new(&point, shape).unwrap();
        let spread = blurred(image, 1.0).unwrap();
        let at = |row: usize, column: usize, c: usize| spread[(row * 9 + column) * 2 + c];
        let norm = 1.0
            + 2.0
                * [1.0f64, 2.0, 3.0]
                    .map(|d| (-0.5 * d * d).exp())
                    .iter()
                    .sum::<f64>();
        assert!((f64::from(at(4, 4, 0)) - norm.powi(-2)).abs() < 1e-6);
        for (a, b) in [((3, 4), (4, 3)), ((2, 4), (6, 4)), ((3, 3), (5, 5))] {
            assert!((at(a.0, a.1, 0) - at(b.0, b.1, 0)).abs() < 1e-6);
        }
        assert_eq!(at(4, 4, 1), 0.0);
        assert!(blurred(image, 0.0).is_err());
    }
}
