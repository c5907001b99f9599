//! Whether a map's values are where the mask is.

use crate::error::{AttributionError, Result};
use crate::heat_map::HeatMap;

/// How much of a map is inside a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Localization {
    /// The pointing game: 1 if the map's largest value is in the mask, otherwise 0; if several pixels have it, the share
    /// of them that are. Its mean over images is the accuracy of the game. Zhang et al., "Top-down Neural Attention by
    /// Excitation Backprop", ECCV 2016.
    pub hit: f64,
    /// The energy-based pointing game: the share of the sum of the map's positive values that is in the mask; `None`
    /// without positive values. Wang et al., "Score-CAM", CVPR Workshops 2020.
    pub energy: Option<f64>,
    /// The mask's share of the image: what a map that knows nothing of the image scores in both games on average.
    pub area: f64,
}

/// Compares a map with a mask of the same size, in rows. With a `tolerance`, a largest value counts as in the mask
/// within this many pixels of it (15 in the paper, on images of about 500).
///
/// # Errors
/// A mask of another size, or one without a marked pixel.
pub fn localize(map: &HeatMap, mask: &[bool], tolerance: usize) -> Result<Localization> {
    let (height, width) = map.size();
    if mask.len() != height * width {
        return Err(AttributionError::SizeMismatch {
            what: "the mask",
            found: (mask.len() / width.max(1), width),
            map: map.size(),
        });
    }
    let marked = mask.iter().filter(|marked| **marked).count();
    if marked == 0 {
        return Err(AttributionError::EmptyMask);
    }
    Ok(Localization {
        hit: hit(map, mask, tolerance),
        energy: energy(map, mask),
        area: marked as f64 / mask.len() as f64,
    })
}

/// The share of the pixels with the largest value that are at most `tolerance` pixels from the mask.
fn hit(map: &HeatMap, mask: &[bool], tolerance: usize) -> f64 {
    let values = map.values();
    let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let maxima = (0..values.len()).filter(|i| values[*i] == top);
    let near = |i: usize| near(map.size(), mask, i, tolerance);
    let (mut hits, mut all) = (0, 0);
    for i in maxima {
        hits += usize::from(near(i));
        all += 1;
    }
    f64::from(hits as u32) / f64::from(all.max(1))
}

fn near((height, width): (usize, usize), mask: &[bool], pixel: usize, tolerance: usize) -> bool {
    let (row, column) = (pixel / width, pixel % width);
    let range = |at: usize, end: usize| at.saturating_sub(tolerance)..(at + tolerance + 1).min(end);
    range(row, height).any(|i| {
        range(column, width).any(|j| {
            let distance = row.abs_diff(i).pow(2) + column.abs_diff(j).pow(2);
            mask[i * width + j] && distance <= tolerance.pow(2)
        })
    })
}

fn energy(map: &HeatMap, mask: &[bool]) -> Option<f64> {
    let positive = |value: &f32| f64::from(value.max(0.0));
    let total: f64 = map.values().iter().map(positive).sum();
    let pairs = map.values().iter().zip(mask);
    let inside: f64 = pairs.filter(|(_, m)| **m).map(|(v, _)| positive(v)).sum();
    (total > 0.0).then(|| inside / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: &[f32]) -> HeatMap {
        HeatMap::new(2, values.len() / 2, values.to_vec()).unwrap()
    }

    #[test]
    fn energy_hits_and_area_are_counted() {
        let mask = [true, true, false, false, false, false];
        let found = localize(&map(&[1.0, 2.0, -5.0, 0.0, 3.0, 2.0]), &mask, 0).unwrap();
        assert_eq!((found.hit, found.energy), (0.0, Some(3.0 / 8.0)));
        assert_eq!(found.area, 2.0 / 6.0);
        // The largest value is below the mask's second pixel.
        let found = localize(&map(&[1.0, 2.0, -5.0, 0.0, 3.0, 2.0]), &mask, 1).unwrap();
        assert_eq!(found.hit, 1.0);
    }

    #[test]
    fn equal_maxima_share_the_hit() {
        let mask = [true, false, false, false];
        let found = localize(&map(&[0.0; 4]), &mask, 0).unwrap();
        assert_eq!((found.hit, found.energy, found.area), (0.25, None, 0.25));
        let found = localize(&map(&[1.0, 0.0, 1.0, 0.0]), &mask, 0).unwrap();
        assert_eq!((found.hit, found.energy), (0.5, Some(0.5)));
    }

    #[test]
    fn masks_must_fit_and_mark_something() {
        let error = |mask: &[bool]| localize(&map(&[1.0; 4]), mask, 0).unwrap_err().to_string();
        assert!(error(&[false; 4]).contains("marks no pixel"));
        let expected = "the mask is 3x2, but the heat map is 2x2";
        assert!(
            error(&[true; 6]).contains(expected),
            "{}",
            error(&[true; 6])
        );
    }
}
