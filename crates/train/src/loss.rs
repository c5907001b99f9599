//! Losses on class scores, as dfdx tensor operations.
//!
//! All are computed from log-softmax or log odds, never from the logarithm of a probability, so they stay finite for
//! all finite scores.

use dfdx::prelude::{
    Axis, BroadcastTo, Cpu, CpuError, LogSumExpTo, NoneTape, PutTape, Rank0, SplitTape, SumTo,
    Tape, Tensor, TensorFromVec, TryAdd, TryMul, TrySub, ZerosTensor,
};
use dfdx::shapes::HasShape;
use serde::{Deserialize, Serialize};

/// Class scores, `[n, classes]`.
pub type Logits<T> = Tensor<(usize, usize), f32, Cpu, T>;

/// A loss: a scalar, with the tape of the operations that produced it.
pub type Loss<T> = Tensor<Rank0, f32, Cpu, T>;

/// Added to a score to exclude it from a sum of exponentials. Not −∞, because −∞ times 0 is NaN.
const LEFT_OUT: f32 = -1e30;

/// The loss on the class scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassLoss {
    /// Softmax, then the negative log-likelihood of the label.
    #[default]
    CrossEntropy,
    /// Softmax, then the binary cross-entropy of each class against the one-hot label, averaged over classes (Keras'
    /// `binary_crossentropy` after `softmax`). Equal to cross-entropy for two classes.
    SoftmaxBce,
}

/// Weight of each class in the loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawWeights", into = "RawWeights")]
pub enum ClassWeights {
    /// All images have equal weight (`"none"`).
    #[default]
    None,
    /// Inversely proportional to the class's share of the training split, with mean 1 over images (`"balanced"`;
    /// scikit-learn's `n / (classes · count)`).
    Balanced,
    /// One number per class.
    Given(Vec<f32>),
}

/// Why a loss could not be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LossError {
    /// A label that is not a class number.
    #[error("label {label} does not exist: the network has {classes} classes, numbered from 0")]
    Label {
        /// The label.
        label: usize,
        /// Classes of the network.
        classes: usize,
    },
    /// Labels, weights or masks whose number does not match the outputs.
    #[error("{found} {what} given where {expected} are needed")]
    Length {
        /// `labels`, `class weights`, `mask pixels`, `pixel weights`.
        what: &'static str,
        /// Number given.
        found: usize,
        /// Number needed.
        expected: usize,
    },
    /// A mask value that the loss does not accept.
    #[error(
        "a mask contains {value}, but each of its pixels must be {needed}, or NaN or train.map.ignore where unknown"
    )]
    Mask {
        /// The value.
        value: f32,
        /// What it must be.
        needed: &'static str,
    },
    /// An invalid pixel weight.
    #[error("a pixel has the weight {0}, but it must be 0 or a positive number")]
    PixelWeight(f32),
    /// A batch without any known truth to train on.
    #[error("no pixel of this batch has a known truth: task = \"segment\" trains on masks only")]
    NoTruth,
    /// Balanced weights cannot be computed.
    #[error("class_weights = \"balanced\" is not possible: class {0} has no training image")]
    EmptyClass(usize),
    /// dfdx failed.
    #[error("tensor operation failed: {0}")]
    Tensor(String),
}

impl From<CpuError> for LossError {
    fn from(error: CpuError) -> Self {
        LossError::Tensor(error.to_string())
    }
}

impl ClassWeights {
    /// The weights for a training split with these numbers of images per class; `None` if all are equal.
    ///
    /// # Errors
    /// The number of weights is wrong, or a class is empty and the weights are to be balanced.
    pub fn resolve(&self, counts: &[usize]) -> Result<Option<Vec<f32>>, LossError> {
        match self {
            ClassWeights::None => Ok(None),
            ClassWeights::Balanced => balanced(counts).map(Some),
            ClassWeights::Given(weights) => {
                same_length("class weights", weights.len(), counts.len())?;
                Ok(Some(weights.clone()))
            }
        }
    }
}

/// The classes of a batch's images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a> {
    /// One class per image.
    Labels(&'a [usize]),
    /// mixup and cutmix: each image has `share` of its own label, and the rest of its partner's.
    Mixed {
        /// Own labels.
        labels: &'a [usize],
        /// The partners' labels.
        partners: &'a [usize],
        /// The own label's share, from 0 to 1.
        share: f32,
    },
}

impl<'a, T: AsRef<[usize]> + ?Sized> From<&'a T> for Targets<'a> {
    fn from(labels: &'a T) -> Self {
        Targets::Labels(labels.as_ref())
    }
}

impl<'a> Targets<'a> {
    /// For each image two labels, and the first one's share. Without mixing the second is the first.
    fn pairs(self) -> (impl Iterator<Item = (usize, usize)> + Clone + 'a, f32) {
        let (labels, partners, share) = match self {
            Targets::Labels(labels) => (labels, labels, 1.0),
            Targets::Mixed {
                labels,
                partners,
                share,
            } => (labels, partners, share),
        };
        (labels.iter().copied().zip(partners.iter().copied()), share)
    }

    /// The label with the larger share of each image: what counts as a correct prediction. The own one in a tie.
    pub fn dominant(self) -> &'a [usize] {
        match self {
            Targets::Mixed {
                partners, share, ..
            } if share < 0.5 => partners,
            Targets::Labels(labels) | Targets::Mixed { labels, .. } => labels,
        }
    }
}

/// The loss on a run's class scores, with its settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassObjective {
    /// Kind of loss.
    pub loss: ClassLoss,
    /// One weight per class; `None` for equal weights.
    pub weights: Option<Vec<f32>>,
    /// Label smoothing: with cross-entropy this share of the label is spread evenly over all classes (PyTorch); with
    /// binary cross-entropy each class's label moves this share of the way towards ½ (Keras).
    pub label_smoothing: f32,
}

impl ClassObjective {
    /// Mean loss of a batch: the mean weighted by the labels' class weights, or, where targets are mixed, the sum over
    /// images divided by their number. PyTorch's `cross_entropy` makes the same difference between labels and
    /// probabilities.
    ///
    /// # Errors
    /// Labels or weights do not match the scores.
    pub fn loss<'a, T: Tape<f32, Cpu>>(
        &self,
        logits: Logits<T>,
        targets: impl Into<Targets<'a>>,
    ) -> Result<Loss<T>, LossError> {
        let (n, classes) = *logits.shape();
        let targets = targets.into();
        self.check(targets, n, classes)?;
        match self.loss {
            ClassLoss::CrossEntropy => self.cross_entropy(logits, targets),
            ClassLoss::SoftmaxBce => self.softmax_bce(logits, targets),
        }
    }

    /// Checks that labels and weights match the scores of `n` images.
    ///
    /// # Errors
    /// They do not match.
    pub fn check<'a>(
        &self,
        targets: impl Into<Targets<'a>>,
        n: usize,
        classes: usize,
    ) -> Result<(), LossError> {
        match targets.into() {
            Targets::Labels(labels) => check(labels, n, classes, self.weights.as_deref()),
            Targets::Mixed {
                labels, partners, ..
            } => {
                check(labels, n, classes, self.weights.as_deref())?;
                check(partners, n, classes, None)
            }
        }
    }

    /// Each image's share of each class after label smoothing, `[n, classes]`. Smoothing both labels before they are
    /// mixed, as timm does, gives the same.
    ///
    /// # Errors
    /// Labels or weights do not match the number of classes.
    pub fn targets<'a>(
        &self,
        targets: impl Into<Targets<'a>>,
        classes: usize,
    ) -> Result<Vec<f32>, LossError> {
        let targets = targets.into();
        self.check(targets, targets.dominant().len(), classes)?;
        Ok(self.smoothed(targets, classes))
    }

    fn smoothed(&self, targets: Targets<'_>, classes: usize) -> Vec<f32> {
        let even = match self.loss {
            ClassLoss::CrossEntropy => 1.0 / classes as f32,
            ClassLoss::SoftmaxBce => 0.5,
        };
        let (pairs, share) = targets.pairs();
        pairs
            .flat_map(|(own, partner)| {
                (0..classes).map(move |c| {
                    let hit = if c == own { share } else { 0.0 };
                    let rest = if c == partner { 1.0 - share } else { 0.0 };
                    self.target(hit + rest, even)
                })
            })
            .collect()
    }

    /// Each image's class weight (without smoothing), and what their losses are divided by.
    fn image_weights(&self, targets: Targets<'_>) -> (Vec<f32>, f32) {
        let (pairs, share) = targets.pairs();
        let weight =
            |(own, partner)| share * self.weight(own) + (1.0 - share) * self.weight(partner);
        let weights: Vec<f32> = pairs.map(weight).collect();
        let total = match targets {
            Targets::Labels(_) => weights.iter().sum(),
            Targets::Mixed { labels, .. } => labels.len() as f32,
        };
        (weights, total)
    }

    /// PyTorch's `cross_entropy(weight, label_smoothing)`: minus the sum over images and classes of `wc·tc·log pc`,
    /// where for a label `t` is 1 − ε + ε/C for it and ε/C for the other classes.
    fn cross_entropy<T: Tape<f32, Cpu>>(
        &self,
        logits: Logits<T>,
        targets: Targets<'_>,
    ) -> Result<Loss<T>, LossError> {
        let (_, classes) = *logits.shape();
        let (_, total) = self.image_weights(targets);
        let mut targets = self.smoothed(targets, classes);
        for row in targets.chunks_mut(classes) {
            let weighted = |(c, t): (usize, &mut f32)| *t = self.weight(c) * *t / total;
            row.iter_mut().enumerate().for_each(weighted);
        }
        let targets = constant(&logits, targets)?;
        let log_p = logits.try_log_softmax::<Axis<1>>()?;
        Ok(log_p
            .try_mul(targets)?
            .try_sum::<Rank0, _>()?
            .try_negate()?)
    }

    /// `log odds(p) = log p − log(1 − p)`, so binary cross-entropy on log odds needs no logarithm of `1 − p`.
    fn softmax_bce<T: Tape<f32, Cpu>>(
        &self,
        logits: Logits<T>,
        targets: Targets<'_>,
    ) -> Result<Loss<T>, LossError> {
        let (n, classes) = *logits.shape();
        let (weights, total) = self.image_weights(targets);
        let weights: Vec<f32> = weights
            .into_iter()
            .map(|weight| weight / (total * classes as f32))
            .collect();
        let targets = self.smoothed(targets, classes);
        let (logits, mut tape) = logits.split_tape();
        let mut sum: Loss<NoneTape> = logits.device().try_zeros()?;
        for class in 0..classes {
            let targets = targets.chunks(classes).map(|row| row[class]).collect();
            let targets = logits.device().try_tensor_from_vec(targets, (n,))?;
            let weights = logits.device().try_tensor_from_vec(weights.clone(), (n,))?;
            let nll =
                log_odds(logits.clone().put_tape(tape), class)?.try_bce_with_logits(targets)?;
            let total = nll
                .try_mul(weights)?
                .try_sum::<Rank0, _>()?
                .try_add(sum.retaped::<T>())?;
            (sum, tape) = total.split_tape();
        }
        Ok(sum.put_tape(tape))
    }

    fn weight(&self, class: usize) -> f32 {
        self.weights.as_ref().map_or(1.0, |w| w[class])
    }

    /// A class's target, `share` without smoothing, moved towards `even`.
    fn target(&self, share: f32, even: f32) -> f32 {
        (1.0 - self.label_smoothing) * share + self.label_smoothing * even
    }
}

/// `x_k − log Σ_{j≠k} exp x_j`: the logit whose sigmoid is `softmax(x)_k`. A single column already holds log odds.
pub(super) fn log_odds<T: Tape<f32, Cpu>>(
    x: Logits<T>,
    class: usize,
) -> Result<Tensor<(usize,), f32, Cpu, T>, CpuError> {
    let (n, classes) = *x.shape();
    let column = |hit: f32, miss: f32| -> Result<Logits<NoneTape>, CpuError> {
        let row = (0..classes)
            .map(|c| if c == class { hit } else { miss })
            .collect();
        let row: Tensor<(usize,), f32, Cpu> = x.device().try_tensor_from_vec(row, (classes,))?;
        row.try_broadcast_like::<_, Axis<0>>(&(n, classes))
    };
    let own = column(1.0, 0.0)?;
    let others = column(LEFT_OUT, 0.0)?;
    let rest = x.retaped::<T>();
    let own = x.try_mul(own)?.try_sum::<(usize,), Axis<1>>()?;
    if classes == 1 {
        return Ok(own);
    }
    own.try_sub(rest.try_add(others)?.try_logsumexp::<(usize,), Axis<1>>()?)
}

pub(super) fn same_length(
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), LossError> {
    if found == expected {
        Ok(())
    } else {
        Err(LossError::Length {
            what,
            found,
            expected,
        })
    }
}

fn check(
    labels: &[usize],
    n: usize,
    classes: usize,
    weights: Option<&[f32]>,
) -> Result<(), LossError> {
    same_length("labels", labels.len(), n)?;
    if let Some(weights) = weights {
        same_length("class weights", weights.len(), classes)?;
    }
    match labels.iter().find(|y| **y >= classes) {
        Some(&label) => Err(LossError::Label { label, classes }),
        None => Ok(()),
    }
}

fn constant<T>(like: &Logits<T>, values: Vec<f32>) -> Result<Logits<NoneTape>, CpuError> {
    like.device().try_tensor_from_vec(values, *like.shape())
}

fn balanced(counts: &[usize]) -> Result<Vec<f32>, LossError> {
    if let Some(empty) = counts.iter().position(|n| *n == 0) {
        return Err(LossError::EmptyClass(empty));
    }
    let total: usize = counts.iter().sum();
    let share = |n: &usize| total as f64 / (counts.len() * n) as f64;
    Ok(counts.iter().map(|n| share(n) as f32).collect())
}

/// Class weights as written in the settings: a word or a list.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"none\", \"balanced\" or a list of one number per class"
)]
enum RawWeights {
    Word(String),
    List(Vec<f32>),
}

impl TryFrom<RawWeights> for ClassWeights {
    type Error = String;

    fn try_from(raw: RawWeights) -> Result<Self, String> {
        match raw {
            RawWeights::Word(word) if word == "none" => Ok(ClassWeights::None),
            RawWeights::Word(word) if word == "balanced" => Ok(ClassWeights::Balanced),
            RawWeights::Word(word) => Err(format!(
                "class_weights = \"{word}\" is unknown: write \"none\", \"balanced\" or a list of one number per class"
            )),
            RawWeights::List(list) if list.iter().all(|w| w.is_finite() && *w > 0.0) => {
                Ok(ClassWeights::Given(list))
            }
            RawWeights::List(list) => Err(format!(
                "class_weights = {list:?}: each must be a positive number"
            )),
        }
    }
}

impl From<ClassWeights> for RawWeights {
    fn from(weights: ClassWeights) -> Self {
        match weights {
            ClassWeights::None => RawWeights::Word("none".into()),
            ClassWeights::Balanced => RawWeights::Word("balanced".into()),
            ClassWeights::Given(list) => RawWeights::List(list),
        }
    }
}
