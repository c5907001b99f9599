//! Overlap of a predicted mask with the true one.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::threshold::BinaryCounts;

/// Overlap scores of one image.
///
/// **Empty masks.** If both masks are empty, there is nothing to find and no score: counting such an image as a success
/// would let absent classes raise the mean. If only one mask is empty, Dice and IoU are 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MaskScores {
    /// 2·TP / (2·TP + FP + FN), the F1 score of pixels; `None` if both masks are empty.
    pub dice: Option<f64>,
    /// TP / (TP + FP + FN), the Jaccard index; `None` if both masks are empty.
    pub iou: Option<f64>,
    /// Share of predicted pixels that are in the truth; `None` if no pixel is predicted.
    pub precision: Option<f64>,
    /// Share of the truth's pixels that are predicted; `None` if the truth is empty.
    pub recall: Option<f64>,
    /// The pixel counts.
    pub counts: BinaryCounts,
}

/// Scores of `predicted` against `truth`, pixel by pixel.
///
/// # Errors
/// Empty input or different lengths.
pub fn mask_scores(truth: &[bool], predicted: &[bool]) -> Result<MaskScores> {
    check::not_empty("truth", truth.len())?;
    check::same_length("predicted", predicted.len(), "truth", truth.len())?;
    Ok(MaskScores::from_counts(BinaryCounts::count(
        truth.iter().copied().zip(predicted.iter().copied()),
    )))
}

impl MaskScores {
    /// Computes the scores from pixel counts.
    pub fn from_counts(counts: BinaryCounts) -> Self {
        let BinaryCounts {
            true_positives: hits,
            false_positives,
            false_negatives,
            ..
        } = counts;
        let union = hits + false_positives + false_negatives;
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        Self {
            dice: ratio(2 * hits, union + hits),
            iou: ratio(hits, union),
            precision: ratio(hits, hits + false_positives),
            recall: ratio(hits, hits + false_negatives),
            counts,
        }
    }
}
