//! Evaluation of classifiers and segmenters: every metric in a report, with its confidence interval and number of
//! examples.
//!
//! Inputs are plain slices: labels as class indices or `bool`, scores and probabilities as floats, masks as `bool` or
//! as label maps. Nothing here depends on images, models or files. Conventions follow scikit-learn where it has one
//! (its values are the test fixtures); where scikit-learn would warn and return NaN, this crate returns an error or
//! `None`, because a NaN in a report would be read as a result.
//!
//! This is a separate crate because decisions are based on these numbers: it consists of small functions that can be
//! checked individually and are deterministic to the bit, independent of the number of threads.
//!
//! ```
//! use metrics::{ClassificationReport, ConfusionMatrix, roc_auc};
//!
//! let labels = [0, 1, 1, 0, 1];
//! let predictions = [0, 1, 0, 0, 1];
//! let confusion = ConfusionMatrix::new(2, &labels, &predictions)?;
//! assert_eq!(confusion.accuracy(), 0.8);
//! println!("{}", ClassificationReport::new(&confusion, &["normal", "pneumonia"])?);
//!
//! let diseased = [false, true, true, false, true];
//! assert_eq!(roc_auc(&diseased, &[0.1, 0.9, 0.4, 0.3, 0.8])?, 1.0);
//! # Ok::<(), metrics::MetricsError>(())
//! ```
//!
//! [`evaluate`] computes all metrics for one set of predictions: an [`Evaluation`] for `metrics.json`, and the
//! [`Curves`] to draw. [`evaluate_segmentation`] does the same for masks, evaluated per image as [`SegmentedImage`]s.

// Printing panics if the output is closed; use `terminal` instead.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod affine;
mod auc;
mod bootstrap;
mod calibration;
mod check;
mod conformal;
mod confusion;
mod curve;
mod decision;
mod delong;
mod error;
mod evaluation;
mod interval;
mod label_errors;
mod label_shift;
mod logits;
mod map_risk;
mod mcnemar;
mod mixture;
mod net_benefit;
mod newton;
mod normal;
mod otsu;
mod outliers;
mod predictive;
mod prior;
mod probability;
mod proportion;
mod ranks;
mod report;
mod risk_bound;
mod scaling;
mod segmentation;
mod selective;
mod shift;
mod spearman;
mod student;
mod subgroups;
mod threshold;

pub use affine::{
    CalibrationFit, DirichletCalibration, Odir, VectorScaling, fit_dirichlet, fit_vector_scaling,
};
pub use auc::{bootstrap_auc, roc_auc};
pub use bootstrap::{Bootstrap, Resampling, median};
pub use calibration::{ReliabilityBin, expected_calibration_error, reliability_bins};
pub use conformal::{ConformalSets, SetEvaluation, conformal_set};
pub use confusion::{ClassScores, ConfusionMatrix};
pub use curve::{CurvePoints, PrCurve, RocCurve, average_precision, pr_curve, roc_curve};
pub use decision::DecisionRule;
pub use delong::{AucDifference, delong_auc, delong_difference};
pub use error::{MetricsError, Result};
pub use evaluation::{
    BinaryEvaluation, ClassCurves, ClassRanking, Comparison, Curves, Evaluation,
    EvaluationSettings, Predictions, ScoreIntervals, compare, evaluate,
};
pub use interval::{Interval, wilson};
pub use label_errors::{
    ConfidentJoint, LabelErrorFilter, LabelQuality, label_errors, label_quality,
};
pub use label_shift::{LabelShiftTest, TargetSample, ValidationSample, label_shift_test};
pub use logits::{Logits, log_odds};
pub use map_risk::{MarkedPixels, PixelHistogram, PixelPrecision, PixelSensitivity};
pub use mcnemar::{McNemar, mcnemar};
pub use net_benefit::{DecisionPoint, decision_curve, net_benefit, net_benefit_of_all};
pub use normal::normal_quantile;
pub use otsu::otsu_threshold;
pub use outliers::{
    Mahalanobis, MahalanobisParts, RelativeMahalanobis, energy, fpr_at, max_logit, max_softmax,
    novelty_auroc, novelty_threshold,
};
pub use predictive::{PredictiveValues, predictive_values};
pub use prior::{ConfusionKind, PriorShift, adapt_prior, bbse, prior_intervals, reweighted};
pub use probability::{Probabilities, brier_score, brier_score_multiclass, log_loss};
pub use proportion::proportion;
pub use report::{ClassReport, ClassificationReport};
pub use scaling::{Scaling, ScalingFit, Unbounded, fit_scaling, softmax};
pub use segmentation::{
    ClassInImage, ClassSegmentation, LabelMaps, MaskScores, SegmentationComparison,
    SegmentationEvaluation, SegmentationSettings, SegmentedImage, Spread, SurfaceDistance,
    compare_segmentations, evaluate_segmentation, hd95, mask_scores,
};
pub use selective::{Abstention, RiskCoverage, risk_coverage};
pub use shift::{ks_distance, mean_and_sd, standardized_mean_difference};
pub use spearman::spearman;
pub use student::mean_interval;
pub use subgroups::{
    DifferenceTest, Grouping, LEAST_SUBGROUP_PATIENTS, NamedFigure, Subgroup, SubgroupFigure,
    SubgroupGrouping, SubgroupMetric, SubgroupTable, SubgroupTest, Untested, subgroups,
};
pub use threshold::{BinaryCounts, OperatingPoint, ThresholdRule};
