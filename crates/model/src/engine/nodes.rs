//! What both engines read from a graph's nodes.

use kernels::Activation;

use crate::graph::{Graph, NodeId, Op};

/// Parameters of a batch norm node, in the order in which [`crate::graph::GraphBuilder`] makes them.
pub(super) const GAMMA: usize = 0;
pub(super) const BETA: usize = 1;
pub(super) const MEAN: usize = 2;
pub(super) const VAR: usize = 3;

/// What a batch norm adds to the variance, and the batch's share in the running statistics.
pub(super) fn norm_numbers(graph: &Graph, norm: NodeId) -> (f32, f32) {
    match graph.node(norm).op {
        Op::BatchNorm { eps, momentum } => (eps, momentum),
        _ => (0.0, 0.0),
    }
}

/// The activation that a step applies to what it writes, if it does.
pub(super) fn activation(graph: &Graph, act: Option<NodeId>) -> Option<Activation> {
    match graph.node(act?).op {
        Op::Activation { kind } => Some(kind),
        _ => None,
    }
}
