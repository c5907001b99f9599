//! The distance between two masks' surfaces.

use morphology::Mask;
use serde::{Deserialize, Serialize};

use crate::bootstrap::quantile;
use crate::check;
use crate::error::Result;

/// How far apart two masks' surfaces are, in pixels.
///
/// **Empty masks.** Where both masks are empty there is nothing to measure. Where one is, there is no surface to measure to; such
/// an image counts with the longest distance that it has room for, its diagonal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurfaceDistance {
    /// Neither mask has a pixel.
    BothEmpty,
    /// The truth has pixels, the prediction none.
    FalseNegative {
        /// The image's diagonal.
        diagonal: f64,
    },
    /// The prediction has pixels, the truth none.
    FalsePositive {
        /// The image's diagonal.
        diagonal: f64,
    },
    /// Both have.
    Pixels(f64),
}

impl SurfaceDistance {
    /// What a mean over images counts: the distance, the diagonal where one mask is empty, nothing where both are.
    pub fn counted(self) -> Option<f64> {
        match self {
            Self::BothEmpty => None,
            Self::FalseNegative { diagonal } | Self::FalsePositive { diagonal } => Some(diagonal),
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
    let diagonal = (height as f64).hypot(width as f64);
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
