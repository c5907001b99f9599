//! `probe` in `metrics.json`: what predicts the class besides the finding.

use metrics::Interval;
use serde::{Deserialize, Serialize};

/// What predicts the class on its own, and what the network needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// AUC on test of models that see only a part of each image, or none of it.
    pub alone: Vec<Alone>,
    /// The network on all of the image, on the same images as `taken_away`.
    pub whole: Option<Interval>,
    /// The network on images from which something is taken away.
    pub taken_away: Vec<TakenAway>,
}

/// A model that sees only something which should not predict the class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alone {
    /// What it sees.
    pub sees: String,
    /// What it is.
    pub model: String,
    /// Whether the finding can be in it, so that it may predict the class by right.
    pub may_hold_finding: bool,
    /// Number of inputs.
    pub inputs: usize,
    /// Test images.
    pub n: usize,
    /// Its area under the ROC curve on test; with more than two classes the mean over classes against the rest. `None` if a
    /// class has no images.
    pub auc: Option<Interval>,
}

/// The network on images from which something is taken away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakenAway {
    /// What.
    pub what: String,
    /// Whether the finding can be in it, so that the network may lose by right.
    pub may_hold_finding: bool,
    /// Area under the ROC curve.
    pub auc: Option<Interval>,
    /// The AUC on the whole images minus this one, with an interval over patients.
    pub lost: Option<Interval>,
    /// The share of what the AUC is above 0.5 that survives; `None` if the network is no better than chance.
    pub survives: Option<f64>,
    /// Share of the predictions that change.
    pub changed: Interval,
}
