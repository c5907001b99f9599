//! `novelty` in `metrics.json`: which images are unlike those that the network was trained on.

use metrics::Interval;
use serde::{Deserialize, Serialize};

/// How well images of other kinds are distinguished from those of the test split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    /// The network's output whose mean over the pixels are the features.
    pub output: String,
    /// Number of features.
    pub features: usize,
    /// Number of training images that the Gaussians were fitted to.
    pub train: usize,
    /// Shrinkage of their covariance.
    pub shrinkage: f64,
    /// The share of the images of validation patients that is accepted.
    pub promised: f64,
    /// The share of the test images that is accepted.
    pub test: Interval,
    /// Images of other kinds.
    pub kinds: Vec<NoveltyKind>,
}

/// Images of another kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoveltyKind {
    /// What they are.
    pub name: String,
    /// The share that is detected as unlike the training images.
    pub detected: Interval,
    /// By which score, in the order: both together, distance, energy, largest score.
    pub figures: [NoveltyFigures; 4],
}

/// How well a score separates images of another kind from the test images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoveltyFigures {
    /// The probability that an image of the other kind has the higher score.
    pub auroc: f64,
    /// The share of the other kind that is accepted if 95 % of the test images are.
    pub fpr95: f64,
}
