//! Evaluation of masks: overlap and surface distance, per image and over images with intervals.

mod image;
mod overlap;
mod summary;
mod surface;

pub use image::{ClassInImage, LabelMaps, SegmentedImage};
pub use overlap::{MaskScores, mask_scores};
pub use summary::{
    ClassSegmentation, SegmentationEvaluation, SegmentationSettings, Spread, evaluate_segmentation,
};
pub use surface::{SurfaceDistance, hd95};
