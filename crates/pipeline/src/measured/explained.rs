//! `explained` in `metrics.json`: which pixels the class scores are based on.

use metrics::Interval;
use serde::{Deserialize, Serialize};

/// How good the explanations of some test images are, by method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Number of test images.
    pub images: usize,
    /// The methods; the last one is a map of random numbers, for comparison.
    pub methods: Vec<MethodJudged>,
    /// Mean over images of Spearman's rank correlation between the maps of every two methods; `None` where a map is
    /// constant.
    pub agreement: Vec<Vec<Option<f64>>>,
}

/// A method, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodJudged {
    /// Its name.
    pub name: String,
    /// Mean area under the deletion curve: the lower, the better.
    pub deletion: Interval,
    /// Mean area under the insertion curve: the higher, the better.
    pub insertion: Interval,
    /// The share of the images with a mask whose highest value is in the mask.
    pub pointing: Option<Interval>,
    /// The mean share of the map's positive values that is in the mask.
    pub energy: Option<Interval>,
    /// The mean share of the image that is in the mask: what a map of random numbers reaches in the last two.
    pub mask_area: Option<f64>,
    /// How similar the map is if the weights are random from the scores down to a stage, on the first images.
    pub at_random: Vec<AtRandom>,
}

/// The map of a network of which some stages have random weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtRandom {
    /// The last stage that is random, from the scores down.
    pub stage: String,
    /// Mean of Spearman's rank correlation of the magnitudes with the map of the trained network.
    pub correlation: Option<f64>,
}
