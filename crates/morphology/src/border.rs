//! U-Net's pixel weights, which make a network learn the thin borders between touching cells.

use crate::distance::squared_distances;
use crate::{Components, Mask, MorphologyError};

/// `w(x) = w_c(x) + w0·exp(−(d1(x) + d2(x))² / (2σ²))` (Ronneberger 2015, eq. 2): `w_c` balances cells and background,
/// `d1` and `d2` are the distances to the nearest and to the second nearest cell. The second term applies to background
/// pixels only, because the border between cells consists of those.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BorderWeights {
    /// Weight of a border of zero width. Default 10.
    pub w0: f64,
    /// Width in pixels over which the weight decays. Default 5.
    pub sigma: f64,
    /// Whether `w_c` is `pixels / (2 · pixels of the class)`, with mean 1 over the mask; else it is 1. Default true.
    pub balance: bool,
}

impl Default for BorderWeights {
    fn default() -> Self {
        Self {
            w0: 10.0,
            sigma: 5.0,
            balance: true,
        }
    }
}

impl BorderWeights {
    /// Weights `[height · width]` for a mask of cells (of a mask of the ISBI 2012 set, the pixels that are 255), whose
    /// connected components are the cells. Pixels that are not in `known` are neither cell nor background and have
    /// weight 0.
    ///
    /// # Errors
    /// If `w0` is negative, `sigma` is not positive, either is not finite, or the masks differ in size.
    pub fn of(&self, cells: Mask<'_>, known: Mask<'_>) -> Result<Vec<f32>, MorphologyError> {
        self.check()?;
        if (cells.height(), cells.width()) != (known.height(), known.width()) {
            return Err(MorphologyError::Length {
                len: known.pixels().len(),
                height: cells.height(),
                width: cells.width(),
            });
        }
        let mut weights = self.of_known(cells, known);
        let unknown = weights.iter_mut().zip(known.pixels());
        unknown
            .filter(|(_, known)| !**known)
            .for_each(|(weight, _)| *weight = 0.0);
        Ok(weights)
    }

    /// The weights with all pixels outside cells as background, except that the class balance counts only known pixels.
    fn of_known(&self, cells: Mask<'_>, known: Mask<'_>) -> Vec<f32> {
        let [background, cell] = self.class_weights(cells, known);
        let components = cells.components();
        let Some((first, second)) = two_nearest(cells, &components) else {
            let weight = |set: &bool| if *set { cell } else { background };
            return cells
                .pixels()
                .iter()
                .map(|set| weight(set) as f32)
                .collect();
        };
        let weight = |((set, d1), d2): ((&bool, f64), f64)| {
            if *set {
                return cell as f32;
            }
            let sum = d1.sqrt() + d2.sqrt();
            let border = (-sum * sum / (2.0 * self.sigma * self.sigma)).exp();
            (background + self.w0 * border) as f32
        };
        let pixels = cells.pixels().iter().zip(first).zip(second);
        pixels.map(weight).collect()
    }

    /// `w_c` for background and cells.
    fn class_weights(&self, cells: Mask<'_>, known: Mask<'_>) -> [f64; 2] {
        let n = known.pixels().iter().filter(|known| **known).count();
        let both = cells.pixels().iter().zip(known.pixels());
        let set = both.filter(|(set, known)| **set && **known).count();
        // With a single class there is nothing to balance.
        if !self.balance || set == 0 || set == n {
            return [1.0, 1.0];
        }
        [n - set, set].map(|count| n as f64 / (2.0 * count as f64))
    }

    fn check(&self) -> Result<(), MorphologyError> {
        let setting = |name, value, expected| {
            Err(MorphologyError::Setting {
                name,
                value,
                expected,
            })
        };
        if !(self.w0.is_finite() && self.w0 >= 0.0) {
            return setting("w0", self.w0, "0 or a positive number");
        }
        if !(self.sigma.is_finite() && self.sigma > 0.0) {
            return setting("sigma", self.sigma, "a positive number of pixels");
        }
        Ok(())
    }
}

/// For each pixel the squared distances to the nearest and to the second nearest cell; `None` with fewer than two.
///
/// This needs no transform per cell, because the numbers of any two cells differ in some bit. For each bit, a transform
/// of the cells that have it set and one of those that have not give two distances: the smaller is that to the nearest
/// cell, and the larger that to the nearest cell whose number differs from that one's in this bit. The minimum of the
/// larger ones over all bits is the exact distance to the second nearest cell, after `2·log₂(cells)` transforms.
fn two_nearest(cells: Mask<'_>, components: &Components) -> Option<(Vec<f64>, Vec<f64>)> {
    let n = components.count;
    if n < 2 {
        return None;
    }
    let bits = usize::BITS - (n - 1).leading_zeros();
    let of_bit = |bit: u32, value: u32| {
        squared_distances(cells.height(), cells.width(), |i| {
            let label = components.labels[i];
            label > 0 && (label - 1) >> bit & 1 == value
        })
    };
    let mut first = Vec::new();
    let mut second = vec![f64::INFINITY; cells.pixels().len()];
    for bit in 0..bits {
        let (mut a, b) = (of_bit(bit, 0), of_bit(bit, 1));
        for ((a, b), second) in a.iter_mut().zip(b).zip(&mut second) {
            *second = second.min(a.max(b));
            *a = a.min(b);
        }
        first = a;
    }
    Some((first, second))
}
