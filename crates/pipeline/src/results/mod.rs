//! A classifier's results as tables and figures, wherever its images come from: the parts that the report of a run and
//! that of an evaluation on other data have in common.

mod figures;
mod tables;
mod thresholds;

use metrics::{Curves, Evaluation, Interval};

pub use figures::{confusion, precision_recall, probabilities, reliability, roc};
pub use tables::{
    add_calibration, brackets, calibration_table, classification_report, evaluations, fitted,
    headline, of_patients, questions, summary, without_width,
};
pub use thresholds::operating_points;

/// A classifier's results on a set of images.
pub struct Results<'a> {
    /// The images in titles: "Test".
    pub title: &'a str,
    /// The images in sentences: "the test split".
    pub images: &'a str,
    /// The classifier in legends: "network".
    pub classifier: &'a str,
    /// Its results with calibrated probabilities.
    pub evaluation: &'a Evaluation,
    /// Its curves with probabilities as trained, and with calibrated ones.
    pub curves: [&'a Curves; 2],
    /// Its calibration error as trained, and calibrated.
    pub calibration_error: [Interval; 2],
    /// The true class of each image.
    pub labels: &'a [usize],
    /// Calibrated, `[n, classes]`.
    pub probabilities: &'a [f64],
    /// With two classes: the calibrated probability of the positive class from which it is predicted.
    pub threshold: Option<f64>,
    /// With two classes: the name, results and curves of another classifier, to be drawn in the same figures.
    pub other: Option<(&'a str, &'a Evaluation, &'a Curves)>,
}

impl Results<'_> {
    /// Index of the positive class.
    fn positive(&self) -> usize {
        self.evaluation.settings.positive
    }

    fn classes(&self) -> &[String] {
        &self.evaluation.classes
    }
}
