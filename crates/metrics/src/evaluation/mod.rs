//! One set of predictions, everything a report says about it.

mod judge;

use serde::{Deserialize, Serialize};

use crate::bootstrap::Bootstrap;
use crate::calibration::ReliabilityBin;
use crate::confusion::ConfusionMatrix;
use crate::curve::{PrCurve, RocCurve};
use crate::error::Result;
use crate::interval::Interval;
use crate::report::ClassificationReport;
use crate::threshold::BinaryCounts;

use judge::Judge;

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Predictions<'a, S, P> {
    /// A name per class.
    pub class_names: &'a [S],
    /// The true class of each example.
    pub labels: &'a [usize],
    /// n × classes, row-major, f32 or f64.
    pub probabilities: &'a [P],
    /// An id per example, such as its patient: the bootstrap then draws whole patients. `None`: single examples.
    pub groups: Option<&'a [usize]>,
}

/// How it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSettings {
    /// With two classes, the index of the positive one; unused with more.
    pub positive: usize,
    /// With two classes, positive means `probability >= threshold`; with more the most probable class wins.
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

/// The figures, in the order in which they are serialized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Class names in index order.
    pub classes: Vec<String>,
    /// Number of examples.
    pub n: usize,
    /// Number of distinct groups the bootstrap drew from, if groups were given.
    pub groups: Option<usize>,
    /// How it was judged.
    pub settings: EvaluationSettings,
    /// Counts, row = true class.
    pub confusion: ConfusionMatrix,
    /// Share of right predictions, Wilson interval (which takes examples as independent).
    pub accuracy: Interval,
    /// Mean recall, bootstrap interval.
    pub balanced_accuracy: Interval,
    /// Matthews correlation coefficient, bootstrap interval.
    pub mcc: Interval,
    /// Cohen's kappa; none if labels and predictions are all one class.
    pub cohen_kappa: Option<f64>,
    /// Area under the ROC curve, bootstrap interval: of the positive class, or with more than two classes the
    /// one-vs-rest macro average. None if a class has no example.
    pub auc: Option<Interval>,
    /// Average precision of the positive class, or the macro average. None if a class has no example.
    pub average_precision: Option<f64>,
    /// Mean −ln p(true class), in nats.
    pub log_loss: f64,
    /// Two classes: mean (p − y)², 0..=1. More: Σ over classes, 0..=2.
    pub brier: f64,
    /// Expected calibration error, of the positive class's probability, or with more classes of the top one's.
    pub expected_calibration_error: f64,
    /// Only with two classes.
    pub binary: Option<BinaryEvaluation>,
    /// How well each class is ranked against the rest; with two classes, the positive one.
    pub ranking: Vec<ClassRanking>,
    /// Precision, recall, F1 and support.
    pub report: ClassificationReport,
}

/// The decision at the threshold; Wilson intervals, none where nothing is in the denominator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinaryEvaluation {
    /// Name of the positive class.
    pub positive: String,
    /// Positive means `probability >= threshold`.
    pub threshold: f64,
    /// The four counts.
    pub counts: BinaryCounts,
    /// Share of positives found.
    pub sensitivity: Option<Interval>,
    /// Share of negatives cleared.
    pub specificity: Option<Interval>,
    /// Positive predictive value, at this prevalence.
    pub ppv: Option<Interval>,
    /// Negative predictive value, at this prevalence.
    pub npv: Option<Interval>,
    /// AUC with DeLong's interval, beside the bootstrap's; needs two examples of each class.
    pub auc_delong: Option<Interval>,
}

/// A class against the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRanking {
    /// The class.
    pub class: String,
    /// AUC, bootstrap interval; none if the class or the rest has no example.
    pub auc: Option<Interval>,
    /// Average precision; none likewise.
    pub average_precision: Option<f64>,
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
            threshold: 0.5,
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
/// Fewer than two classes, no example, lengths that do not fit, a label out of range, values that are no
/// probabilities, or a setting outside its range.
pub fn evaluate<S: AsRef<str>, P: Copy + Into<f64>>(
    predictions: &Predictions<'_, S, P>,
    settings: &EvaluationSettings,
) -> Result<(Evaluation, Curves)> {
    let judge = Judge::new(predictions, settings)?;
    Ok((judge.evaluation()?, judge.curves()?))
}
