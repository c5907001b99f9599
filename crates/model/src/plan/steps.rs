//! Which nodes run, in which order, and which of them as one.

use crate::graph::{Graph, NodeId, Op};

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Running statistics, no dropout, nothing kept: batch norms fold into the convolutions before them.
    Infer,
    /// Batch statistics, everything kept that backward reads.
    Train,
}

/// One call of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node on its own.
    Single(NodeId),
    /// Batch norm and the activation that alone reads it: one pass forward, two backward.
    NormAct {
        /// The batch norm.
        norm: NodeId,
        /// The activation.
        act: NodeId,
    },
    /// Convolution (dense or depthwise) with what follows folded into its last pass; inference only.
    ConvNormAct {
        /// The convolution.
        conv: NodeId,
        /// A batch norm folded into weights and bias.
        norm: Option<NodeId>,
        /// An activation applied as the output is written.
        act: Option<NodeId>,
    },
}

impl Step {
    /// The node whose value the step reads.
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

/// Whether an operation's backward pass reads its input again.
pub fn keeps_input(op: &Op) -> bool {
    match op {
        Op::Conv2d { .. }
        | Op::Depthwise { .. }
        | Op::ConvTranspose2x2 { .. }
        | Op::Linear { .. } => true,
        Op::BatchNorm { .. } | Op::Activation { .. } | Op::ScaleChannels => true,
        Op::Input { .. } | Op::MaxPool { .. } | Op::GlobalAvgPool | Op::Upsample2x { .. } => false,
        Op::Concat | Op::Add | Op::Mean | Op::Crop { .. } => false,
        Op::DropPath { .. } | Op::Dropout { .. } => false,
    }
}

/// The steps that make `outputs`, in graph order; nodes that are read `in_place` have none.
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

/// The norm that alone reads each dense convolution's value, in training.
pub(super) fn norms(graph: &Graph, mode: Mode, readers: &Readers) -> Vec<Option<NodeId>> {
    let is_norm = |id: &NodeId| matches!(graph.node(*id).op, Op::BatchNorm { .. });
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

/// Who reads each value, as far as fusing needs to know.
pub(super) struct Readers(Vec<Vec<Option<NodeId>>>);

impl Readers {
    /// Of the values that `outputs` need.
    pub(super) fn new(graph: &Graph, outputs: &[NodeId]) -> Self {
        let needed = needed(graph, outputs);
        let mut readers = vec![Vec::new(); graph.nodes.len()];
        for id in graph.ids().filter(|id| needed[id.index()]) {
            for input in &graph.node(id).inputs {
                readers[input.index()].push(Some(id));
            }
        }
        for id in outputs {
            readers[id.index()].push(None); // the caller reads it: it must be written out
        }
        Readers(readers)
    }

    /// Whether anyone reads a value.
    pub(super) fn are_any(&self, id: NodeId) -> bool {
        !self.0[id.index()].is_empty()
    }

    /// The one node that reads a value, if there is exactly one reader and it is a node.
    pub(super) fn only(&self, id: NodeId) -> Option<NodeId> {
        match self.0[id.index()].as_slice() {
            [one] => *one,
            _ => None,
        }
    }
}
