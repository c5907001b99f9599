//! Heat maps: a number for every pixel of the network's input.

use metrics::spearman;
use random::Rng;

use crate::error::{AttributionError, Result};

/// The purpose of the random numbers of [`HeatMap::random`].
const MAP: u64 = 0x006d_6170;

/// A number for every pixel of an image, `[h, w]`: the larger, the more the pixel supports the explained score. Negative
/// numbers speak against it, in methods that have them.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl HeatMap {
    /// A map of `height · width` values in rows; the caller has counted them.
    pub(crate) fn of(height: usize, width: usize, values: Vec<f32>) -> HeatMap {
        HeatMap {
            height,
            width,
            values,
        }
    }

    /// A map of `height · width` values in rows, as of another program.
    ///
    /// # Errors
    /// Another number of values, none, or one that is NaN or infinite.
    pub fn new(height: usize, width: usize, values: Vec<f32>) -> Result<HeatMap> {
        if values.is_empty() || height.checked_mul(width) != Some(values.len()) {
            return Err(AttributionError::Setting {
                name: "values",
                value: format!("{} numbers", values.len()),
                expected: format!("one number for each of {height}x{width} pixels"),
            });
        }
        crate::error::finite("the heat map", &values)?;
        Ok(HeatMap::of(height, width, values))
    }

    /// Independent normal numbers: a map that knows nothing of the image, with which others are compared.
    pub fn random(height: usize, width: usize, seed: u64) -> HeatMap {
        let mut rng = Rng::keyed(seed, &[MAP]);
        let values = (0..height * width).map(|_| rng.normal_f32()).collect();
        HeatMap::of(height, width, values)
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// The values in rows.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The map of absolute values: how much a pixel matters, whichever way.
    pub fn magnitudes(&self) -> HeatMap {
        let values = self.values.iter().map(|value| value.abs()).collect();
        HeatMap::of(self.height, self.width, values)
    }

    /// Spearman's rank correlation with another map; `None` if one of them is constant.
    ///
    /// # Errors
    /// Maps of different sizes.
    pub fn correlation(&self, other: &HeatMap) -> Result<Option<f64>> {
        self.check_size("the other map", other.size())?;
        Ok(spearman(&self.wide(), &other.wide())?)
    }

    /// The pixels from the largest value to the smallest. Equal ones are in a random order, always the same: in rows
    /// they would favour the top of the image.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        Rng::keyed(0, &[self.values.len() as u64]).shuffle(&mut order);
        order.sort_by(|a, b| self.values[*b].total_cmp(&self.values[*a]));
        order
    }

    /// The map resized by bilinear interpolation with half-pixel centres, as PyTorch's `interpolate(mode="bilinear",
    /// align_corners=False)`.
    pub fn resized(&self, height: usize, width: usize) -> HeatMap {
        let rows = taps(self.height, height);
        let columns = taps(self.width, width);
        let mut values = Vec::with_capacity(height * width);
        for row in &rows {
            let at = |tap: &Tap, row: usize| {
                let row = &self.values[row * self.width..];
                row[tap.first] + tap.part * (row[tap.second] - row[tap.first])
            };
            values.extend(columns.iter().map(|column| {
                let (above, below) = (at(column, row.first), at(column, row.second));
                above + row.part * (below - above)
            }));
        }
        HeatMap::of(height, width, values)
    }

    /// Errors unless something else is as large as the map.
    pub(crate) fn check_size(&self, what: &'static str, found: (usize, usize)) -> Result<()> {
        let map = self.size();
        match found == map {
            true => Ok(()),
            false => Err(AttributionError::SizeMismatch { what, found, map }),
        }
    }

    fn wide(&self) -> Vec<f64> {
        self.values.iter().map(|value| f64::from(*value)).collect()
    }
}

/// The two values between which one is interpolated, and the second one's share.
struct Tap {
    first: usize,
    second: usize,
    part: f32,
}

fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f64 / to as f64;
    let tap = |i: usize| {
        let at = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
        let first = (at as usize).min(from - 1);
        Tap {
            first,
            second: (first + 1).min(from - 1),
            part: (at - first as f64) as f32,
        }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `F.interpolate(torch.tensor([[[[0., 1., 4.], [2., 3., 8.]]]]), (3, 5), mode="bilinear")`
    #[test]
    fn resizes_as_pytorch() {
        let map = HeatMap::new(2, 3, vec![0.0, 1.0, 4.0, 2.0, 3.0, 8.0]).unwrap();
        let expected = [
            0.0, 0.4, 1.0, 2.8, 4.0, 1.0, 1.4, 2.0, 4.4, 6.0, 2.0, 2.4, 3.0, 6.0, 8.0,
        ];
        let resized = map.resized(3, 5);
        assert_eq!(resized.size(), (3, 5));
        for (a, b) in resized.values().iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{:?}", resized.values());
        }
        assert_eq!(map.resized(2, 3), map);
    }

    #[test]
    fn equal_values_are_ranked_in_no_particular_order() {
        let map = HeatMap::new(1, 1000, vec![1.0; 1000]).unwrap();
        let ranking = map.ranking();
        assert_eq!(ranking, map.ranking());
        let early = ranking[..500].iter().filter(|i| **i < 500).count();
        assert!((200..300).contains(&early), "{early}");
        let map = HeatMap::new(1, 4, vec![1.0, -2.0, 3.0, 0.5]).unwrap();
        assert_eq!(map.ranking(), [2, 0, 3, 1]);
    }
}
