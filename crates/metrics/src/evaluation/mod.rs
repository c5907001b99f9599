//! One set of predictions, everything a report says about it.

mod checked;
mod compare;

use serde::{Deserialize, Serialize};

use crate::bootstrap::Bootstrap;
use crate::calibration::ReliabilityBin;
use crate::confusion::ConfusionMatrix;
use crate::curve::{PrCurve, RocCurve};
use crate::decision::DecisionRule;
use crate::error::Result;
use crate::interval::Interval;
use crate::threshold::BinaryCounts;

use checked::CheckedPredictions;
pub use compare::{Comparison, compare};

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Predictions<'a, S> {
    /// A name per class.
    pub class_names: &'a [S],
    /// The true class of each example.
    pub labels: &'a [usize],
    /// n × classes, row-major: what is ranked and decided by.
    pub logits: &'a [f64],
    /// n × classes, row-major: what is said about each example, calibrated or not.
    pub probabilities: &'a [f64],
    /// An id per example, such as its patient: intervals then allow for examples of one group being alike. `None`:
    /// examples are independent.
    pub groups: Option<&'a [usize]>,
}

/// How it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSettings {
    /// With two classes, the index of the positive one; unused with more.
    pub positive: usize,
    /// With two classes, positive means that its log-odds against the other are at least this; with more the largest logit
    /// wins.
    pub threshold: f64,
    /// Confidence level of every interval.
    pub level: f64,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Bootstrap seed.
    pub seed: u64,
    /// Bins of the expected calibration error.
    pub calibration_bins: usize,
}

impl EvaluationSettings {
    /// The rule by which examples of so many classes are decided.
    pub fn rule(&self, classes: usize) -> DecisionRule {
        match classes {
            2 => DecisionRule::Threshold {
                positive: self.positive,
                log_odds: self.threshold,
            },
            _ => DecisionRule::Largest,
        }
    }
}

/// The figures, in the order in which they are serialized.
///
/// **Intervals.** Shares have Wilson's, of an effective number of examples where groups are given
/// ([`crate::proportion`]); all else has a percentile bootstrap that draws whole groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Class names in index order.
    pub classes: Vec<String>,
    /// Number of examples.
    pub n: usize,
    /// Number of distinct groups, if groups were given.
    pub groups: Option<usize>,
    /// How it was judged.
    pub settings: EvaluationSettings,
    /// Counts, row = true class.
    pub confusion: ConfusionMatrix,
    /// Share of right predictions.
    pub accuracy: Interval,
    /// Mean recall.
    pub balanced_accuracy: Interval,
    /// Matthews correlation coefficient.
    pub mcc: Interval,
    /// Cohen's kappa; none if labels and predictions are all one class.
    pub cohen_kappa: Option<Interval>,
    /// Area under the ROC curve: of the positive class, or with more than two classes the one-vs-rest macro average. None if
    /// a class has no example.
    pub auc: Option<Interval>,
    /// Average precision of the positive class, or the macro average. None if a class has no example.
    pub average_precision: Option<Interval>,
    /// Mean −ln p(true class), in nats.
    pub log_loss: Interval,
    /// Two classes: mean (p − y)², 0..=1. More: Σ over classes, 0..=2.
    pub brier: Interval,
    /// Expected calibration error, of the positive class's probability, or with more classes of that of the class decided
    /// for. Its interval is of the same estimator, which few examples bias upwards.
    pub expected_calibration_error: Interval,
    /// Only with two classes.
    pub binary: Option<BinaryEvaluation>,
    /// How well each class is ranked against the rest; with two classes, the positive one.
    pub ranking: Vec<ClassRanking>,
    /// Precision, recall and F1 of each class.
    pub scores: Vec<ScoreIntervals>,
    /// Their unweighted mean over classes.
    pub macro_average: ScoreIntervals,
    /// Their mean over classes weighted by support.
    pub weighted_average: ScoreIntervals,
}

/// The decision at the threshold; no interval where nothing is in the denominator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinaryEvaluation {
    /// Name of the positive class.
    pub positive: String,
    /// Positive means that its log-odds are at least this.
    pub threshold: f64,
    /// The four counts.
    pub counts: BinaryCounts,
    /// Share of positives found.
    pub sensitivity: Option<Interval>,
    /// Share of negatives classified as such.
    pub specificity: Option<Interval>,
    /// Positive predictive value, at this prevalence.
    pub ppv: Option<Interval>,
    /// Negative predictive value, at this prevalence.
    pub npv: Option<Interval>,
    /// AUC with DeLong's interval (Obuchowski's where groups are given), beside the bootstrap's; needs two examples of each
    /// class.
    pub auc_delong: Option<Interval>,
}

/// A class against the rest, ranked by its log-odds under plain softmax, whatever the calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRanking {
    /// The class.
    pub class: String,
    /// AUC; none if the class or the rest has no example.
    pub auc: Option<Interval>,
    /// Average precision; none likewise.
    pub average_precision: Option<Interval>,
}

/// Scores of a class, or an average of them. A ratio without a denominator counts as 0 in averages and has no interval of its
/// own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreIntervals {
    /// The class, or which average.
    pub name: String,
    /// Share of the examples called so that are.
    pub precision: Option<Interval>,
    /// Share of the class's examples that are found.
    pub recall: Option<Interval>,
    /// Harmonic mean of the two.
    pub f1: Option<Interval>,
    /// Number of the class's examples.
    pub support: u64,
}

/// Points to draw, kept apart so that the figures stay a small file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// As [`Evaluation::ranking`], without the classes that have no curve.
    pub classes: Vec<ClassCurves>,
    /// What the expected calibration error was computed from.
    pub reliability: Vec<ReliabilityBin>,
}

/// ROC and PR of a class against the rest, without points that change no line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassCurves {
    /// The class.
    pub class: String,
    /// ROC curve.
    pub roc: RocCurve,
    /// Precision-recall curve.
    pub pr: PrCurve,
}

impl Default for EvaluationSettings {
    fn default() -> Self {
        let Bootstrap {
            resamples,
            seed,
            level,
        } = Bootstrap::default();
        Self {
            positive: 1,
            threshold: 0.0,
            level,
            resamples,
            seed,
            calibration_bins: 10,
        }
    }
}

/// Judges `predictions`: all figures, and the curves beside them.
///
/// A class without examples is no error (small test sets lack one): the figures that need it are `None`.
///
/// # Errors
/// Fewer than two classes, no example, lengths that do not fit, a label out of range, logits that are not finite, values
/// that are no probabilities, or a setting outside its range.
pub fn evaluate<S: AsRef<str>>(
    predictions: &Predictions<'_, S>,
    settings: &EvaluationSettings,
) -> Result<(Evaluation, Curves)> {
    let checked = CheckedPredictions::new(predictions, settings)?;
    Ok((checked.evaluation()?, checked.curves()?))
}
