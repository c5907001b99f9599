//! The classification report: a table of scores per class and their averages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::confusion::{ClassScores, ConfusionMatrix};
use crate::error::Result;

/// The values of scikit-learn's `classification_report(zero_division=0)`; `Display` prints its text.
///
/// Supports are always integers (scikit-learn prints `16.0` if no prediction is correct). The text has two digits;
/// `format!("{report:.4}")` gives four.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassificationReport {
    /// Scores per class, in class order.
    pub classes: Vec<ClassReport>,
    /// Share of correct predictions.
    pub accuracy: f64,
    /// Unweighted mean over classes.
    pub macro_average: ClassScores,
    /// Mean over classes, weighted by support.
    pub weighted_average: ClassScores,
}

/// One row of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// The class.
    pub name: String,
    /// Its scores.
    #[serde(flatten)]
    pub scores: ClassScores,
}

impl ClassificationReport {
    /// The report of `confusion`, with the names of its classes.
    ///
    /// # Errors
    /// The number of names is not the number of classes.
    pub fn new<S: AsRef<str>>(confusion: &ConfusionMatrix, class_names: &[S]) -> Result<Self> {
        check::same_length(
            "class_names",
            class_names.len(),
            "confusion matrix",
            confusion.classes(),
        )?;
        let row = |(name, scores): (&S, ClassScores)| ClassReport {
            name: name.as_ref().to_owned(),
            scores,
        };
        Ok(Self {
            classes: class_names
                .iter()
                .zip(confusion.class_scores())
                .map(row)
                .collect(),
            accuracy: confusion.accuracy(),
            macro_average: confusion.macro_average(),
            weighted_average: confusion.weighted_average(),
        })
    }
}

impl fmt::Display for ClassificationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let names = self.classes.iter().map(|class| class.name.chars().count());
        let width = names
            .chain(["weighted avg".len(), digits])
            .max()
            .unwrap_or_default();
        let row = |f: &mut fmt::Formatter<'_>, name: &str, scores: &ClassScores| {
            let ClassScores {
                precision,
                recall,
                f1,
                support,
            } = scores;
            write!(
                f,
                "{name:>width$}  {precision:>9.digits$} {recall:>9.digits$}"
            )?;
            writeln!(f, " {f1:>9.digits$} {support:>9}")
        };
        writeln!(
            f,
            "{:width$}  precision    recall  f1-score   support\n",
            ""
        )?;
        for class in &self.classes {
            row(f, &class.name, &class.scores)?;
        }
        let (accuracy, support) = (self.accuracy, self.macro_average.support);
        writeln!(
            f,
            "\n{:>width$} {:20} {accuracy:>9.digits$} {support:>9}",
            "accuracy", ""
        )?;
        row(f, "macro avg", &self.macro_average)?;
        row(f, "weighted avg", &self.weighted_average)
    }
}
