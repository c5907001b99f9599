//! Overlap of a predicted mask with the true one, per image and over images.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::threshold::BinaryCounts;

/// Overlap scores of one image.
///
/// **Empty masks.** Where both masks are empty the prediction is perfect and every score is 1. Any other 0 / 0
/// (precision of an empty prediction, recall of an empty truth) is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MaskScores {
    /// 2·TP / (2·TP + FP + FN), the F1 score of pixels.
    pub dice: f64,
    /// TP / (TP + FP + FN), the Jaccard index.
    pub iou: f64,
    /// Share of predicted pixels that are true.
    pub precision: f64,
    /// Share of true pixels that are predicted.
    pub recall: f64,
    /// The pixels.
    pub counts: BinaryCounts,
}

/// Scores over images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SegmentationSummary {
    /// Number of images.
    pub n: usize,
    /// Mean over images: every image counts alike.
    pub mean_dice: f64,
    /// Mean over images.
    pub mean_iou: f64,
    /// Mean over images.
    pub mean_precision: f64,
    /// Mean over images.
    pub mean_recall: f64,
    /// All images' pixels taken as one image: large masks count more.
    pub pooled: MaskScores,
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

/// Scores of the mask `map >= threshold` against `truth`; a NaN in the map is outside the mask.
///
/// # Errors
/// Empty input, different lengths, or a threshold that is NaN.
pub fn mask_scores_from_map(truth: &[bool], map: &[f32], threshold: f32) -> Result<MaskScores> {
    check::not_empty("truth", truth.len())?;
    check::same_length("map", map.len(), "truth", truth.len())?;
    if threshold.is_nan() {
        return Err(check::setting("threshold", threshold, "a number"));
    }
    let predicted = map.iter().map(|value| *value >= threshold);
    Ok(MaskScores::from_counts(BinaryCounts::count(
        truth.iter().copied().zip(predicted),
    )))
}

/// Means over images and the scores of all their pixels pooled.
///
/// # Errors
/// No image.
pub fn summarize_masks(images: &[MaskScores]) -> Result<SegmentationSummary> {
    check::not_empty("images", images.len())?;
    let n = images.len();
    let mean = |score: fn(&MaskScores) -> f64| images.iter().map(score).sum::<f64>() / n as f64;
    let total =
        |count: fn(&BinaryCounts) -> u64| images.iter().map(|image| count(&image.counts)).sum();
    Ok(SegmentationSummary {
        n,
        mean_dice: mean(|image| image.dice),
        mean_iou: mean(|image| image.iou),
        mean_precision: mean(|image| image.precision),
        mean_recall: mean(|image| image.recall),
        pooled: MaskScores::from_counts(BinaryCounts {
            true_positives: total(|counts| counts.true_positives),
            false_positives: total(|counts| counts.false_positives),
            true_negatives: total(|counts| counts.true_negatives),
            false_negatives: total(|counts| counts.false_negatives),
        }),
    })
}

impl MaskScores {
    /// From pixel counts, with the rule for empty masks above.
    pub fn from_counts(counts: BinaryCounts) -> Self {
        let BinaryCounts {
            true_positives: hits,
            false_positives,
            false_negatives,
            ..
        } = counts;
        let union = hits + false_positives + false_negatives;
        let ratio = |part: u64, whole: u64| match (union, whole) {
            (0, _) => 1.0,
            (_, 0) => 0.0,
            _ => part as f64 / whole as f64,
        };
        Self {
            dice: ratio(2 * hits, union + hits),
            iou: ratio(hits, union),
            precision: ratio(hits, hits + false_positives),
            recall: ratio(hits, hits + false_negatives),
            counts,
        }
    }
}
