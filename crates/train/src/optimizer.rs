//! Adam, AdamW, SGD and RMSprop: dfdx's update rules on the network's flat parameters, with moments that can be saved.
//!
//! dfdx's rules agree with PyTorch's at any learning rate (SGD's velocity accumulates gradients, and the learning rate
//! is applied afterwards), except for RMSprop, where dfdx adds epsilon under the root, as TensorFlow does. Weight decay
//! applies to kernels and matrices only ([`Group::Decayed`]), as in timm.

use std::ops::Range;

use dfdx::prelude::{
    AdamConfig, Cpu, CpuError, Gradients, Momentum, RMSpropConfig, SgdConfig, Storage,
    TensorFromVec, WeightDecay,
};
use serde::{Deserialize, Serialize};

use model::engine::recipe::EncoderStep;
use model::network::{Flat, Grad, Network, NetworkError};
use model::store::{Group, ParamMap};

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

    /// Names of the buffers of one group, in the order of dfdx's arguments.
    fn moments(&self) -> &'static [&'static str] {
        match self {
            OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_) => &["moment1", "moment2"],
            OptimizerConfig::Sgd(_) => &["velocity"],
            OptimizerConfig::RmsProp(_) => &["velocity", "mean_square", "mean"],
        }
    }
}

/// An update rule with its moments.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    steps: u64,
    /// For each trainable group, one buffer per moment.
    moments: [Vec<Grad>; 2],
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
    /// Number of its steps, including this one.
    step: u64,
    lr: f64,
}

impl Optimizer {
    /// Creates the optimizer with zero moments, for the parameter layout of `map`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(config: OptimizerConfig, map: &ParamMap) -> Result<Self, CpuError> {
        let zeros = |group| {
            let one = |_: &&str| Storage::<f32>::try_alloc_len(&Cpu::default(), map.len(group));
            config
                .moments()
                .iter()
                .map(one)
                .collect::<Result<Vec<_>, _>>()
        };
        let moments = [zeros(Group::TRAINABLE[0])?, zeros(Group::TRAINABLE[1])?];
        Ok(Optimizer {
            config,
            steps: 0,
            moments,
            encoder: Encoder::default(),
        })
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
    pub fn encoder_step(&self, lr: f64) -> Option<EncoderStep> {
        (!self.encoder.frozen).then_some(EncoderStep {
            number: self.encoder.steps,
            lr: lr * self.config.encoder_lr_scale(),
        })
    }

    /// Number of steps made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Makes one step of the whole network at learning rate `lr`.
    ///
    /// # Errors
    /// The backward pass or the update failed.
    pub fn step(
        &mut self,
        network: &mut Network,
        grads: &mut Gradients<f32, Cpu>,
        lr: f64,
    ) -> Result<(), NetworkError> {
        self.begin();
        network.update(grads, |group, param, grad| {
            self.update(group, param, grad, lr)
        })
    }

    /// Counts a step; one [`Optimizer::update`] per group follows.
    pub fn begin(&mut self) {
        self.steps += 1;
        self.encoder.steps += u64::from(!self.encoder.frozen);
    }

    /// Updates one group.
    ///
    /// # Errors
    /// dfdx's update failed; the group may then be partially updated.
    pub fn update(
        &mut self,
        group: Group,
        param: &mut Flat,
        grad: &Grad,
        lr: f64,
    ) -> Result<(), NetworkError> {
        let len = grad.len();
        let cut = self.divided()[group as usize];
        let whole = Part {
            range: cut..len,
            step: self.steps,
            lr,
        };
        let done = match cut {
            0 => self.apply(group, (whole.step, lr), param, grad),
            _ => {
                let encoder = self.encoder_step(lr).map(|step| Part {
                    range: 0..cut,
                    step: step.number,
                    lr: step.lr,
                });
                let parts = encoder.into_iter().chain([whole]);
                let mut parts = parts.filter(|part| !part.range.is_empty());
                parts.try_for_each(|part| self.update_part(group, &part, param, grad))
            }
        };
        done.map_err(|error| NetworkError::Update(error.to_string()))
    }

    /// Updates a part of a group: dfdx's rules take whole tensors, so the part is copied out and back.
    fn update_part(
        &mut self,
        group: Group,
        part: &Part,
        param: &mut Flat,
        grad: &Grad,
    ) -> Result<(), CpuError> {
        let range = || part.range.clone();
        let cut_out = |values: &[f32]| -> Result<Grad, CpuError> {
            let mut buffer: Grad =
                Storage::<f32>::try_alloc_len(&Cpu::default(), part.range.len())?;
            buffer.copy_from_slice(&values[range()]);
            Ok(buffer)
        };
        let mut values = param.as_vec();
        let mut own: Flat =
            Cpu::default().try_tensor_from_vec(values[range()].to_vec(), (part.range.len(),))?;
        let of_part = self.moments[group as usize]
            .iter()
            .map(|moment| cut_out(moment));
        let of_part = of_part.collect::<Result<Vec<_>, _>>()?;
        let whole = std::mem::replace(&mut self.moments[group as usize], of_part);
        let done = self.apply(group, (part.step, part.lr), &mut own, &cut_out(grad)?);
        let of_part = std::mem::replace(&mut self.moments[group as usize], whole);
        for (moment, updated) in self.moments[group as usize].iter_mut().zip(of_part) {
            moment[range()].copy_from_slice(&updated);
        }
        values[range()].copy_from_slice(&own.as_vec());
        param.copy_from(&values);
        done
    }

    /// Applies the rule, in its step of this number and learning rate, to a tensor whose moments are those of `group`.
    fn apply(
        &mut self,
        group: Group,
        (step, lr): (u64, f64),
        param: &mut Flat,
        grad: &Grad,
    ) -> Result<(), CpuError> {
        let t = i32::try_from(step).unwrap_or(i32::MAX);
        let decays = |factor: f64| group == Group::Decayed && factor > 0.0;
        let l2 = |factor| decays(factor).then_some(WeightDecay::L2(factor));
        let moments = self.moments[group as usize].as_mut_slice();
        match (&self.config, moments) {
            (OptimizerConfig::Adam(c), [m, v]) => {
                adam(lr, c.betas, c.eps, l2(c.weight_decay)).try_update(t, param, m, v, grad)
            }
            (OptimizerConfig::AdamW(c), [m, v]) => {
                let decay =
                    decays(c.weight_decay).then_some(WeightDecay::Decoupled(c.weight_decay));
                adam(lr, c.betas, c.eps, decay).try_update(t, param, m, v, grad)
            }
            (OptimizerConfig::Sgd(c), [v]) => {
                sgd(lr, c, l2(c.weight_decay)).try_update(param, v, grad)
            }
            (OptimizerConfig::RmsProp(c), [v, square, mean]) => {
                rmsprop(lr, c, l2(c.weight_decay)).try_update(param, v, square, mean, grad)
            }
            _ => Ok(()), // unreachable: `new` allocates as many moments as the rule has
        }
    }

    /// Moments by name (`moment1.0` …), as saved in checkpoints.
    pub fn state(&self) -> impl Iterator<Item = (String, &[f32])> {
        self.moments
            .iter()
            .enumerate()
            .flat_map(|(group, buffers)| {
                let names = self.config.moments().iter();
                names
                    .zip(buffers)
                    .map(move |(name, buffer)| (format!("{name}.{group}"), buffer.as_slice()))
            })
    }

    /// A group's moment, in the order of [`Optimizer::state`]'s names; the CUDA engine's first and second are 0 and 1.
    pub fn moment(&self, group: Group, index: usize) -> Option<&[f32]> {
        let moment = self.moments.get(group as usize)?.get(index)?;
        Some(moment.as_slice())
    }

    /// Mutable access to a group's moment, to store what a device computed.
    pub fn moment_mut(&mut self, group: Group, index: usize) -> Option<&mut [f32]> {
        let moment = self.moments.get_mut(group as usize)?.get_mut(index)?;
        Some(moment.as_mut_slice())
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
        for (group, buffers) in self.moments.iter_mut().enumerate() {
            for (name, buffer) in self.config.moments().iter().zip(buffers) {
                let name = format!("{name}.{group}");
                match find(&name) {
                    Some(saved) if saved.len() == buffer.len() => **buffer = saved,
                    _ => return Err(name),
                }
            }
        }
        Ok(())
    }
}

fn adam(lr: f64, betas: [f64; 2], eps: f64, weight_decay: Option<WeightDecay>) -> AdamConfig {
    AdamConfig {
        lr,
        betas,
        eps,
        weight_decay,
    }
}

fn sgd(lr: f64, c: &Sgd, weight_decay: Option<WeightDecay>) -> SgdConfig {
    let momentum = match (c.momentum > 0.0, c.nesterov) {
        (false, _) => None,
        (true, false) => Some(Momentum::Classic(c.momentum)),
        (true, true) => Some(Momentum::Nesterov(c.momentum)),
    };
    SgdConfig {
        lr,
        momentum,
        weight_decay,
    }
}

fn rmsprop(lr: f64, c: &RmsProp, weight_decay: Option<WeightDecay>) -> RMSpropConfig {
    let momentum = (c.momentum > 0.0).then_some(c.momentum);
    RMSpropConfig {
        lr,
        alpha: c.alpha,
        eps: c.eps,
        momentum,
        centered: false,
        weight_decay,
    }
}
