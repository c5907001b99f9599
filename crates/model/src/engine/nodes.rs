//! Properties of a graph's nodes that both engines read.

use kernels::Activation;

use crate::graph::{Graph, NodeId, Op};

/// Parameters of a batch norm node, in the order in which [`crate::graph::GraphBuilder`] creates them.
pub(super) const GAMMA: usize = 0;
pub(super) const BETA: usize = 1;
pub(super) const MEAN: usize = 2;
pub(super) const VAR: usize = 3;

/// A batch norm's `eps`, which is added to the variance, and `momentum`, the batch's weight in the running statistics.
pub(super) fn norm_numbers(graph: &Graph, norm: NodeId) -> (f32, f32) {
    match graph.node(norm).op {
        Op::BatchNorm { eps, momentum } => (eps, momentum),
        _ => (0.0, 0.0),
    }
}

/// The activation that a step applies to its output, if any.
pub(super) fn activation(graph: &Graph, act: Option<NodeId>) -> Option<Activation> {
    match graph.node(act?).op {
        Op::Activation { kind } => Some(kind),
        _ => None,
    }
}
