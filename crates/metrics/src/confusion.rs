//! The confusion matrix, and metrics that depend on it alone.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{MetricsError, Result};

/// Counts of (true class, predicted class) pairs: row = true class, column = predicted class.
///
/// Serialized as rows. Contains at least one class and at least one example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

/// Precision, recall, F1 and support of a class, or their average over classes.
///
/// A ratio with a zero denominator is 0 (scikit-learn's `zero_division=0`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// TP / (TP + FP).
    pub precision: f64,
    /// TP / (TP + FN): the sensitivity for this class.
    pub recall: f64,
    /// 2·TP / (2·TP + FP + FN).
    pub f1: f64,
    /// Number of examples of this true class; for averages, of all examples.
    pub support: u64,
}

/// The matrix has the square of this number of cells: 128 MiB.
const MAX_CLASSES: usize = 4096;

impl ConfusionMatrix {
    /// Counts `predictions` against `labels`; both are class indices below `classes`.
    ///
    /// # Errors
    /// No classes or more than 4096, no examples, different lengths, or an index out of range.
    pub fn new(classes: usize, labels: &[usize], predictions: &[usize]) -> Result<Self> {
        check::count_in("classes", classes, MAX_CLASSES, "1 to 4096")?;
        check::not_empty("labels", labels.len())?;
        check::same_length("predictions", predictions.len(), "labels", labels.len())?;
        check::labels_in_range("labels", labels, classes)?;
        check::labels_in_range("predictions", predictions, classes)?;
        let pairs = labels.iter().copied().zip(predictions.iter().copied());
        Ok(Self::count(classes, pairs))
    }

    /// Creates a matrix from rows of counts, `rows[true class][predicted class]`.
    ///
    /// # Errors
    /// No rows, a row whose length is not the number of rows, only zeros, or a sum above 2⁵³, beyond which f64 cannot
    /// represent every integer.
    pub fn from_rows(rows: &[Vec<u64>]) -> Result<Self> {
        check::not_empty("rows", rows.len())?;
        for row in rows {
            check::same_length("a row of counts", row.len(), "rows", rows.len())?;
        }
        let counts = rows.concat();
        let total = counts
            .iter()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        if total == 0 {
            return Err(MetricsError::Empty { what: "counts" });
        }
        if total > 1 << 53 {
            return Err(check::setting("counts", total, "at most 2^53 in total"));
        }
        Ok(Self {
            classes: rows.len(),
            counts,
        })
    }

    /// Counts pairs that the caller has checked: at least one pair, all indices below `classes`.
    pub(crate) fn count(classes: usize, pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![0; classes * classes];
        for (label, prediction) in pairs {
            counts[label * classes + prediction] += 1;
        }
        Self { classes, counts }
    }

    /// Adds another matrix's counts, such as those of the next image's pixels.
    ///
    /// # Errors
    /// The numbers of classes differ.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        check::same_length("other", other.classes, "this matrix", self.classes)?;
        let counts = self.counts.iter_mut().zip(&other.counts);
        counts.for_each(|(sum, count)| *sum += count);
        Ok(())
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The counts, one slice per true class.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.classes)
    }

    /// Examples of class `label` predicted as `prediction`; 0 for classes that do not exist.
    pub fn get(&self, label: usize, prediction: usize) -> u64 {
        self.rows()
            .nth(label)
            .and_then(|row| row.get(prediction))
            .copied()
            .unwrap_or(0)
    }

    /// Number of examples.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Number of examples on the diagonal.
    pub fn correct(&self) -> u64 {
        self.counts.iter().step_by(self.classes + 1).sum()
    }

    /// Number of examples of each true class.
    pub fn support(&self) -> Vec<u64> {
        self.rows().map(|row| row.iter().sum()).collect()
    }

    /// Number of examples predicted as each class.
    pub fn predicted(&self) -> Vec<u64> {
        let mut sums = vec![0; self.classes];
        for row in self.rows() {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    /// Share of examples on the diagonal, the correctly classified ones.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.total())
    }

    /// Precision, recall, F1 and support of every class.
    pub fn class_scores(&self) -> Vec<ClassScores> {
        let (support, predicted) = (self.support(), self.predicted());
        let score = |class: usize| {
            let hits = self.get(class, class);
            ClassScores {
                precision: ratio(hits, predicted[class]),
                recall: ratio(hits, support[class]),
                f1: ratio(2 * hits, support[class] + predicted[class]),
                support: support[class],
            }
        };
        (0..self.classes).map(score).collect()
    }

    /// Unweighted mean of the class scores, including classes without examples.
    pub fn macro_average(&self) -> ClassScores {
        self.average(|_| 1.0)
    }

    /// Mean of the class scores weighted by support.
    pub fn weighted_average(&self) -> ClassScores {
        self.average(|scores| scores.support as f64)
    }

    /// Mean recall over the classes that have examples (scikit-learn's `balanced_accuracy_score`).
    pub fn balanced_accuracy(&self) -> f64 {
        let scores = self.class_scores();
        let recalls: Vec<f64> = scores
            .iter()
            .filter(|scores| scores.support > 0)
            .map(|scores| scores.recall)
            .collect();
        recalls.iter().sum::<f64>() / recalls.len() as f64
    }

    /// Matthews correlation coefficient, in −1..=1; for more than two classes Gorodkin's R_K (2004).
    ///
    /// 0 where it is undefined: if there is only one true class, or only one predicted class.
    pub fn mcc(&self) -> f64 {
        let n = self.total() as f64;
        let (support, predicted) = (self.support(), self.predicted());
        let covariance = self.correct() as f64 * n - dot(&support, &predicted);
        let spread = (n * n - dot(&predicted, &predicted)) * (n * n - dot(&support, &support));
        if spread == 0.0 {
            0.0
        } else {
            covariance / spread.sqrt()
        }
    }

    /// Cohen's kappa: agreement beyond that expected by chance from the marginals.
    ///
    /// `None` if all labels and predictions are the same class.
    pub fn cohen_kappa(&self) -> Option<f64> {
        let n = self.total() as f64;
        let chance = dot(&self.support(), &self.predicted()) / n;
        let disagreement = n - self.correct() as f64;
        (n > chance).then(|| 1.0 - disagreement / (n - chance))
    }

    fn average(&self, weight: impl Fn(&ClassScores) -> f64) -> ClassScores {
        let scores = self.class_scores();
        let total: f64 = scores.iter().map(&weight).sum();
        let mean = |value: fn(&ClassScores) -> f64| {
            scores
                .iter()
                .map(|scores| value(scores) * weight(scores))
                .sum::<f64>()
                / total
        };
        ClassScores {
            precision: mean(|scores| scores.precision),
            recall: mean(|scores| scores.recall),
            f1: mean(|scores| scores.f1),
            support: self.total(),
        }
    }
}

impl TryFrom<Vec<Vec<u64>>> for ConfusionMatrix {
    type Error = MetricsError;

    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self> {
        Self::from_rows(&rows)
    }
}

impl From<ConfusionMatrix> for Vec<Vec<u64>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.rows().map(<[u64]>::to_vec).collect()
    }
}

/// a / b, and 0 for 0 / 0.
fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

fn dot(a: &[u64], b: &[u64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum()
}
