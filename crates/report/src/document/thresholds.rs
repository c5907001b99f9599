//! An ROC curve with the counts at each threshold.

use serde::{Deserialize, Serialize};

/// The ROC curve of a classifier of two classes, with the counts from which a reader can follow every threshold. Formats
/// without interaction show the figure, which holds the same curves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Path of the figure relative to the document, not encoded.
    pub path: String,
    /// Alternative text of the figure; plain text.
    pub alt: String,
    /// Name of the class that is predicted from the threshold upwards; plain text.
    pub positive: String,
    /// Name of the other class; plain text.
    pub negative: String,
    /// Number of images of the positive class.
    pub positives: u64,
    /// Number of images of the other class.
    pub negatives: u64,
    /// The curves: the classifier's own, then any others to compare with.
    pub curves: Vec<ThresholdCurve>,
    /// Thresholds in ascending order.
    pub points: Vec<OperatingPoint>,
    /// Index of the threshold in use among `points`.
    pub chosen: usize,
}

/// A curve of [`Thresholds`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdCurve {
    /// The classifier; plain text.
    pub name: String,
    /// Its area with interval; plain text.
    pub detail: String,
    /// (false-positive rate, true-positive rate), in order.
    pub points: Vec<(f64, f64)>,
}

/// A threshold and its counts: an image is predicted as positive if its probability is at least the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// The threshold, as a probability of the positive class.
    pub threshold: f64,
    /// Positive images predicted as positive.
    pub true_positives: u64,
    /// Other images predicted as positive.
    pub false_positives: u64,
}

impl Thresholds {
    /// Positive images that are not predicted as such.
    pub fn false_negatives(&self, at: &OperatingPoint) -> u64 {
        self.positives.saturating_sub(at.true_positives)
    }

    /// Other images that are predicted as such.
    pub fn true_negatives(&self, at: &OperatingPoint) -> u64 {
        self.negatives.saturating_sub(at.false_positives)
    }

    /// Share of the positive images that are found; NaN without any.
    pub fn sensitivity(&self, at: &OperatingPoint) -> f64 {
        at.true_positives as f64 / self.positives as f64
    }

    /// Share of the other images that are recognized as such; NaN without any.
    pub fn specificity(&self, at: &OperatingPoint) -> f64 {
        self.true_negatives(at) as f64 / self.negatives as f64
    }
}
