//! Evaluation of masks: overlap and surface distance, per image and over images with intervals.

mod image;
mod overlap;
mod summary;
mod surface;

pub use image::{ClassInImage, LabelMaps, SegmentedImage};
pub use overlap::{MaskScores, mask_scores};
pub use summary::{
    ClassSegmentation, SegmentationComparison, SegmentationEvaluation, SegmentationSettings,
    Spread, compare_segmentations, evaluate_segmentation,
};
pub use surface::{SurfaceDistance, hd95};
