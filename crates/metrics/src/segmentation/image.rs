//! The segmentation of one image, per class.

use serde::{Deserialize, Serialize};

use super::overlap::MaskScores;
use super::surface::{SurfaceDistance, hd95};
use crate::check;
use crate::confusion::ConfusionMatrix;
use crate::error::Result;
use crate::threshold::BinaryCounts;

/// The true and the predicted class of each pixel, row by row: `u8`, `u16` or `usize`. A binary segmentation has the
/// classes 0 (background) and 1.
#[derive(Debug, Clone, Copy)]
pub struct LabelMaps<'a, L> {
    /// The true classes.
    pub truth: &'a [L],
    /// The predicted classes.
    pub predicted: &'a [L],
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Number of classes.
    pub classes: usize,
    /// Millimetres from row to row and from column to column, if they are known.
    pub spacing: Option<[f64; 2]>,
    /// True label of pixels to ignore, such as 255. For surface distances they count as outside every class.
    pub ignore: Option<usize>,
}

/// Scores of one class in one image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassInImage {
    /// Overlap scores.
    pub scores: MaskScores,
    /// Surface distance in pixels, which also indicates whether a mask is empty.
    pub hd95: SurfaceDistance,
    /// The same in millimetres, if the spacing is known.
    pub hd95_mm: Option<SurfaceDistance>,
}

/// The evaluation of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentedImage {
    /// All classes, in order.
    pub classes: Vec<ClassInImage>,
    /// Confusion matrix of the pixels: row = true class, column = predicted class.
    pub confusion: ConfusionMatrix,
}

impl SegmentedImage {
    /// Evaluates an image.
    ///
    /// # Errors
    /// Maps that are not `height · width` pixels, a label that is out of range, or no pixels that count.
    pub fn new<L: Copy + Into<usize>>(maps: &LabelMaps<'_, L>) -> Result<Self> {
        let pixels = maps.height * maps.width;
        check::same_length("truth", maps.truth.len(), "height · width", pixels)?;
        check::same_length("predicted", maps.predicted.len(), "truth", pixels)?;
        let pairs = maps.truth.iter().zip(maps.predicted);
        let pairs = pairs.map(|(truth, predicted)| ((*truth).into(), (*predicted).into()));
        let known: Vec<Option<(usize, usize)>> = pairs
            .map(|pair: (usize, usize)| (Some(pair.0) != maps.ignore).then_some(pair))
            .collect();
        let (truth, predicted): (Vec<_>, Vec<_>) = known.iter().copied().flatten().unzip();
        let confusion = ConfusionMatrix::new(maps.classes, &truth, &predicted)?;
        let (support, sums) = (confusion.support(), confusion.predicted());
        let judge = |class| -> Result<ClassInImage> {
            let mask = |of: fn((usize, usize)) -> usize| -> Vec<bool> {
                let is_class = |pair: &Option<_>| pair.is_some_and(|pair| of(pair) == class);
                known.iter().map(is_class).collect()
            };
            let (truth, predicted) = (mask(|pair| pair.0), mask(|pair| pair.1));
            let surface = |spacing| hd95(&truth, &predicted, maps.height, maps.width, spacing);
            Ok(ClassInImage {
                scores: overlap(&confusion, class, support[class], sums[class]),
                hd95: surface([1.0, 1.0])?,
                hd95_mm: maps.spacing.map(surface).transpose()?,
            })
        };
        Ok(Self {
            classes: (0..maps.classes).map(judge).collect::<Result<_>>()?,
            confusion,
        })
    }
}

/// Overlap of a class against the rest, from the confusion matrix of the pixels.
pub(super) fn overlap(
    confusion: &ConfusionMatrix,
    class: usize,
    truth: u64,
    predicted: u64,
) -> MaskScores {
    let hits = confusion.get(class, class);
    MaskScores::from_counts(BinaryCounts {
        true_positives: hits,
        false_positives: predicted - hits,
        false_negatives: truth - hits,
        true_negatives: confusion.total() + hits - truth - predicted,
    })
}
