//! Batch norm with the activation that follows it.

use kernels::{Accumulate, batch_norm, elementwise};

use super::pass::{Done, Pass};
use super::saved::Saved;
use crate::engine::nodes::{BETA, GAMMA, MEAN, VAR, activation, norm_numbers};
use crate::engine::operations::Norms;
use crate::graph::{Graph, NodeId, Op};
use crate::plan::Plan;
use crate::store::ParamStore;

impl Norms for Pass<'_> {
    /// `y = act(norm(x))`: batch statistics in training, running ones in inference and where frozen.
    fn forward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Done {
        let x = self.input(norm, 0);
        if self.plan.trains(norm) {
            let mut statistics = std::mem::take(&mut self.saved.statistics[norm.index()]);
            batch_norm::statistics(
                self.value(x),
                self.shape(x).c,
                &mut statistics.0,
                &mut statistics.1,
            );
            self.saved.statistics[norm.index()] = statistics;
        }
        let activation = activation(self.graph, act);
        self.write(act.unwrap_or(norm), |pass, y, scratch| {
            let (scale, shift) = scratch
                .at_least(2 * pass.shape(x).c)
                .split_at_mut(pass.shape(x).c);
            let (mean, var) = match pass.plan.trains(norm) {
                true => (
                    &pass.saved.statistics[norm.index()].0[..],
                    &pass.saved.statistics[norm.index()].1[..],
                ),
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

    /// Gradient through the activation and the statistics that the forward pass used.
    fn backward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Done {
        match self.plan.trains(norm) {
            true => backward_batch(self, norm, act),
            false => backward_running(self, norm, act),
        }
    }
}

/// Gradient through activation and batch statistics.
fn backward_batch(pass: &mut Pass<'_>, norm: NodeId, act: Option<NodeId>) -> Done {
    let (x, out) = (pass.input(norm, 0), act.unwrap_or(norm));
    let activation = activation(pass.graph, act);
    pass.with_param_grads(|pass, grads| {
        let (gamma, beta) = (pass.param_id(norm, GAMMA), pass.param_id(norm, BETA));
        let (dgamma, dbeta) = grads.get_pair_mut(gamma, beta);
        pass.write_grad(x, |pass, dx, acc, scratch| {
            let (mean, var) = &pass.saved.statistics[norm.index()];
            let (z, dy, gamma, beta) = (
                pass.value(x),
                pass.grad(out),
                pass.param(norm, GAMMA),
                pass.param(norm, BETA),
            );
            let (eps, _) = norm_numbers(pass.graph, norm);
            let mut run = |dz: &mut [f32]| {
                batch_norm::backward_train(
                    z,
                    dy,
                    gamma,
                    beta,
                    mean,
                    var,
                    eps,
                    activation,
                    dz,
                    dgamma,
                    dbeta,
                    Accumulate::Replace,
                );
            };
            match acc {
                Accumulate::Replace => run(dx),
                Accumulate::Add => {
                    // Only needed if another node also reads the norm's input, which is not so in any network here.
                    let dz = scratch.at_least(dx.len());
                    run(dz);
                    elementwise::accumulate(dz, dx, Accumulate::Add);
                }
            }
        })
    })
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
        let (mean, var) = &saved.statistics[id.index()];
        let count = plan.shapes[id.index()].pixels();
        let (running_mean, running_var) = params.get_pair_mut(node.params[MEAN], node.params[VAR]);
        batch_norm::update_running(running_mean, running_var, mean, var, count, momentum);
    }
}
