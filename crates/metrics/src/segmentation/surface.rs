//! The distance between two masks' surfaces.

use morphology::Mask;
use serde::{Deserialize, Serialize};

use crate::bootstrap::quantile;
use crate::check;
use crate::error::Result;

/// How far apart two masks' surfaces are, in pixels.
///
/// **Empty masks.** Where both masks are empty they agree: the distance is 0, and says that nothing was there. Where
/// one is, there is no surface to measure to; such an image has no distance, and counts apart from those that have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurfaceDistance {
    /// Neither mask has a pixel.
    BothEmpty,
    /// The truth has pixels, the prediction none.
    Missed,
    /// The prediction has pixels, the truth none.
    Invented,
    /// Both have.
    Pixels(f64),
}

impl SurfaceDistance {
    /// The distance, where there is one: 0 where both masks are empty.
    pub fn value(self) -> Option<f64> {
        match self {
            Self::BothEmpty => Some(0.0),
            Self::Missed | Self::Invented => None,
            Self::Pixels(distance) => Some(distance),
        }
    }
}

/// Hausdorff distance at 95 %: of the distances from each pixel of one surface to the other the 95th percentile, in
/// both directions, and the larger of the two (DeepMind's `surface-distance`, MONAI). A surface is the mask's pixels
/// that have an edge in common with the outside or with the picture's border; percentiles interpolate as NumPy's.
///
/// # Errors
/// Empty input, or masks that are not `height · width` pixels.
pub fn hd95(
    truth: &[bool],
    predicted: &[bool],
    height: usize,
    width: usize,
) -> Result<SurfaceDistance> {
    check::not_empty("truth", truth.len())?;
    check::same_length("truth", truth.len(), "height · width", height * width)?;
    check::same_length("predicted", predicted.len(), "truth", truth.len())?;
    let truth = Mask::new(height, width, truth)?;
    let predicted = Mask::new(height, width, predicted)?;
    match (truth.is_empty(), predicted.is_empty()) {
        (true, true) => return Ok(SurfaceDistance::BothEmpty),
        (false, true) => return Ok(SurfaceDistance::Missed),
        (true, false) => return Ok(SurfaceDistance::Invented),
        (false, false) => {}
    }
    let (truth, predicted) = (truth.surface(), predicted.surface());
    let (truth, predicted) = (
        Mask::new(height, width, &truth)?,
        Mask::new(height, width, &predicted)?,
    );
    let there = directed(truth, predicted);
    let back = directed(predicted, truth);
    Ok(SurfaceDistance::Pixels(there.max(back)))
}

/// The 95th percentile of the distances from the pixels of `from` to `to`, neither empty.
fn directed(from: Mask<'_>, to: Mask<'_>) -> f64 {
    let distances = to.distances().into_iter().zip(from.pixels());
    let mut distances: Vec<f64> = distances.filter(|(_, on)| **on).map(|(d, _)| d).collect();
    distances.sort_by(f64::total_cmp);
    quantile(&distances, 0.95)
}
