//! `stress` in `metrics.json`: results under changes of growing strength.

use metrics::Interval;
use serde::{Deserialize, Serialize};

/// Results on the same test images under each change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stress {
    /// Number of test images.
    pub images: usize,
    /// Results on the unchanged images.
    pub unchanged: Strength,
    /// Results under each change.
    pub changes: Vec<Change>,
}

/// A kind of change at growing strengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What is changed.
    pub name: String,
    /// What a value of it means.
    pub unit: String,
    /// From weak to strong.
    pub strengths: Vec<Strength>,
    /// The weakest value from which on the network is significantly worse than on the unchanged images; `None` if it is
    /// not at the strongest.
    pub breaks_at: Option<f64>,
}

/// Results at one strength.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strength {
    /// The strength in the change's unit.
    pub value: f64,
    /// Area under the ROC curve; with more than two classes the mean over classes against the rest.
    pub auc: Option<Interval>,
    /// The share classified correctly.
    pub accuracy: Interval,
    /// With two classes, the share of the positive images classified correctly, at the threshold of the evaluation.
    pub sensitivity: Option<Interval>,
    /// With two classes, that of the negative images.
    pub specificity: Option<Interval>,
    /// Expected calibration error.
    pub calibration_error: f64,
    /// The AUC on the unchanged images minus this one, and its interval over patients; `None` for the unchanged ones.
    pub lost_auc: Option<Interval>,
    /// The same of the accuracy.
    pub lost_accuracy: Option<Interval>,
}

impl Strength {
    /// Whether it is significantly worse than the unchanged images, in AUC or in accuracy.
    pub fn is_worse(&self) -> bool {
        let lost = [self.lost_auc, self.lost_accuracy];
        lost.iter().flatten().any(|lost| lost.low > 0.0)
    }
}
