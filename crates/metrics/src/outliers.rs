//! Out-of-distribution scores: how unlike the training data an image is, from its features or its logits.
//!
//! A classifier is also sure of images of a kind it was never trained on. Two families of scores find them: distances
//! of the features to those of the training data ([`Mahalanobis`]: Lee et al. 2018, "A simple unified framework for
//! detecting out-of-distribution samples and adversarial attacks"; relative: Ren et al. 2021, "A simple fix to
//! Mahalanobis distance for improving near-OOD detection"), and confidences from the logits ([`max_softmax`]:
//! Hendrycks & Gimpel 2017; [`energy`]: Liu et al. 2020; [`max_logit`]: Hendrycks et al. 2022).
//!
//! **Direction.** [`novelty_auroc`], [`fpr_at`] and [`novelty_threshold`] take outlier scores, which are high for
//! images unlike the training data, as distances are. Negate a confidence before passing it to them.
//!
//! **Shrinkage.** With more features than examples the sample covariance has no inverse, and with few more its inverse
//! is dominated by noise. Both covariances are therefore shrunk towards a multiple of the identity by the amount of
//! Ledoit & Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices", as in
//! scikit-learn's `LedoitWolf`. It needs no setting, and is invariant to rotations of the features and to scaling all
//! of them by one constant, so the distances are too. They do change if single features are scaled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::auc::roc_auc;
use crate::check;
use crate::error::{MetricsError, Result};
use crate::logits::largest;
use crate::scaling::softmax;

/// How many examples are added to a covariance at a time: its rows are then read and written once per this many.
const BLOCK: usize = 8;

/// Gaussians of the training features, one per class, with a shared covariance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MahalanobisParts", into = "MahalanobisParts")]
pub struct Mahalanobis {
    /// Mean of all examples.
    mean: Vec<f64>,
    within: Whitening,
    /// Per class that has examples, its mean minus the overall mean, whitened by `within`. Distances to all classes
    /// then need only one whitening of the feature.
    class_means: Vec<Vec<f64>>,
}

/// What a [`Mahalanobis`] consists of, for files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MahalanobisParts {
    /// Mean of all examples, `[d]`.
    pub mean: Vec<f64>,
    /// The shrinkage of the covariance, 0 to 1.
    pub shrinkage: f64,
    /// The lower triangle of the covariance's Cholesky factor, row by row, `[d·(d + 1)/2]`.
    pub factor: Vec<f64>,
    /// Per class, its mean minus `mean`, multiplied by the inverse of the factor, `[classes][d]`.
    pub class_means: Vec<Vec<f64>>,
}

/// The distances of a [`Mahalanobis`] beside those to a single Gaussian of all examples, the background.
#[derive(Debug, Clone, PartialEq)]
pub struct RelativeMahalanobis {
    to_classes: Mahalanobis,
    background: Whitening,
}

/// A shrunk covariance L·Lᵀ. Whitening by L⁻¹ turns Mahalanobis distances into Euclidean ones.
#[derive(Debug, Clone, PartialEq)]
struct Whitening {
    shrinkage: f64,
    /// The lower triangle of L, row by row.
    factor: Vec<f64>,
}

/// Features that have been checked: one row per example.
struct Examples<'a> {
    values: Vec<f64>,
    labels: &'a [usize],
}

impl<'a> Examples<'a> {
    fn new<P: Copy + Into<f64>>(
        features: &[P],
        labels: &'a [usize],
        classes: usize,
    ) -> Result<Self> {
        check::not_empty("labels", labels.len())?;
        check::not_empty("features", features.len())?;
        let whole_columns = features.len().div_ceil(labels.len()) * labels.len();
        check::same_length("features", features.len(), "labels", whole_columns)?;
        check::labels_in_range("labels", labels, classes)?;
        let values: Vec<f64> = features.iter().map(|value| (*value).into()).collect();
        check::finite("features", &values)?;
        Ok(Self { values, labels })
    }

    fn width(&self) -> usize {
        self.values.len() / self.labels.len()
    }

    fn rows(&self) -> Vec<&[f64]> {
        self.values.chunks_exact(self.width()).collect()
    }
}

impl Mahalanobis {
    /// Fits the Gaussians to features, n × d row-major, f32 or f64, with a label per example. Classes without examples
    /// are left out.
    ///
    /// Takes O(n·d²) for the covariance and O(d³) for its factor.
    ///
    /// # Errors
    /// No examples or features, a length that is not a multiple of the number of labels, a label out of range, a
    /// feature that is not finite, or a covariance without an inverse: the features do not vary within the classes, or
    /// there are only two examples of several features, for which Ledoit and Wolf's formula gives no shrinkage.
    pub fn fit<P: Copy + Into<f64>>(
        features: &[P],
        labels: &[usize],
        classes: usize,
    ) -> Result<Self> {
        Self::of(&Examples::new(features, labels, classes)?)
    }

    fn of(examples: &Examples<'_>) -> Result<Self> {
        let rows = examples.rows();
        let means = class_means(&rows, examples.labels);
        let mean = mean_row(&rows);
        let centred = |(row, label): (&&[f64], &usize)| match means.get(label) {
            Some(mean) => difference(row, mean),
            None => row.to_vec(),
        };
        let within = rows.iter().zip(examples.labels).map(centred);
        let within = Whitening::fit(within, examples.width(), "within the classes")?;
        let whitened = |class: &Vec<f64>| within.whiten(difference(class, &mean));
        Ok(Self {
            class_means: means.values().map(whitened).collect(),
            mean,
            within,
        })
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.mean.len()
    }

    /// The shrinkage of the covariance within the classes, 0 to 1.
    pub fn shrinkage(&self) -> f64 {
        self.within.shrinkage
    }

    /// The smallest squared Mahalanobis distance of a feature vector to the mean of a class. O(d²).
    ///
    /// # Errors
    /// A different number of features than fitted, one that is not finite, or a distance that overflows.
    pub fn distance<P: Copy + Into<f64>>(&self, feature: &[P]) -> Result<f64> {
        checked(self.to_nearest_class(self.centred(feature)?))
    }

    fn centred<P: Copy + Into<f64>>(&self, feature: &[P]) -> Result<Vec<f64>> {
        check::same_length("feature", feature.len(), "mean", self.mean.len())?;
        let feature: Vec<f64> = feature.iter().map(|value| (*value).into()).collect();
        check::finite("feature", &feature)?;
        Ok(difference(&feature, &self.mean))
    }

    fn to_nearest_class(&self, centred: Vec<f64>) -> f64 {
        let whitened = self.within.whiten(centred);
        let distances = self
            .class_means
            .iter()
            .map(|mean| squared_norm(&difference(&whitened, mean)));
        distances.fold(f64::INFINITY, f64::min)
    }
}

impl RelativeMahalanobis {
    /// Fits as [`Mahalanobis::fit`], and the background.
    ///
    /// # Errors
    /// As [`Mahalanobis::fit`].
    pub fn fit<P: Copy + Into<f64>>(
        features: &[P],
        labels: &[usize],
        classes: usize,
    ) -> Result<Self> {
        let examples = Examples::new(features, labels, classes)?;
        let to_classes = Mahalanobis::of(&examples)?;
        let rows = examples.rows();
        let background = rows.iter().map(|row| difference(row, &to_classes.mean));
        let background = Whitening::fit(background, examples.width(), "of all examples")?;
        Ok(Self {
            to_classes,
            background,
        })
    }

    /// The distances to the classes alone.
    pub fn to_classes(&self) -> &Mahalanobis {
        &self.to_classes
    }

    /// The relative Mahalanobis distance: [`Mahalanobis::distance`] minus the squared distance to the background.
    /// Directions in which all examples vary count less, which helps with outliers that are close to the data. It can
    /// be negative.
    ///
    /// # Errors
    /// As [`Mahalanobis::distance`].
    pub fn distance<P: Copy + Into<f64>>(&self, feature: &[P]) -> Result<f64> {
        let centred = self.to_classes.centred(feature)?;
        let to_background = squared_norm(&self.background.whiten(centred.clone()));
        checked(self.to_classes.to_nearest_class(centred) - to_background)
    }
}

impl From<Mahalanobis> for MahalanobisParts {
    fn from(fitted: Mahalanobis) -> Self {
        MahalanobisParts {
            mean: fitted.mean,
            shrinkage: fitted.within.shrinkage,
            factor: fitted.within.factor,
            class_means: fitted.class_means,
        }
    }
}

impl TryFrom<MahalanobisParts> for Mahalanobis {
    type Error = MetricsError;

    fn try_from(read: MahalanobisParts) -> Result<Self> {
        let width = read.mean.len();
        check::not_empty("mean", width)?;
        check::finite("mean", &read.mean)?;
        check::not_empty("class_means", read.class_means.len())?;
        for mean in &read.class_means {
            check::same_length("class_means", mean.len(), "mean", width)?;
            check::finite("class_means", mean)?;
        }
        let within = Whitening {
            shrinkage: read.shrinkage,
            factor: read.factor,
        };
        within.check(width)?;
        Ok(Self {
            mean: read.mean,
            within,
            class_means: read.class_means,
        })
    }
}

impl Whitening {
    /// The shrunk covariance of centred rows.
    fn fit(rows: impl Iterator<Item = Vec<f64>>, width: usize, of: &'static str) -> Result<Self> {
        let mut moments = Moments::new(width);
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            moments.add(&rows.by_ref().take(BLOCK).collect::<Vec<_>>());
        }
        let (covariance, shrinkage) = moments.ledoit_wolf();
        let factor = cholesky(covariance, width);
        factor
            .map(|factor| Self { shrinkage, factor })
            .ok_or(MetricsError::SingularCovariance { of })
    }

    /// L⁻¹ · x by forward substitution.
    fn whiten(&self, mut x: Vec<f64>) -> Vec<f64> {
        let mut rest = self.factor.as_slice();
        for i in 0..x.len() {
            let (row, next) = rest.split_at(i + 1);
            x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
            rest = next;
        }
        x
    }

    /// Errors unless the factor is the triangle of a matrix of this width, with an inverse.
    fn check(&self, width: usize) -> Result<()> {
        check::same_length("factor", self.factor.len(), "mean", row_start(width))?;
        check::finite("factor", &self.factor)?;
        let diagonal = (0..width).map(|i| self.factor[row_start(i) + i]);
        match diagonal.into_iter().find(|entry| *entry <= 0.0) {
            Some(entry) => Err(check::setting(
                "factor",
                entry,
                "positive on the diagonal of a Cholesky factor",
            )),
            None => Ok(()),
        }
    }
}

/// Sums over centred rows, from which the covariance and its shrinkage are computed.
struct Moments {
    n: f64,
    width: usize,
    /// The lower triangle of the sum of x·xᵀ, row by row.
    scatter: Vec<f64>,
    /// Sum of |x|⁴.
    fourth: f64,
}

impl Moments {
    fn new(width: usize) -> Self {
        Self {
            n: 0.0,
            width,
            scatter: vec![0.0; row_start(width)],
            fourth: 0.0,
        }
    }

    /// Adds up to [`BLOCK`] rows.
    fn add(&mut self, rows: &[Vec<f64>]) {
        self.n += rows.len() as f64;
        self.fourth += rows.iter().map(|x| squared_norm(x).powi(2)).sum::<f64>();
        // Feature by feature, with zeros for missing rows, so that the innermost loop has a fixed length.
        let mut columns = vec![[0.0; BLOCK]; self.width];
        for (k, row) in rows.iter().enumerate().take(BLOCK) {
            columns.iter_mut().zip(row).for_each(|(c, x)| c[k] = *x);
        }
        let mut rest = self.scatter.as_mut_slice();
        for (i, a) in columns.iter().enumerate() {
            let (sums, next) = rest.split_at_mut(i + 1);
            for (sum, b) in sums.iter_mut().zip(&columns) {
                *sum += a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            }
            rest = next;
        }
    }

    /// The covariance shrunk to `(1 − s)·S + s·μ·I`, lower triangle, with μ the mean variance, and the shrinkage s.
    ///
    /// s is an estimate of E|S − Σ|² / E|S − μ·I|²: how much of the difference of the sample covariance S from μ·I is
    /// due to chance. Norms are Frobenius norms divided by the number of features.
    fn ledoit_wolf(self) -> (Vec<f64>, f64) {
        let (n, width) = (self.n, self.width as f64);
        let mut covariance = self.scatter;
        covariance.iter_mut().for_each(|sum| *sum /= n);
        let diagonal = |covariance: &[f64]| -> Vec<f64> {
            let entries = (0..self.width).map(|i| covariance[row_start(i) + i]);
            entries.collect()
        };
        let variances = diagonal(&covariance);
        let mean = variances.iter().sum::<f64>() / width;
        // Entries outside the diagonal occur twice in the matrix.
        let outside = 2.0 * (squared_norm(&covariance) - squared_norm(&variances));
        let from_mean: f64 = variances.iter().map(|v| (v - mean).powi(2)).sum();
        let delta = (outside + from_mean) / width;
        let beta = (self.fourth / n - outside - squared_norm(&variances)) / (n * width);
        let shrinkage = shrinkage(beta, delta, self.width);
        covariance.iter_mut().for_each(|c| *c *= 1.0 - shrinkage);
        for i in 0..self.width {
            covariance[row_start(i) + i] += shrinkage * mean;
        }
        (covariance, shrinkage)
    }
}

/// β/δ, at most 1. A single feature is not shrunk: it is its own mean.
fn shrinkage(beta: f64, delta: f64, width: usize) -> f64 {
    if width == 1 || beta <= 0.0 {
        return 0.0;
    }
    // Also where δ is 0: the covariance is then μ·I, whatever the shrinkage.
    if delta <= beta { 1.0 } else { beta / delta }
}

/// The Cholesky factor of a symmetric matrix, both as lower triangles row by row, so that all inner products are of
/// adjacent entries. `None` if the matrix is singular to working precision.
fn cholesky(mut matrix: Vec<f64>, width: usize) -> Option<Vec<f64>> {
    let diagonal = (0..width).map(|i| matrix[row_start(i) + i]);
    // Pivots below this are rounding errors.
    let smallest = diagonal.fold(0.0, f64::max) * width as f64 * f64::EPSILON;
    for i in 0..width {
        let (done, rest) = matrix.split_at_mut(row_start(i));
        let row = &mut rest[..=i];
        for j in 0..i {
            let above = &done[row_start(j)..row_start(j + 1)];
            row[j] = (row[j] - dot(&row[..j], &above[..j])) / above[j];
        }
        let pivot = row[i] - squared_norm(&row[..i]);
        // False for NaN.
        let regular = pivot > smallest && pivot.is_finite();
        if !regular {
            return None;
        }
        row[i] = pivot.sqrt();
    }
    Some(matrix)
}

/// Where row `i` of a lower triangle stored row by row starts; for `i` = number of rows, the number of its entries.
fn row_start(i: usize) -> usize {
    i * (i + 1) / 2
}

/// The distance, unless features are so large that it is not finite.
fn checked(distance: f64) -> Result<f64> {
    check::finite("distance", &[distance])?;
    Ok(distance)
}

/// The mean of each class that has examples.
fn class_means(rows: &[&[f64]], labels: &[usize]) -> BTreeMap<usize, Vec<f64>> {
    let mut members: BTreeMap<usize, Vec<&[f64]>> = BTreeMap::new();
    for (row, label) in rows.iter().zip(labels) {
        members.entry(*label).or_default().push(row);
    }
    let means = members.into_iter();
    means
        .map(|(class, rows)| (class, mean_row(&rows)))
        .collect()
}

/// Mean of at least one row. Sums differences from the first row, so that features that do not vary are exactly their
/// mean, and their variance is 0 instead of a rounding error.
fn mean_row(rows: &[&[f64]]) -> Vec<f64> {
    let Some((first, others)) = rows.split_first() else {
        return vec![];
    };
    let mut sums = vec![0.0; first.len()];
    for row in others {
        for ((sum, x), origin) in sums.iter_mut().zip(*row).zip(*first) {
            *sum += x - origin;
        }
    }
    let means = sums.iter().zip(*first);
    means
        .map(|(sum, origin)| origin + sum / rows.len() as f64)
        .collect()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn squared_norm(x: &[f64]) -> f64 {
    dot(x, x)
}

/// Inner product with eight partial sums, which the compiler turns into vector instructions; one sum it may not
/// reorder.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_blocks.remainder().iter().zip(b_blocks.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 8];
    for (a, b) in a_blocks.zip(b_blocks) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The largest logit of an example, a confidence (Hendrycks et al. 2022); −∞ without logits.
pub fn max_logit<P: Copy + Into<f64>>(logits: &[P]) -> f64 {
    let logits = logits.iter().map(|z| (*z).into());
    logits.fold(f64::NEG_INFINITY, f64::max)
}

/// The log-sum-exp of an example's logits, a confidence: the negative of the free energy of Liu et al. 2020 at
/// temperature 1; −∞ without logits.
pub fn energy<P: Copy + Into<f64>>(logits: &[P]) -> f64 {
    let top = max_logit(logits);
    if !top.is_finite() {
        return top;
    }
    let sum: f64 = logits.iter().map(|z| ((*z).into() - top).exp()).sum();
    top + sum.ln()
}

/// The largest probability of an example under plain softmax, a confidence (Hendrycks & Gimpel 2017); 0 without logits.
pub fn max_softmax<P: Copy + Into<f64>>(logits: &[P]) -> f64 {
    let logits: Vec<f64> = logits.iter().map(|z| (*z).into()).collect();
    let probabilities = softmax(&logits);
    let top = probabilities.get(largest(&logits));
    top.copied().unwrap_or(0.0)
}

/// The probability that an image from outside has a higher outlier score than one from inside the distribution, with
/// ties counted as half: 1 if the score separates them, 0.5 if it is uninformative.
///
/// # Errors
/// An empty sample, or a score that is not finite.
pub fn novelty_auroc(inside: &[f64], outside: &[f64]) -> Result<f64> {
    check_samples(inside, outside)?;
    let scores = [inside, outside].concat();
    let novel: Vec<bool> = (0..scores.len()).map(|i| i >= inside.len()).collect();
    roc_auc(&novel, &scores)
}

/// The share of images from outside that are accepted if the share `tpr` of those inside is, such as 0.95 for the FPR95
/// of the literature, whose positives are the images inside.
///
/// Accepted means an outlier score of at most the threshold, which is the smallest that accepts at least this share
/// ([`novelty_threshold`]). Images tied with it are accepted on both sides, and nothing is interpolated.
///
/// # Errors
/// An empty sample, a score that is not finite, or a `tpr` outside 0 < t ≤ 1.
pub fn fpr_at(inside: &[f64], outside: &[f64], tpr: f64) -> Result<f64> {
    check_samples(inside, outside)?;
    let threshold = novelty_threshold(inside, None, tpr)?;
    let accepted = outside.iter().filter(|score| **score <= threshold).count();
    Ok(accepted as f64 / outside.len() as f64)
}

/// The smallest outlier score up to which at least the share `accepted` of validation images lies, such as 0.95 or
/// 0.99: the empirical quantile, NumPy's `inverted_cdf`. Images with a higher score are to be reported as outliers.
///
/// With `patients`, the patient of each image, every patient counts the same: images are weighted by 1 / the number of
/// images of their patient, so that a patient with many images does not determine the threshold. The comparison has a
/// tolerance of 1e-12, so that 19 of 20 patients reach 0.95.
///
/// # Errors
/// Empty input, different lengths, a score that is not finite, or a share outside 0 < s ≤ 1.
pub fn novelty_threshold(scores: &[f64], patients: Option<&[usize]>, accepted: f64) -> Result<f64> {
    check::not_empty("scores", scores.len())?;
    check::finite("scores", scores)?;
    if !(accepted > 0.0 && accepted <= 1.0) {
        return Err(check::setting(
            "accepted share",
            accepted,
            "above 0 and at most 1",
        ));
    }
    let weights = match patients {
        Some(patients) => {
            check::same_length("patients", patients.len(), "scores", scores.len())?;
            patient_weights(patients)
        }
        None => vec![1.0; scores.len()],
    };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let wanted = (accepted - 1e-12) * weights.iter().sum::<f64>();
    let mut reached = 0.0;
    let found = order.iter().find(|i| {
        reached += weights[**i];
        reached >= wanted
    });
    let found = found.or(order.last()).map(|i| scores[*i]);
    found.ok_or(MetricsError::Empty { what: "scores" })
}

/// Per image, 1 / the number of images of its patient.
fn patient_weights(patients: &[usize]) -> Vec<f64> {
    let mut images: BTreeMap<usize, usize> = BTreeMap::new();
    for patient in patients {
        *images.entry(*patient).or_default() += 1;
    }
    let weight = |patient| images.get(patient).map_or(0.0, |n| 1.0 / *n as f64);
    patients.iter().map(weight).collect()
}

fn check_samples(inside: &[f64], outside: &[f64]) -> Result<()> {
    for (what, scores) in [("inside", inside), ("outside", outside)] {
        check::not_empty(what, scores.len())?;
        check::finite(what, scores)?;
    }
    Ok(())
}
