//! What a training step does beside the network, as plain data: update rule, clipping, moving average, losses. One recipe
//! holds for a run; what changes from step to step is a [`Step`], and what a step gives are [`Results`].
//!
//! Nothing here knows the crate `train`, which writes its settings as a recipe (`train::resident`).

/// What is done in every step of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// How weights change.
    pub update: Update,
    /// Norm above which all gradients together are scaled down; 0 for never.
    pub clip_norm: f64,
    /// Whether a moving average of weights and running statistics is kept.
    pub averages: bool,
    /// The loss of the class scores; `None` where only masks teach.
    pub class: Option<ClassTerm>,
    /// The loss of the class maps; `None` where only labels teach.
    pub map: Option<MapTerm>,
}

/// An update rule, in dfdx's arithmetic. Weight decay reaches the group `Decayed` alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Kingma and Ba 2015, weight decay as an L2 penalty in the gradient.
    Adam {
        /// Decay of the first and second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
        /// Factor of the penalty.
        weight_decay: f64,
    },
    /// Loshchilov and Hutter 2019: weight decay apart from the gradient.
    AdamW {
        /// As Adam's.
        betas: [f64; 2],
        /// As Adam's.
        eps: f64,
        /// A step shrinks weights by the learning rate times this.
        weight_decay: f64,
    },
    /// Stochastic gradient descent.
    Sgd {
        /// Share of the last velocity that stays; 0 for no velocity.
        momentum: f64,
        /// Nesterov's look-ahead.
        nesterov: bool,
        /// Factor of the L2 penalty.
        weight_decay: f64,
    },
    /// Hinton 2012, epsilon under the root.
    RmsProp {
        /// Decay of the mean square.
        alpha: f64,
        /// Added to the mean square.
        eps: f64,
        /// Share of the last velocity that stays; 0 for no velocity.
        momentum: f64,
        /// Factor of the L2 penalty.
        weight_decay: f64,
    },
}

impl Update {
    /// The moments that the rule reads and writes, first and second: Adam's two; a velocity where there is momentum, and
    /// RMSprop's mean square as the second.
    pub fn moments(&self) -> [bool; 2] {
        match *self {
            Update::Adam { .. } | Update::AdamW { .. } => [true, true],
            Update::Sgd { momentum, .. } => [momentum > 0.0, false],
            Update::RmsProp { momentum, .. } => [momentum > 0.0, true],
        }
    }

    pub(in crate::engine) fn kernel(&self) -> &'static str {
        match self {
            Update::Adam { .. } | Update::AdamW { .. } => "update_adam",
            Update::Sgd { .. } => "update_sgd",
            Update::RmsProp { .. } => "update_rmsprop",
        }
    }
}

/// The loss of class scores `[n, classes]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassTerm {
    /// Which.
    pub kind: ClassKind,
    /// Share of the label that is spread evenly over all classes.
    pub label_smoothing: f32,
}

/// Which loss the class scores get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassKind {
    /// Of the softmax.
    CrossEntropy,
    /// Binary cross-entropy of each class's softmax, mean over classes.
    SoftmaxBce,
}

/// The loss of the class maps `[n, h, w, classes]`: the mean over those that have a known pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapTerm {
    /// Which.
    pub kind: MapKind,
    /// Number of the class that losses on one class look at.
    pub class: usize,
    /// Factor before it is added to the class loss.
    pub weight: f32,
    /// How many maps are taught: more than 1 is deep supervision.
    pub maps: usize,
}

/// Which loss the maps get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MapKind {
    /// One class: binary cross-entropy, mean over known pixels.
    Bce,
    /// One class: soft Dice, smooth 1.
    Dice,
    /// One class: the sum of the two.
    BceDice,
    /// One class: Lin 2017, mean over known pixels.
    Focal {
        /// Weight of marked pixels; the others get `1 − alpha`.
        alpha: f32,
        /// Power of `1 − p`: 0 or at least 1.
        gamma: f32,
    },
    /// One class: Salehi 2017, smooth 1.
    Tversky {
        /// Weight of false positives.
        alpha: f32,
        /// Weight of false negatives.
        beta: f32,
    },
    /// All classes: cross-entropy, mean over known pixels.
    CrossEntropy,
    /// All classes: mean of their soft Dice losses, smooth 1.
    MulticlassDice,
    /// All classes: the sum of the two.
    CrossEntropyDice,
}

/// A loss on maps as the kernels take it: an entropy and an overlap, either of which may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::engine) struct Terms {
    pub(in crate::engine) entropy: f32,
    pub(in crate::engine) overlap: f32,
    pub(in crate::engine) marked: f32,
    pub(in crate::engine) unmarked: f32,
    pub(in crate::engine) gamma: f32,
    pub(in crate::engine) false_positives: f32,
    pub(in crate::engine) false_negatives: f32,
}

impl MapKind {
    /// Whether it looks at all classes.
    pub fn is_multiclass(self) -> bool {
        use MapKind::{CrossEntropy, CrossEntropyDice, MulticlassDice};
        matches!(self, CrossEntropy | MulticlassDice | CrossEntropyDice)
    }

    pub(in crate::engine) fn terms(self) -> Terms {
        let entropy = Terms {
            entropy: 1.0,
            marked: 1.0,
            unmarked: 1.0,
            ..Terms::default()
        };
        let dice = Terms {
            overlap: 1.0,
            false_positives: 0.5,
            false_negatives: 0.5,
            ..Terms::default()
        };
        match self {
            MapKind::Bce | MapKind::CrossEntropy => entropy,
            MapKind::Dice | MapKind::MulticlassDice => dice,
            MapKind::BceDice | MapKind::CrossEntropyDice => Terms {
                entropy: 1.0,
                marked: 1.0,
                unmarked: 1.0,
                ..dice
            },
            MapKind::Focal { alpha, gamma } => Terms {
                marked: alpha,
                unmarked: 1.0 - alpha,
                gamma,
                ..entropy
            },
            MapKind::Tversky { alpha, beta } => Terms {
                false_positives: alpha,
                false_negatives: beta,
                ..dice
            },
        }
    }
}

/// What changes from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// Number of the step, from 1.
    pub number: u64,
    /// Learning rate.
    pub lr: f64,
    /// `average += share · (value − average)`.
    pub ema_share: f32,
    /// For each map, how many of the batch's pixels are known at its size. A map that is not here has none.
    pub known: &'a [usize],
}

/// What a step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Results {
    /// Norm of all gradients together before clipping.
    pub norm: f64,
    /// 0 where the recipe has no class loss.
    pub class_loss: f32,
    /// Mean over the maps with a known pixel, without the recipe's weight; `None` where no map has one.
    pub map_loss: Option<f32>,
    /// The whole: class loss plus the weighted map loss.
    pub loss: f32,
    /// What the gradients were multiplied by in the update; 1 where they were not clipped.
    pub scale: f32,
    /// Rows whose highest score (the first, if several) is the label's.
    pub hits: u32,
    /// Whether weights, moments and averages were changed: not where loss or norm are no finite numbers.
    pub applied: bool,
}
