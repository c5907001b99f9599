//! Batch norm with the activation that follows it.

use kernels::batch_norm::Normalization;
use kernels::{Accumulate, batch_norm, elementwise};

use super::pass::{Done, Pass};
use super::saved::{Saved, Statistics};
use crate::engine::nodes::{BETA, GAMMA, MEAN, VAR, activation, norm_numbers};
use crate::engine::operations::Norms;
use crate::graph::{Graph, NodeId, Op};
use crate::plan::Plan;
use crate::store::ParamStore;

impl Norms for Pass<'_> {
    /// `y = act(norm(x))`: batch statistics in training, running ones in inference and where frozen.
    fn forward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Done {
        if self.plan.trains(norm) {
            self.take_statistics(norm);
        }
        self.normalize(norm, act)
    }

    /// Gradient through the activation and the statistics that the forward pass used.
    fn backward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Done {
        match self.plan.trains(norm) {
            true => backward_batch(self, norm, act),
            false => backward_running(self, norm, act),
        }
    }
}

impl Pass<'_> {
    /// Takes the statistics of a norm's input.
    pub(super) fn take_statistics(&mut self, norm: NodeId) {
        let x = self.input(norm, 0);
        let mut statistics = std::mem::take(&mut self.saved.statistics[norm.index()]);
        let Statistics { mean, var, pixels } = &mut statistics;
        batch_norm::statistics(self.value(x), self.shape(x).c, mean, var);
        *pixels = self.shape(x).pixels();
        self.saved.statistics[norm.index()] = statistics;
    }

    /// `y = act(norm(x))` with the statistics that were taken, or the running ones.
    pub(super) fn normalize(&mut self, norm: NodeId, act: Option<NodeId>) -> Done {
        let x = self.input(norm, 0);
        let activation = activation(self.graph, act);
        self.write(act.unwrap_or(norm), |pass, y, scratch| {
            let (scale, shift) = scratch
                .at_least(2 * pass.shape(x).c)
                .split_at_mut(pass.shape(x).c);
            let (mean, var) = match pass.plan.trains(norm) {
                true => {
                    let taken = &pass.saved.statistics[norm.index()];
                    (&taken.mean[..], &taken.var[..])
                }
                false => (pass.param(norm, MEAN), pass.param(norm, VAR)),
            };
            batch_norm::fold(
                pass.param(norm, GAMMA),
                pass.param(norm, BETA),
                mean,
                var,
                norm_numbers(pass.graph, norm).0,
                scale,
                shift,
            );
            batch_norm::apply(pass.value(x), scale, shift, activation, y);
        })
    }

    /// The sums that the gradients of a norm with batch statistics consist of ([`batch_norm::backward_sums`]), over the
    /// images of this pass; writes the parameters' gradients, which are these sums.
    pub(super) fn norm_sums(&mut self, norm: NodeId, act: Option<NodeId>) -> Vec<f64> {
        let (x, out) = (self.input(norm, 0), act.unwrap_or(norm));
        let activation = activation(self.graph, act);
        let (z, dy) = (self.value(x), self.grad(out));
        let sums = batch_norm::backward_sums(z, dy, self.normalization(norm), activation);
        let Ok(()) = self.with_param_grads(|pass, grads| {
            let (gamma, beta) = (pass.param_id(norm, GAMMA), pass.param_id(norm, BETA));
            let (dgamma, dbeta) = grads.get_pair_mut(gamma, beta);
            let written = dbeta.iter_mut().chain(dgamma);
            written.zip(&sums).for_each(|(d, sum)| *d = *sum as f32);
            Ok(())
        });
        sums
    }

    /// The gradient of the input of a norm with batch statistics, from the sums over all images that these are taken from.
    pub(super) fn norm_input(&mut self, norm: NodeId, act: Option<NodeId>, sums: &[f64]) -> Done {
        let (x, out) = (self.input(norm, 0), act.unwrap_or(norm));
        let activation = activation(self.graph, act);
        self.write_replaced(x, |pass, dz| {
            let pixels = pass.saved.statistics[norm.index()].pixels;
            let (z, dy) = (pass.value(x), pass.grad(out));
            let normalization = pass.normalization(norm);
            batch_norm::backward_input(z, dy, normalization, activation, (sums, pixels), dz);
        })
    }

    fn normalization(&self, norm: NodeId) -> Normalization<'_> {
        let taken = &self.saved.statistics[norm.index()];
        Normalization {
            gamma: self.param(norm, GAMMA),
            beta: self.param(norm, BETA),
            mean: &taken.mean,
            var: &taken.var,
            eps: norm_numbers(self.graph, norm).0,
        }
    }

    /// Writes a value's gradient with a `body` that can only replace.
    fn write_replaced(&mut self, x: NodeId, body: impl FnOnce(&Self, &mut [f32])) -> Done {
        self.write_grad(x, |pass, dx, acc, scratch| match acc {
            Accumulate::Replace => body(pass, dx),
            Accumulate::Add => {
                // Only needed if another node also reads the norm's input, which is not so in any network here.
                let dz = scratch.at_least(dx.len());
                body(pass, dz);
                elementwise::accumulate(dz, dx, Accumulate::Add);
            }
        })
    }
}

/// Gradient through activation and batch statistics.
fn backward_batch(pass: &mut Pass<'_>, norm: NodeId, act: Option<NodeId>) -> Done {
    let sums = pass.norm_sums(norm, act);
    pass.norm_input(norm, act, &sums)
}

/// Gradient through activation and running statistics, which are constants. The parameters get none: no norm with
/// running statistics is trained.
fn backward_running(pass: &mut Pass<'_>, norm: NodeId, act: Option<NodeId>) -> Done {
    let (x, out) = (pass.input(norm, 0), act.unwrap_or(norm));
    let activation = activation(pass.graph, act);
    pass.write_grad(x, |pass, dx, acc, scratch| {
        let (scale, shift) = scratch
            .at_least(2 * pass.shape(x).c)
            .split_at_mut(pass.shape(x).c);
        batch_norm::fold(
            pass.param(norm, GAMMA),
            pass.param(norm, BETA),
            pass.param(norm, MEAN),
            pass.param(norm, VAR),
            norm_numbers(pass.graph, norm).0,
            scale,
            shift,
        );
        let (z, dy) = (pass.value(x), pass.grad(out));
        batch_norm::backward_eval_input(z, dy, scale, shift, activation, dx, acc);
    })
}

/// Moves the running statistics of every norm in the plan that is not frozen towards the batch's.
pub(super) fn update_running(graph: &Graph, plan: &Plan, saved: &Saved, params: &mut ParamStore) {
    for id in plan.steps.iter().map(|s| s.first()) {
        let Op::BatchNorm { momentum, .. } = graph.node(id).op else {
            continue;
        };
        if !plan.trains(id) {
            continue;
        }
        let node = graph.node(id);
        let Statistics { mean, var, pixels } = &saved.statistics[id.index()];
        let (running_mean, running_var) = params.get_pair_mut(node.params[MEAN], node.params[VAR]);
        batch_norm::update_running(running_mean, running_var, mean, var, *pixels, momentum);
    }
}
