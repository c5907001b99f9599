//! Evaluates one set of predictions: all metrics that a report contains.

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

pub(crate) use checked::CheckedPredictions;
pub use compare::{Comparison, compare};

/// The predictions to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct Predictions<'a, S> {
    /// One name per class.
    pub class_names: &'a [S],
    /// The true class of each example.
    pub labels: &'a [usize],
    /// n × classes, row-major; used for rankings and, with two classes, for decisions.
    pub logits: &'a [f64],
    /// n × classes, row-major; the probabilities of each example, calibrated or not. With more than two classes, the most
    /// probable one is predicted.
    pub probabilities: &'a [f64],
    /// One id per example, such as its patient: intervals then account for correlation within a group. `None` if
    /// examples are independent.
    pub groups: Option<&'a [usize]>,
}

/// Settings of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSettings {
    /// With two classes, the index of the positive class; unused with more.
    pub positive: usize,
    /// With two classes, an example is positive if the log-odds of the positive class are at least this; with more, the
    /// most probable class is predicted.
    pub threshold: f64,
    /// Confidence level of every interval.
    pub level: f64,
    /// Number of bootstrap resamples.
    pub resamples: usize,
    /// Bootstrap seed.
    pub seed: u64,
    /// Number of bins of the expected calibration error.
    pub calibration_bins: usize,
}

impl EvaluationSettings {
    /// The decision rule for this number of classes.
    pub fn rule(&self, classes: usize) -> DecisionRule {
        match classes {
            2 => DecisionRule::Threshold {
                positive: self.positive,
                log_odds: self.threshold,
            },
            _ => DecisionRule::MostProbable,
        }
    }
}

/// All metrics, in the order in which they are serialized.
///
/// **Intervals.** Proportions have Wilson's interval, with an effective number of examples if groups are given
/// ([`crate::proportion`]); all other metrics have a percentile bootstrap that draws whole groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Class names in index order.
    pub classes: Vec<String>,
    /// Number of examples.
    pub n: usize,
    /// Number of distinct groups, if groups were given.
    pub groups: Option<usize>,
    /// The settings of the evaluation.
    pub settings: EvaluationSettings,
    /// Confusion matrix; rows are true classes.
    pub confusion: ConfusionMatrix,
    /// Share of correct predictions.
    pub accuracy: Interval,
    /// Mean recall.
    pub balanced_accuracy: Interval,
    /// Matthews correlation coefficient.
    pub mcc: Interval,
    /// Cohen's kappa; `None` if all labels and predictions are the same class.
    pub cohen_kappa: Option<Interval>,
    /// Area under the ROC curve of the positive class, or with more than two classes the one-vs-rest macro average.
    /// `None` if a class has no examples.
    pub auc: Option<Interval>,
    /// Average precision of the positive class, or the macro average. `None` if a class has no examples.
    pub average_precision: Option<Interval>,
    /// Mean −ln p(true class), in nats.
    pub log_loss: Interval,
    /// Brier score: mean (p − y)² in 0..=1 with two classes, the sum over classes in 0..=2 with more.
    pub brier: Interval,
    /// Expected calibration error of the positive class's probability, or with more classes of the predicted class's.
    /// The interval is that of the same estimator, which is biased upwards for few examples.
    pub expected_calibration_error: Interval,
    /// Metrics of the binary decision; only with two classes.
    pub binary: Option<BinaryEvaluation>,
    /// Ranking of each class against the rest; with two classes, of the positive class only.
    pub ranking: Vec<ClassRanking>,
    /// Precision, recall and F1 of each class.
    pub scores: Vec<ScoreIntervals>,
    /// Unweighted mean of the scores over classes.
    pub macro_average: ScoreIntervals,
    /// Mean of the scores over classes, weighted by support.
    pub weighted_average: ScoreIntervals,
}

/// The decision at the threshold; a rate is `None` if its denominator is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinaryEvaluation {
    /// Name of the positive class.
    pub positive: String,
    /// An example is classified as positive if its log-odds are at least this.
    pub threshold: f64,
    /// The four counts.
    pub counts: BinaryCounts,
    /// Share of positives classified as positive.
    pub sensitivity: Option<Interval>,
    /// Share of negatives classified as negative.
    pub specificity: Option<Interval>,
    /// Positive predictive value, at this prevalence.
    pub ppv: Option<Interval>,
    /// Negative predictive value, at this prevalence.
    pub npv: Option<Interval>,
    /// AUC with DeLong's interval (Obuchowski's if groups are given), in addition to the bootstrap interval; needs two
    /// examples of each class.
    pub auc_delong: Option<Interval>,
}

/// A class against the rest, ranked by its log-odds under plain softmax, independent of calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRanking {
    /// The class.
    pub class: String,
    /// AUC; `None` if the class or the rest has no examples.
    pub auc: Option<Interval>,
    /// Average precision; `None` in the same cases.
    pub average_precision: Option<Interval>,
}

/// Scores of a class, or their average. A ratio whose denominator is 0 counts as 0 in averages and has no interval of
/// its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreIntervals {
    /// Name of the class or of the average.
    pub name: String,
    /// Share of the examples predicted as the class that belong to it.
    pub precision: Option<Interval>,
    /// Share of the class's examples that are predicted as the class.
    pub recall: Option<Interval>,
    /// Harmonic mean of precision and recall.
    pub f1: Option<Interval>,
    /// Number of examples of the class.
    pub support: u64,
}

/// Points of the curves to draw, kept separate so that the file of metrics stays small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// As [`Evaluation::ranking`], without the classes whose curves are undefined.
    pub classes: Vec<ClassCurves>,
    /// The bins of the expected calibration error.
    pub reliability: Vec<ReliabilityBin>,
}

/// ROC and precision-recall curves of a class against the rest, without points that do not change the line.
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

/// Evaluates `predictions`: all metrics, and the curves.
///
/// A class without examples is not an error, because small test sets may lack one: the metrics that need it are `None`.
///
/// # Errors
/// Fewer than two classes, no examples, inconsistent lengths, a label out of range, logits that are not finite, values
/// that are not probabilities, or a setting outside its range.
pub fn evaluate<S: AsRef<str>>(
    predictions: &Predictions<'_, S>,
    settings: &EvaluationSettings,
) -> Result<(Evaluation, Curves)> {
    let checked = CheckedPredictions::new(predictions, settings)?;
    Ok((checked.evaluation()?, checked.curves()?))
}
