//! The distance between the surfaces of two masks.

use morphology::Mask;
use serde::{Deserialize, Serialize};

use crate::bootstrap::quantile;
use crate::check;
use crate::error::Result;

/// Distance between the surfaces of two masks, in pixels or millimetres.
///
/// **Empty masks.** If both masks are empty, there is nothing to measure. If one is empty, there is no surface to
/// measure to; such an image counts with the largest possible distance, its diagonal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurfaceDistance {
    /// Both masks are empty.
    BothEmpty,
    /// The truth has pixels, the prediction is empty.
    FalseNegative {
        /// The image's diagonal.
        diagonal: f64,
    },
    /// The prediction has pixels, the truth is empty.
    FalsePositive {
        /// The image's diagonal.
        diagonal: f64,
    },
    /// Both masks have pixels.
    Between(f64),
}

impl SurfaceDistance {
    /// The value counted in means over images: the distance, the diagonal if one mask is empty, `None` if both are.
    pub fn counted(self) -> Option<f64> {
        match self {
            Self::BothEmpty => None,
            Self::FalseNegative { diagonal } | Self::FalsePositive { diagonal } => Some(diagonal),
            Self::Between(distance) => Some(distance),
        }
    }
}

/// 95th-percentile Hausdorff distance: the 95th percentile of the distances from each pixel of one surface to the other
/// surface, in both directions, and the larger of the two (DeepMind's `surface-distance`, MONAI). A surface consists of
/// the mask's pixels that share an edge with the outside or with the image border; percentiles are interpolated as in
/// NumPy. `spacing` is the distance from row to row and from column to column: in the unit of the result, `[1.0, 1.0]` for
/// pixels.
///
/// # Errors
/// Empty input, a spacing that is not finite and above 0, or masks that are not `height · width` pixels.
pub fn hd95(
    truth: &[bool],
    predicted: &[bool],
    height: usize,
    width: usize,
    spacing: [f64; 2],
) -> Result<SurfaceDistance> {
    check::not_empty("truth", truth.len())?;
    check::same_length("truth", truth.len(), "height · width", height * width)?;
    check::same_length("predicted", predicted.len(), "truth", truth.len())?;
    let truth = Mask::new(height, width, truth)?;
    let predicted = Mask::new(height, width, predicted)?;
    let [rows, columns] = spacing;
    if let Some(wrong) = spacing
        .iter()
        .find(|side| !(side.is_finite() && **side > 0.0))
    {
        return Err(check::setting("spacing", wrong, "a number above 0"));
    }
    let diagonal = (height as f64 * rows).hypot(width as f64 * columns);
    match (truth.is_empty(), predicted.is_empty()) {
        (true, true) => return Ok(SurfaceDistance::BothEmpty),
        (false, true) => return Ok(SurfaceDistance::FalseNegative { diagonal }),
        (true, false) => return Ok(SurfaceDistance::FalsePositive { diagonal }),
        (false, false) => {}
    }
    let (truth, predicted) = (truth.surface(), predicted.surface());
    let (truth, predicted) = (
        Mask::new(height, width, &truth)?,
        Mask::new(height, width, &predicted)?,
    );
    let there = directed(truth, predicted, spacing);
    let back = directed(predicted, truth, spacing);
    Ok(SurfaceDistance::Between(there.max(back)))
}

/// The 95th percentile of the distances from the pixels of `from` to `to`; neither may be empty.
fn directed(from: Mask<'_>, to: Mask<'_>, spacing: [f64; 2]) -> f64 {
    let distances = to.distances(spacing).into_iter().zip(from.pixels());
    let mut distances: Vec<f64> = distances.filter(|(_, on)| **on).map(|(d, _)| d).collect();
    distances.sort_by(f64::total_cmp);
    quantile(&distances, 0.95)
}
