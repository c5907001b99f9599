//! Agreement between methods.

use crate::error::Result;
use crate::heat_map::HeatMap;

/// Spearman's rank correlation of every two of an image's maps, as a symmetric matrix; `None` where one of the two is
/// constant.
///
/// # Errors
/// Maps of different sizes.
pub fn agreement(maps: &[HeatMap]) -> Result<Vec<Vec<Option<f64>>>> {
    let row = |a: &HeatMap| maps.iter().map(|b| a.correlation(b)).collect();
    maps.iter().map(row).collect()
}
