//! Everything in a training step except the network, as plain data: update rule, clipping, moving average, losses. A
//! recipe is fixed for a run; the values that change between steps are in a [`Step`], and the outputs of a step in
//! [`Results`].
//!
//! This module does not depend on the crate `train`, which converts its settings to a recipe (`train::resident`).

use kernels::update::{self, Kind, Rates, Rule, Weights};

use crate::store::Group;

/// The operations of every step of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The update rule of the weights.
    pub update: Update,
    /// Number of values in each trainable group, from its first on, that are the encoder's and updated as
    /// [`Step::encoder`] says; 0 if all values are updated in the same way.
    pub encoder: [usize; 2],
    /// Norm above which all gradients together are scaled down; 0 for never.
    pub clip_norm: f64,
    /// Whether a moving average of weights and running statistics is kept.
    pub averages: bool,
    /// The loss on the class scores; `None` if the network is trained on masks only.
    pub class: Option<ClassTerm>,
    /// The loss on the class maps; `None` if the network is trained on labels only.
    pub map: Option<MapTerm>,
}

/// An update rule. Weight decay applies to the group `Decayed` only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Kingma and Ba 2015, with weight decay as an L2 penalty in the gradient.
    Adam {
        /// Decay of the first and second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
        /// Factor of the penalty.
        weight_decay: f64,
    },
    /// Loshchilov and Hutter 2019: weight decay decoupled from the gradient.
    AdamW {
        /// As for Adam.
        betas: [f64; 2],
        /// As for Adam.
        eps: f64,
        /// Each step shrinks the weights by the learning rate times this factor.
        weight_decay: f64,
    },
    /// Stochastic gradient descent.
    Sgd {
        /// Factor on the previous velocity; 0 for no velocity.
        momentum: f64,
        /// Whether to use Nesterov's look-ahead.
        nesterov: bool,
        /// Factor of the L2 penalty.
        weight_decay: f64,
    },
    /// Hinton 2012, with epsilon under the root.
    RmsProp {
        /// Decay of the mean square.
        alpha: f64,
        /// Added to the mean square.
        eps: f64,
        /// Factor on the previous velocity; 0 for no velocity.
        momentum: f64,
        /// Factor of the L2 penalty.
        weight_decay: f64,
    },
}

impl Update {
    /// Makes a step of values of a group, and of their moments (empty if the rule does not have them), with gradients
    /// times a scale.
    ///
    /// # Panics
    /// If lengths differ.
    pub fn apply(
        &self,
        group: Group,
        step: UpdateStep,
        (values, moments): (&mut [f32], [&mut [f32]; 2]),
        (gradients, scale): (&[f32], f32),
    ) {
        let (mut rule, mut rates) = (self.rule(), self.rates(step));
        if group != Group::Decayed {
            rule.penalty = 0.0;
            rates.shrinkage = 0.0;
        }
        update::update(&rule, &rates, Weights { values, moments }, gradients, scale);
    }

    /// Whether the rule has a first and a second moment: Adam has both; for the others the first is the velocity, if
    /// there is momentum, and the second RMSprop's mean square.
    pub fn moments(&self) -> [bool; 2] {
        self.rule().moments()
    }

    /// The rule, its settings rounded to f32.
    pub(in crate::engine) fn rule(&self) -> Rule {
        let rule = |kind, weight_decay: f64| Rule {
            kind,
            penalty: weight_decay as f32,
            epsilon: 0.0,
            keep: [0.0; 2],
            take: [0.0; 2],
            nesterov: false,
        };
        let adam = |betas: [f64; 2], eps: f64, penalty| {
            let keep = betas.map(|beta| beta as f32);
            Rule {
                epsilon: eps as f32,
                keep,
                take: keep.map(|beta| 1.0 - beta),
                ..rule(Kind::Adam, penalty)
            }
        };
        match *self {
            Update::Adam {
                betas,
                eps,
                weight_decay,
            } => adam(betas, eps, weight_decay),
            Update::AdamW { betas, eps, .. } => adam(betas, eps, 0.0),
            Update::Sgd {
                momentum,
                nesterov,
                weight_decay,
            } => Rule {
                keep: [momentum as f32, 0.0],
                nesterov,
                ..rule(Kind::Sgd, weight_decay)
            },
            Update::RmsProp {
                alpha,
                eps,
                momentum,
                weight_decay,
            } => Rule {
                epsilon: eps as f32,
                keep: [momentum as f32, alpha as f32],
                take: [0.0, 1.0 - alpha as f32],
                ..rule(Kind::RmsProp, weight_decay)
            },
        }
    }

    /// What of a step depends on its number and learning rate.
    pub(in crate::engine) fn rates(&self, UpdateStep { number, lr }: UpdateStep) -> Rates {
        let t = i32::try_from(number).unwrap_or(i32::MAX);
        let rates = Rates {
            rate: lr as f32,
            ..Rates::default()
        };
        let correction = |betas: [f64; 2]| betas.map(|beta| (1.0 - (beta as f32).powi(t)).recip());
        match *self {
            Update::Adam { betas, .. } => Rates {
                correction: correction(betas),
                ..rates
            },
            Update::AdamW {
                betas,
                weight_decay,
                ..
            } => Rates {
                correction: correction(betas),
                shrinkage: (weight_decay * lr) as f32,
                ..rates
            },
            Update::Sgd { .. } | Update::RmsProp { .. } => rates,
        }
    }

    pub(in crate::engine) fn kernel(&self) -> &'static str {
        match self.rule().kind {
            Kind::Adam => "update_adam",
            Kind::Sgd => "update_sgd",
            Kind::RmsProp => "update_rmsprop",
        }
    }
}

/// The loss on class scores `[n, classes]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassTerm {
    /// Kind of loss.
    pub kind: ClassKind,
    /// Share of the label that is spread evenly over all classes.
    pub label_smoothing: f32,
}

/// The kind of loss on class scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassKind {
    /// Cross-entropy of the softmax.
    CrossEntropy,
    /// Binary cross-entropy of each class's softmax, averaged over classes.
    SoftmaxBce,
}

/// The loss on the class maps `[n, h, w, classes]`: the mean over those with a known pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapTerm {
    /// Kind of loss.
    pub kind: MapKind,
    /// Index of the class for losses on one class.
    pub class: usize,
    /// Factor with which it is added to the class loss.
    pub weight: f32,
    /// Number of maps that are trained: more than 1 is deep supervision.
    pub maps: usize,
}

/// The kind of loss on maps.
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

/// A loss on maps in the form that the kernels take: an entropy and an overlap, either of which may be disabled.
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
    /// Whether it is over all classes.
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

/// The values that change between steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// Number of the step, from 1.
    pub number: u64,
    /// Learning rate.
    pub lr: f64,
    /// `average += share · (value − average)`.
    pub ema_share: f32,
    /// For each map, the number of the batch's pixels that are known at its size. A map without an entry has none.
    pub known: &'a [usize],
    /// mixup and cutmix: the own label's share of each image's target, the rest being its partner's. The class loss is
    /// then divided by the number of images, not by the sum of their weights.
    pub mixed: Option<f32>,
    /// How the values of [`Recipe::encoder`] are updated; `None` leaves them and their moments as they are.
    pub encoder: Option<UpdateStep>,
}

/// A step of some values by an update rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateStep {
    /// Number of the step among those that change them, from 1.
    pub number: u64,
    /// Learning rate.
    pub lr: f64,
}

/// The results of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Results {
    /// Norm of all gradients together before clipping.
    pub norm: f64,
    /// Class loss; 0 if the recipe has none.
    pub class_loss: f32,
    /// Mean over the maps with a known pixel, without the recipe's weight; `None` if no map has one.
    pub map_loss: Option<f32>,
    /// Total loss: class loss plus weighted map loss.
    pub loss: f32,
    /// Factor applied to the gradients in the update; 1 if they were not clipped.
    pub scale: f32,
    /// Rows whose highest score (the first, if several) is the label's; where images are mixed, the label's with the
    /// larger share.
    pub hits: u32,
    /// Whether weights, moments and averages were updated; they are not if loss or norm is not finite.
    pub applied: bool,
}
