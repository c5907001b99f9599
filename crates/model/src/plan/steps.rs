//! The nodes that run, their order, and which of them are fused.

use crate::graph::{Graph, NodeId, Op};

/// The purpose of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Running statistics, no dropout, no values kept: batch norms are folded into the convolutions before them.
    Infer,
    /// Batch statistics; all values that the backward pass reads are kept.
    Train,
    /// Gradients of the function that inference computes: running statistics and no dropout, and the values that the
    /// backward pass reads are kept. Gradients flow to values that the caller names, not to parameters.
    Sensitivity,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A single node.
    Single(NodeId),
    /// Batch norm and the activation that is its only reader: one pass over the data forward, two backward.
    NormAct {
        /// The batch norm.
        norm: NodeId,
        /// The activation.
        act: NodeId,
    },
    /// Convolution (dense or depthwise) with a norm and an activation folded into it; inference only.
    ConvNormAct {
        /// The convolution.
        conv: NodeId,
        /// A batch norm folded into weights and bias.
        norm: Option<NodeId>,
        /// An activation applied when the output is written.
        act: Option<NodeId>,
    },
}

impl Step {
    /// The node whose inputs the step reads.
    pub fn first(&self) -> NodeId {
        match *self {
            Step::Single(node) => node,
            Step::NormAct { norm, .. } => norm,
            Step::ConvNormAct { conv, .. } => conv,
        }
    }

    /// The node whose value the step writes.
    pub fn last(&self) -> NodeId {
        match *self {
            Step::Single(node) => node,
            Step::NormAct { act, .. } => act,
            Step::ConvNormAct { conv, norm, act } => act.or(norm).unwrap_or(conv),
        }
    }
}

/// Whether an operation's backward pass in a mode reads its input again; without gradients of parameters, an operation
/// that is linear in its input does not.
pub fn keeps_input(op: &Op, mode: Mode) -> bool {
    match op {
        Op::Conv2d { .. }
        | Op::Depthwise { .. }
        | Op::ConvTranspose2x2 { .. }
        | Op::Linear { .. } => mode == Mode::Train,
        Op::BatchNorm { .. } | Op::Activation { .. } => true,
        Op::ScaleChannels | Op::RegionPool => true,
        Op::Input { .. } | Op::MaxPool { .. } | Op::GlobalAvgPool | Op::Upsample2x { .. } => false,
        Op::Concat | Op::Add | Op::Mean | Op::Crop { .. } => false,
        Op::DropPath { .. } | Op::Dropout { .. } => false,
    }
}

/// The steps that compute `outputs`, in graph order; nodes that are read `in_place` have none.
pub(super) fn fuse(graph: &Graph, mode: Mode, readers: &Readers, in_place: &[bool]) -> Vec<Step> {
    let mut taken = in_place.to_vec();
    let mut steps = Vec::new();
    for id in graph.ids().filter(|id| readers.are_any(*id)) {
        if taken[id.index()] || matches!(graph.node(id).op, Op::Input { .. }) {
            continue;
        }
        let step = step_at(graph, mode, readers, id);
        for node in members(&step) {
            taken[node.index()] = true;
        }
        steps.push(step);
    }
    steps
}

fn step_at(graph: &Graph, mode: Mode, readers: &Readers, id: NodeId) -> Step {
    let act_after = |x| {
        readers
            .only(x)
            .filter(|r| matches!(graph.node(*r).op, Op::Activation { .. }))
    };
    let norm_after = |x| {
        readers
            .only(x)
            .filter(|r| matches!(graph.node(*r).op, Op::BatchNorm { .. }))
    };
    match (&graph.node(id).op, mode) {
        (Op::Conv2d { .. } | Op::Depthwise { .. }, Mode::Infer) => {
            let norm = norm_after(id);
            Step::ConvNormAct {
                conv: id,
                norm,
                act: act_after(norm.unwrap_or(id)),
            }
        }
        (Op::BatchNorm { .. }, _) => match act_after(id) {
            Some(act) => Step::NormAct { norm: id, act },
            None => Step::Single(id),
        },
        _ => Step::Single(id),
    }
}

/// In training, for each dense convolution, the norm that is the only reader of its value, unless that is frozen.
pub(super) fn norms(
    graph: &Graph,
    mode: Mode,
    readers: &Readers,
    frozen: &[bool],
) -> Vec<Option<NodeId>> {
    let is_norm =
        |id: &NodeId| matches!(graph.node(*id).op, Op::BatchNorm { .. }) && !frozen[id.index()];
    let norm_of = |id: NodeId| match graph.node(id).op {
        Op::Conv2d { .. } if mode == Mode::Train => readers.only(id).filter(is_norm),
        _ => None,
    };
    graph.ids().map(norm_of).collect()
}

fn members(step: &Step) -> Vec<NodeId> {
    match *step {
        Step::Single(node) => vec![node],
        Step::NormAct { norm, act } => vec![norm, act],
        Step::ConvNormAct { conv, norm, act } => {
            [Some(conv), norm, act].into_iter().flatten().collect()
        }
    }
}

fn needed(graph: &Graph, outputs: &[NodeId]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    for id in outputs {
        needed[id.index()] = true;
    }
    for id in graph.ids().rev() {
        if needed[id.index()] {
            for input in &graph.node(id).inputs {
                needed[input.index()] = true;
            }
        }
    }
    needed
}

/// The readers of each value, for deciding what to fuse.
pub(super) struct Readers(Vec<Vec<Option<NodeId>>>);

impl Readers {
    /// The readers of the values that `outputs` need.
    pub(super) fn new(graph: &Graph, outputs: &[NodeId]) -> Self {
        let needed = needed(graph, outputs);
        let mut readers = vec![Vec::new(); graph.nodes.len()];
        for id in graph.ids().filter(|id| needed[id.index()]) {
            for input in &graph.node(id).inputs {
                readers[input.index()].push(Some(id));
            }
        }
        for id in outputs {
            readers[id.index()].push(None); // read by the caller, so it must be written out
        }
        Readers(readers)
    }

    /// Whether a value has any reader.
    pub(super) fn are_any(&self, id: NodeId) -> bool {
        !self.0[id.index()].is_empty()
    }

    /// The only node that reads a value, if there is exactly one reader and it is a node.
    pub(super) fn only(&self, id: NodeId) -> Option<NodeId> {
        match self.0[id.index()].as_slice() {
            [one] => *one,
            _ => None,
        }
    }
}
