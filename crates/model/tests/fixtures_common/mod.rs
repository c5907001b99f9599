//! Training steps and comparisons shared by the model tests.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses only some of these items, and none is a library"
)]

use dfdx::prelude::*;
use model::engine::Images;
use model::engine::recipe::{Update, UpdateStep};
use model::graph::Nhwc;
use model::graph::{Graph, ParamId};
use model::network::{Heads, Network};
use model::store::{Group, ParamStore};

/// A batch of images with their classes.
pub struct Batch {
    pub data: Vec<f32>,
    pub shape: Nhwc,
    pub targets: Vec<usize>,
}

impl Batch {
    pub fn images(&self) -> Images<'_> {
        Images {
            data: &self.data,
            shape: self.shape,
        }
    }
}

/// Results of a training step before the update.
pub struct Step {
    pub loss: f32,
    pub logits: Vec<f32>,
}

/// Runs a forward pass in training mode, the mean cross-entropy of the logits, and a backward pass; the network has the
/// gradients.
pub fn step(network: &Network, batch: &Batch) -> Step {
    let taped = network.forward(batch.images(), 0, Heads::Logits).unwrap();
    let scores = taped.logits.unwrap();
    let logits = scores.as_vec();
    let (n, classes) = *scores.shape();
    let onehot = batch
        .targets
        .iter()
        .flat_map(|t| (0..classes).map(move |c| f32::from(u8::from(c == *t))))
        .collect::<Vec<_>>();
    let target = Cpu::default().tensor_from_vec(onehot, (n, classes));
    let loss = (scores.put_tape(taped.tape).log_softmax::<Axis<1>>() * target).sum::<Rank0, _>()
        * (-1.0 / n as f32);
    let step = Step {
        loss: loss.array(),
        logits,
    };
    loss.backward();
    step
}

/// All parameters' gradients.
pub fn gradients(network: &Network) -> ParamStore {
    network.gradients().unwrap().clone()
}

/// A step of gradient descent without momentum.
pub fn descend(network: &mut Network, lr: f32) {
    let step = |_: Group, values: &mut [f32], gradients: &[f32]| {
        for (value, gradient) in values.iter_mut().zip(gradients) {
            *value -= lr * gradient;
        }
    };
    network.update(step).unwrap();
}

/// Adam with its moments.
pub struct Adam {
    rule: Update,
    lr: f64,
    moments: [[Vec<f32>; 2]; 2],
    t: u64,
}

impl Adam {
    pub fn new(lr: f64, eps: f64) -> Self {
        Adam {
            rule: Update::Adam {
                betas: [0.9, 0.999],
                eps,
                weight_decay: 0.0,
            },
            lr,
            moments: Default::default(),
            t: 0,
        }
    }

    pub fn update(&mut self, network: &mut Network) {
        self.t += 1;
        let rule = self.rule;
        let now = UpdateStep {
            number: self.t,
            lr: self.lr,
        };
        let step = |group: Group, values: &mut [f32], gradients: &[f32]| {
            let moments = self.moments[group as usize].each_mut();
            let moments = moments.map(|moment| {
                moment.resize(values.len(), 0.0);
                &mut moment[..]
            });
            rule.apply(group, now, (values, moments), (gradients, 1.0));
        };
        network.update(step).unwrap();
    }
}

/// Ids and names of a graph's parameters.
pub fn named(graph: &Graph) -> impl Iterator<Item = (ParamId, &str)> {
    graph
        .parameters()
        .map(|(id, param)| (id, param.name.as_str()))
}

/// The id of a parameter.
pub fn id(graph: &Graph, name: &str) -> ParamId {
    graph
        .find_param(name)
        .unwrap_or_else(|| panic!("no parameter {name}"))
}

pub fn l2(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|v| f64::from(*v).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The largest difference relative to the largest expected magnitude.
pub fn relative(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected
        .iter()
        .fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    worst.fold(
        0.0,
        |m: f32, d| if d.is_nan() { f32::INFINITY } else { m.max(d) },
    ) / scale
}
