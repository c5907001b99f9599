//! Adam, AdamW, SGD and RMSprop on a network's weights, with moments that can be saved.
//!
//! The rules ([`Update`]) agree with PyTorch's at any learning rate (SGD's velocity accumulates gradients, and
//! the learning rate is applied afterwards), except for RMSprop, which adds epsilon under the root, as TensorFlow does.
//! Weight decay applies to kernels and matrices only ([`Group::Decayed`]), as in timm.

use std::ops::Range;

use model::engine::recipe::{Update, UpdateStep};
use model::network::{Network, NetworkError};
use model::store::{Group, ParamMap};
use serde::{Deserialize, Serialize};

/// `[train.optimizer]`: `name = "adam" | "adamw" | "sgd" | "rmsprop"` and the settings of that optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// Kingma and Ba 2015; weight decay is an L2 penalty added to the gradient.
    Adam(Adam),
    /// Loshchilov and Hutter 2019; weight decay is decoupled from the gradient.
    AdamW(AdamW),
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Hinton 2012 in TensorFlow's form, as the EfficientNet papers used it.
    RmsProp(RmsProp),
}

/// Settings of [`OptimizerConfig::Adam`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Learning rate. Default 1e-4, as in the Eff-UNet paper.
    pub lr: f64,
    /// Decay rates of the first and second moments. Default [0.9, 0.999].
    pub betas: [f64; 2],
    /// Added to the root of the second moment. Default 1e-8.
    pub eps: f64,
    /// Factor of the L2 penalty. Default 0.
    pub weight_decay: f64,
    /// Factor of the learning rate for the encoder's parameters. Default 1.
    #[serde(skip_serializing_if = "is_one")]
    pub encoder_lr_scale: f64,
}

/// Settings of [`OptimizerConfig::AdamW`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Learning rate. Default 1e-4.
    pub lr: f64,
    /// Decay rates of the first and second moments. Default [0.9, 0.999].
    pub betas: [f64; 2],
    /// Added to the root of the second moment. Default 1e-8.
    pub eps: f64,
    /// Each step shrinks weights by `lr · weight_decay`. Default 0.01.
    pub weight_decay: f64,
    /// Factor of the learning rate for the encoder's parameters. Default 1.
    #[serde(skip_serializing_if = "is_one")]
    pub encoder_lr_scale: f64,
}

/// Settings of [`OptimizerConfig::Sgd`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate. Default 0.01.
    pub lr: f64,
    /// Share of the previous velocity that is kept. Default 0.9.
    pub momentum: f64,
    /// Whether to use Nesterov momentum. Default false.
    pub nesterov: bool,
    /// Factor of the L2 penalty. Default 0.
    pub weight_decay: f64,
    /// Factor of the learning rate for the encoder's parameters. Default 1.
    #[serde(skip_serializing_if = "is_one")]
    pub encoder_lr_scale: f64,
}

/// Settings of [`OptimizerConfig::RmsProp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsProp {
    /// Learning rate. Default 1e-4.
    pub lr: f64,
    /// Decay rate of the mean square. Default 0.9.
    pub alpha: f64,
    /// Added to the mean square under the root. Default 1e-7.
    pub eps: f64,
    /// Share of the previous velocity that is kept. Default 0.
    pub momentum: f64,
    /// Factor of the L2 penalty. Default 0.
    pub weight_decay: f64,
    /// Factor of the learning rate for the encoder's parameters. Default 1.
    #[serde(skip_serializing_if = "is_one")]
    pub encoder_lr_scale: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig::Adam(Adam::default())
    }
}

impl Default for Adam {
    fn default() -> Self {
        Adam {
            lr: 1e-4,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            encoder_lr_scale: 1.0,
        }
    }
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW {
            lr: 1e-4,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.01,
            encoder_lr_scale: 1.0,
        }
    }
}

impl Default for Sgd {
    fn default() -> Self {
        Sgd {
            lr: 0.01,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            encoder_lr_scale: 1.0,
        }
    }
}

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp {
            lr: 1e-4,
            alpha: 0.9,
            eps: 1e-7,
            momentum: 0.0,
            weight_decay: 0.0,
            encoder_lr_scale: 1.0,
        }
    }
}

/// Whether a factor is 1, so that it need not be written.
fn is_one(factor: &f64) -> bool {
    *factor == 1.0
}

impl OptimizerConfig {
    /// The base learning rate, before any schedule.
    pub fn lr(&self) -> f64 {
        match self {
            OptimizerConfig::Adam(c) => c.lr,
            OptimizerConfig::AdamW(c) => c.lr,
            OptimizerConfig::Sgd(c) => c.lr,
            OptimizerConfig::RmsProp(c) => c.lr,
        }
    }

    /// The factor of the learning rate for the encoder's parameters.
    pub fn encoder_lr_scale(&self) -> f64 {
        match self {
            OptimizerConfig::Adam(c) => c.encoder_lr_scale,
            OptimizerConfig::AdamW(c) => c.encoder_lr_scale,
            OptimizerConfig::Sgd(c) => c.encoder_lr_scale,
            OptimizerConfig::RmsProp(c) => c.encoder_lr_scale,
        }
    }

    /// The first setting with an invalid value: its key, and what the value must be.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        let (lr, decay, eps) = match self {
            OptimizerConfig::Adam(c) => (c.lr, c.weight_decay, c.eps),
            OptimizerConfig::AdamW(c) => (c.lr, c.weight_decay, c.eps),
            OptimizerConfig::Sgd(c) => (c.lr, c.weight_decay, 1.0),
            OptimizerConfig::RmsProp(c) => (c.lr, c.weight_decay, c.eps),
        };
        let (shares, key) = match self {
            OptimizerConfig::Adam(Adam { betas, .. })
            | OptimizerConfig::AdamW(AdamW { betas, .. }) => (*betas, "betas"),
            OptimizerConfig::Sgd(c) => ([c.momentum; 2], "momentum"),
            OptimizerConfig::RmsProp(c) => ([c.momentum, c.alpha], "momentum and alpha"),
        };
        let nesterov_alone =
            matches!(self, OptimizerConfig::Sgd(c) if c.nesterov && c.momentum == 0.0);
        let scale = self.encoder_lr_scale();
        let checks = [
            (lr.is_finite() && lr > 0.0, "lr", "a positive number"),
            (
                scale.is_finite() && scale > 0.0,
                "encoder_lr_scale",
                "a positive number (train.freeze = \"encoder\" does not train the encoder at all)",
            ),
            (
                decay.is_finite() && decay >= 0.0,
                "weight_decay",
                "0 or a positive number",
            ),
            (
                eps.is_finite() && eps > 0.0,
                "eps",
                "a small positive number",
            ),
            (
                shares.into_iter().all(share),
                key,
                "at least 0 and less than 1",
            ),
            (
                !nesterov_alone,
                "nesterov",
                "false if momentum is 0: it looks ahead along the momentum",
            ),
        ];
        checks
            .into_iter()
            .find(|(good, ..)| !good)
            .map(|(_, key, must)| (key, must))
    }

    /// The update rule; the learning rate is passed with each step.
    pub fn update(&self) -> Update {
        match self {
            OptimizerConfig::Adam(c) => Update::Adam {
                betas: c.betas,
                eps: c.eps,
                weight_decay: c.weight_decay,
            },
            OptimizerConfig::AdamW(c) => Update::AdamW {
                betas: c.betas,
                eps: c.eps,
                weight_decay: c.weight_decay,
            },
            OptimizerConfig::Sgd(c) => Update::Sgd {
                momentum: c.momentum,
                nesterov: c.nesterov,
                weight_decay: c.weight_decay,
            },
            OptimizerConfig::RmsProp(c) => Update::RmsProp {
                alpha: c.alpha,
                eps: c.eps,
                momentum: c.momentum,
                weight_decay: c.weight_decay,
            },
        }
    }

    /// Names of a group's two moments.
    fn moments(&self) -> [&'static str; 2] {
        match self {
            OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_) => ["moment1", "moment2"],
            OptimizerConfig::Sgd(_) | OptimizerConfig::RmsProp(_) => ["velocity", "mean_square"],
        }
    }
}

/// An update rule with its moments.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    update: Update,
    steps: u64,
    /// For each trainable group, its first and second moment; empty if the rule does not have it.
    moments: [[Vec<f32>; 2]; 2],
    encoder: Encoder,
}

/// The encoder's parameters, which may be frozen while the rest is trained.
#[derive(Clone, Copy, Debug, Default)]
struct Encoder {
    /// Number of its values in each trainable group; they are the first.
    lens: [usize; 2],
    /// Number of steps that changed them.
    steps: u64,
    frozen: bool,
}

/// A range of a group's values that is updated in the same way.
struct Part {
    range: Range<usize>,
    step: UpdateStep,
}

impl Optimizer {
    /// Creates the optimizer with zero moments, for the parameter layout of `map`.
    pub fn new(config: OptimizerConfig, map: &ParamMap) -> Self {
        let update = config.update();
        let used = update.moments();
        let zeros = |group| used.map(|used| vec![0.0; if used { map.len(group) } else { 0 }]);
        Optimizer {
            config,
            update,
            steps: 0,
            moments: Group::TRAINABLE.map(zeros),
            encoder: Encoder::default(),
        }
    }

    /// The same for a network whose encoder has the first `lens` values of each trainable group.
    pub fn with_encoder(mut self, lens: [usize; 2]) -> Self {
        self.encoder.lens = lens;
        self
    }

    /// Whether the following steps leave the encoder's parameters and moments as they are.
    pub fn freeze_encoder(&mut self, frozen: bool) {
        self.encoder.frozen = frozen;
    }

    /// Number of steps that changed the encoder.
    pub fn encoder_steps(&self) -> u64 {
        self.encoder.steps
    }

    /// Number of the encoder's values in each trainable group if they are updated differently from the rest; otherwise
    /// 0.
    pub fn divided(&self) -> [usize; 2] {
        let scaled = self.config.encoder_lr_scale() != 1.0;
        match scaled || self.encoder.frozen || self.encoder.steps != self.steps {
            true => self.encoder.lens,
            false => [0; 2],
        }
    }

    /// How a step at the learning rate `lr` updates the encoder; `None` while it is frozen.
    pub fn encoder_step(&self, lr: f64) -> Option<UpdateStep> {
        (!self.encoder.frozen).then_some(UpdateStep {
            number: self.encoder.steps,
            lr: lr * self.config.encoder_lr_scale(),
        })
    }

    /// Number of steps made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Makes one step of the whole network at learning rate `lr`, with its gradients times `scale`.
    ///
    /// # Errors
    /// The backward pass failed.
    pub fn step(&mut self, network: &mut Network, lr: f64, scale: f32) -> Result<(), NetworkError> {
        self.begin();
        network
            .update(|group, values, gradients| self.update(group, values, gradients, (lr, scale)))
    }

    /// Counts a step; one [`Optimizer::update`] per group follows.
    pub fn begin(&mut self) {
        self.steps += 1;
        self.encoder.steps += u64::from(!self.encoder.frozen);
    }

    /// Updates one group at a learning rate, with its gradients times a scale.
    ///
    /// # Panics
    /// If values or gradients are not as long as the group.
    pub fn update(
        &mut self,
        group: Group,
        values: &mut [f32],
        gradients: &[f32],
        (lr, scale): (f64, f32),
    ) {
        let cut = self.divided()[group as usize];
        let encoder = self.encoder_step(lr).map(|step| Part {
            range: 0..cut,
            step,
        });
        let rest = Part {
            range: cut..gradients.len(),
            step: UpdateStep {
                number: self.steps,
                lr,
            },
        };
        let parts = encoder.into_iter().chain([rest]);
        for Part { range, step } in parts.filter(|part| !part.range.is_empty()) {
            let moments = self.moments[group as usize].each_mut();
            let moments = moments.map(|moment| match moment.is_empty() {
                true => &mut moment[..],
                false => &mut moment[range.clone()],
            });
            let weights = (&mut values[range.clone()], moments);
            self.update
                .apply(group, step, weights, (&gradients[range], scale));
        }
    }

    /// Moments by name (`moment1.0` …), as saved in checkpoints.
    pub fn state(&self) -> impl Iterator<Item = (String, &[f32])> {
        let groups = self.moments.iter().enumerate();
        let named = groups.flat_map(|(group, moments)| {
            let names = self.config.moments().into_iter();
            let names = names.map(move |name| format!("{name}.{group}"));
            names.zip(moments.iter().map(Vec::as_slice))
        });
        named.filter(|(_, moment)| !moment.is_empty())
    }

    /// A group's first (0) or second (1) moment; `None` if the rule does not have it.
    pub fn moment(&self, group: Group, index: usize) -> Option<&[f32]> {
        let moment = self.moments.get(group as usize)?.get(index)?;
        (!moment.is_empty()).then_some(moment)
    }

    /// Mutable access to a group's moment, to store what a device computed.
    pub fn moment_mut(&mut self, group: Group, index: usize) -> Option<&mut [f32]> {
        let moment = self.moments.get_mut(group as usize)?.get_mut(index)?;
        (!moment.is_empty()).then_some(moment)
    }

    /// Resumes from saved moments after `steps` steps, of which `encoder_steps` changed the encoder; `find` returns a
    /// buffer by its name in [`Optimizer::state`].
    ///
    /// # Errors
    /// The name of a buffer that is missing or has the wrong length.
    pub fn restore(
        &mut self,
        (steps, encoder_steps): (u64, u64),
        mut find: impl FnMut(&str) -> Option<Vec<f32>>,
    ) -> Result<(), String> {
        self.steps = steps;
        self.encoder.steps = encoder_steps;
        for (group, moments) in self.moments.iter_mut().enumerate() {
            let named = self.config.moments().into_iter().zip(moments);
            for (name, moment) in named.filter(|(_, moment)| !moment.is_empty()) {
                let name = format!("{name}.{group}");
                match find(&name) {
                    Some(saved) if saved.len() == moment.len() => *moment = saved,
                    _ => return Err(name),
                }
            }
        }
        Ok(())
    }
}
