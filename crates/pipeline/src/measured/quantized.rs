//! `quantization.json`: what inference in 8-bit codes loses.

use metrics::Interval;
use serde::{Deserialize, Serialize};

/// Inference in int8 beside inference in f32, on the same images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantized {
    /// Number of training images from which the ranges were determined.
    pub images: usize,
    /// Number of feature maps that are stored as codes.
    pub coded: usize,
    /// The class scores on validation, by which int8 is accepted or refused; `null` for a segmenter.
    pub val: Option<ClassLoss>,
    /// The class scores on test.
    pub test: Option<ClassLoss>,
    /// The map on validation; `null` without masks.
    pub val_map: Option<MapLoss>,
    /// The map on test.
    pub test_map: Option<MapLoss>,
    /// Why int8 is refused, one sentence for each bound that is passed; empty where it is accepted.
    pub refused: Vec<String>,
}

/// Class scores in int8 beside those in f32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassLoss {
    /// Number of images.
    pub images: usize,
    /// AUC in f32 and in int8.
    pub auc: Option<[f64; 2]>,
    /// How much lower it is in int8, by the paired bootstrap of patients.
    pub auc_loss: Option<Interval>,
    /// Accuracy in f32 and in int8.
    pub accuracy: [f64; 2],
    /// Expected calibration error in f32 and in int8.
    pub calibration_error: [f64; 2],
    /// Images whose predicted class is another.
    pub changed: usize,
    /// The largest change of a class's probability.
    pub largest_change: f64,
}

/// Class map in int8 beside that in f32, at the size of the network's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapLoss {
    /// Number of images with a mask.
    pub images: usize,
    /// Mean Dice of all classes but the background together, in f32 and in int8.
    pub dice: [f64; 2],
    /// Share of the pixels whose most probable class is another.
    pub changed: f64,
}
