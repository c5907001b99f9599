//! How a checkpoint detects images unlike those that its network was trained on.

use std::path::Path;

use model::graph::Graph;
use serde::{Deserialize, Serialize};

use super::file::{Entry, Tensors};
use super::{CheckpointError, Meta};

/// Prefix of the names of the tensors that [`Novelty`] consists of.
pub const NOVELTY: &str = "novelty/";

/// Gaussians of the features of the training images, one per class, with a shared covariance, and how far from them and
/// how unsure of itself the network may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    /// Scores and threshold.
    pub rule: NoveltyRule,
    /// Mean of all training images, `[d]`.
    pub mean: Vec<f32>,
    /// The lower triangle of the covariance's Cholesky factor, row by row, `[d·(d + 1)/2]`.
    pub factor: Vec<f32>,
    /// Per class, its mean minus `mean`, multiplied by the inverse of the factor, `[classes, d]`.
    pub class_means: Vec<f32>,
}

/// From features and scores to a number: at most 1 for images like the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoveltyRule {
    /// The output of the network whose mean over the pixels are the features, such as `features.5`.
    pub output: String,
    /// Shrinkage of the covariance, 0 to 1.
    pub shrinkage: f64,
    /// The squared Mahalanobis distance to the nearest class.
    pub distance: Spread,
    /// Minus the log-sum-exp of the class scores.
    pub energy: Spread,
    /// The larger of the two, each as a [`Spread`], divided by this, is the novelty.
    pub threshold: f64,
    /// The share of the validation patients' images with a novelty of at most 1.
    pub accepted: f64,
}

/// A score's values on validation: it becomes `(score − median) / (high − median)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Its median.
    pub median: f64,
    /// A high quantile, above the median.
    pub high: f64,
}

impl NoveltyRule {
    /// Checks it against the network.
    pub(super) fn check(
        &self,
        path: &Path,
        graph: &Graph,
        meta: &Meta,
    ) -> Result<(), CheckpointError> {
        let wrong = |problem: String| CheckpointError::Meta {
            path: path.into(),
            key: "novelty",
            problem,
        };
        let known = graph.features().contains(&self.output.as_str());
        if !known || graph.output("logits").is_none() {
            return Err(wrong(format!(
                "is about the features {} and class scores, which the network does not have",
                self.output
            )));
        }
        if meta.classes.is_empty() || !self.is_sound() {
            return Err(wrong(format!(
                "is {self:?}, but must be finite, with a threshold above 0 and high quantiles above the medians"
            )));
        }
        Ok(())
    }

    fn is_sound(&self) -> bool {
        let sound = |spread: &Spread| {
            spread.median.is_finite() && spread.high.is_finite() && spread.high > spread.median
        };
        sound(&self.distance)
            && sound(&self.energy)
            && self.threshold > 0.0
            && self.threshold.is_finite()
            && (0.0..=1.0).contains(&self.accepted)
            && (0.0..=1.0).contains(&self.shrinkage)
    }

    /// Reads the tensors that belong to it.
    pub(super) fn read(
        self,
        graph: &Graph,
        tensors: &Tensors<'_>,
    ) -> Result<Novelty, CheckpointError> {
        let channels = graph.output(&self.output);
        let channels = channels.map_or(0, |id| graph.node(id).channels);
        let tensor = |name: &str| tensors.get(&format!("{NOVELTY}{name}"), None);
        let novelty = Novelty {
            rule: self,
            mean: tensor("mean")?,
            factor: tensor("factor")?,
            class_means: tensor("class_means")?,
        };
        match novelty.mean.len() == channels && novelty.fits() {
            true => Ok(novelty),
            false => Err(tensors.error(
                &format!("{NOVELTY}factor"),
                "does not fit the network's features or the other tensors of the novelty score, or is not finite",
            )),
        }
    }
}

impl Novelty {
    /// Names of its tensors.
    pub(super) fn names() -> [String; 3] {
        ["mean", "factor", "class_means"].map(|name| format!("{NOVELTY}{name}"))
    }

    pub(super) fn entries(&self) -> Vec<(String, Entry<'_>)> {
        let all = [&self.mean, &self.factor, &self.class_means];
        let named = Self::names().into_iter().zip(all);
        named.map(|(name, data)| (name, entry(data))).collect()
    }

    /// Whether the lengths belong together and the values are finite.
    fn fits(&self) -> bool {
        let d = self.mean.len();
        let all = self
            .mean
            .iter()
            .chain(&self.factor)
            .chain(&self.class_means);
        d > 0
            && self.factor.len() == d * (d + 1) / 2
            && !self.class_means.is_empty()
            && self.class_means.len().is_multiple_of(d)
            && all.into_iter().all(|value| value.is_finite())
    }
}

fn entry(data: &[f32]) -> Entry<'_> {
    Entry {
        shape: vec![data.len()],
        data: data.into(),
    }
}
