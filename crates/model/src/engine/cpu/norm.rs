//! Batch norm with the activation that follows it.

use kernels::{Accumulate, Activation, batch_norm, elementwise};

use super::pass::{Pass, Saved};
use crate::graph::{Graph, NodeId, Op};
use crate::plan::{Mode, Plan};
use crate::store::ParamStore;

/// Parameters of a batch norm node, in the order in which [`crate::graph::GraphBuilder`] makes them.
pub(super) const GAMMA: usize = 0;
pub(super) const BETA: usize = 1;
pub(super) const MEAN: usize = 2;
pub(super) const VAR: usize = 3;

/// `y = act(norm(x))`: batch statistics in training, running ones in inference.
pub(super) fn forward(pass: &mut Pass<'_>, norm: NodeId, act: Option<NodeId>) {
    let x = pass.input(norm, 0);
    if pass.plan.mode == Mode::Train {
        let mut statistics = std::mem::take(&mut pass.saved.statistics[norm.index()]);
        batch_norm::statistics(
            pass.value(x),
            pass.shape(x).c,
            &mut statistics.0,
            &mut statistics.1,
        );
        pass.saved.statistics[norm.index()] = statistics;
    }
    let activation = kind(pass.graph, act);
    pass.write(act.unwrap_or(norm), |pass, y, scratch| {
        let (scale, shift) = scratch
            .at_least(2 * pass.shape(x).c)
            .split_at_mut(pass.shape(x).c);
        let (mean, var) = match pass.plan.mode {
            Mode::Train => (
                &pass.saved.statistics[norm.index()].0[..],
                &pass.saved.statistics[norm.index()].1[..],
            ),
            Mode::Infer => (pass.param(norm, MEAN), pass.param(norm, VAR)),
        };
        batch_norm::fold(
            pass.param(norm, GAMMA),
            pass.param(norm, BETA),
            mean,
            var,
            eps(pass.graph, norm),
            scale,
            shift,
        );
        batch_norm::apply(pass.value(x), scale, shift, activation, y);
    });
}

/// Gradient through activation and batch statistics.
pub(super) fn backward(
    pass: &mut Pass<'_>,
    norm: NodeId,
    act: Option<NodeId>,
    grads: &mut ParamStore,
) {
    let (x, out) = (pass.input(norm, 0), act.unwrap_or(norm));
    let activation = kind(pass.graph, act);
    let (dgamma, dbeta) = grads.get_pair_mut(pass.param_id(norm, GAMMA), pass.param_id(norm, BETA));
    pass.write_grad(x, |pass, dx, acc, scratch| {
        let (mean, var) = &pass.saved.statistics[norm.index()];
        let (z, dy, gamma, beta) = (
            pass.value(x),
            pass.grad(out),
            pass.param(norm, GAMMA),
            pass.param(norm, BETA),
        );
        let eps = eps(pass.graph, norm);
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
                // Only where something besides the norm reads its input, which no network here does.
                let dz = scratch.at_least(dx.len());
                run(dz);
                elementwise::accumulate(dz, dx, Accumulate::Add);
            }
        }
    });
}

/// Moves the running statistics of every norm in the plan towards the batch's.
pub(super) fn update_running(graph: &Graph, plan: &Plan, saved: &Saved, params: &mut ParamStore) {
    for id in plan.steps.iter().map(|s| s.first()) {
        let Op::BatchNorm { momentum, .. } = graph.node(id).op else {
            continue;
        };
        let node = graph.node(id);
        let (mean, var) = &saved.statistics[id.index()];
        let count = plan.shapes[id.index()].pixels();
        let (running_mean, running_var) = params.get_pair_mut(node.params[MEAN], node.params[VAR]);
        batch_norm::update_running(running_mean, running_var, mean, var, count, momentum);
    }
}

pub(super) fn kind(graph: &Graph, act: Option<NodeId>) -> Option<Activation> {
    match graph.node(act?).op {
        Op::Activation { kind } => Some(kind),
        _ => None,
    }
}

pub(super) fn eps(graph: &Graph, norm: NodeId) -> f32 {
    match graph.node(norm).op {
        Op::BatchNorm { eps, .. } => eps,
        _ => 0.0,
    }
}
