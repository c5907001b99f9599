//! The sources of each node: its inputs, or, if a convolution reads a concatenation and the upsampling before it in
//! place, the values that those would have combined.

use kernels::conv2d::Inputs;

use super::Mode;
use super::steps::Readers;
use crate::graph::{Graph, Interpolation, Node, NodeId, Op};

/// A value that a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The node whose value is read.
    pub node: NodeId,
    /// Whether each of its pixels is read as 2×2 pixels, so that it covers twice its height and width.
    pub doubled: bool,
}

/// The sources of every node, and which nodes are read in place and so never run; both indexed by node.
pub(super) struct Sources {
    pub(super) of: Vec<Vec<Source>>,
    pub(super) in_place: Vec<bool>,
}

impl Sources {
    pub(super) fn new(graph: &Graph, mode: Mode, readers: &Readers, gradients: &[bool]) -> Self {
        let plain = |node: &Node| {
            node.inputs
                .iter()
                .map(|id| Source {
                    node: *id,
                    doubled: false,
                })
                .collect()
        };
        let mut sources = Sources {
            of: graph.nodes.iter().map(plain).collect(),
            in_place: vec![false; graph.nodes.len()],
        };
        for conv in graph
            .ids()
            .filter(|id| readers.are_any(*id) && reads_parts(&graph.node(*id).op))
        {
            let mut passed = Vec::new();
            let parts = parts(graph, readers, conv, &mut passed);
            // The gradients of all parts are written at once, so each must be needed and have a buffer of its own, or
            // none is needed.
            let needed = parts
                .iter()
                .filter(|part| gradients[part.node.index()])
                .count();
            let wanted = mode == Mode::Infer || needed == parts.len() || needed == 0;
            if wanted && parts.len() <= Inputs::MAX && distinct(&parts) {
                sources.of[conv.index()] = parts;
                passed
                    .into_iter()
                    .for_each(|id| sources.in_place[id.index()] = true);
            }
        }
        sources
    }
}

/// Whether an operation is a convolution whose fast path reads parts in place.
fn reads_parts(op: &Op) -> bool {
    matches!(op, Op::Conv2d { window, .. } if window.kernel == [3, 3] && window.stride == 1)
}

/// The sources of `conv` if no node in between is written out; those nodes are appended to `passed`.
fn parts(graph: &Graph, readers: &Readers, conv: NodeId, passed: &mut Vec<NodeId>) -> Vec<Source> {
    let input = graph.node(conv).inputs[0];
    let joined = match graph.node(input).op {
        Op::Concat if readers.only(input) == Some(conv) => {
            passed.push(input);
            graph.node(input).inputs.clone()
        }
        _ => vec![input],
    };
    let reader = passed.last().copied().unwrap_or(conv);
    joined
        .into_iter()
        .map(|id| match graph.node(id).op {
            Op::Upsample2x {
                mode: Interpolation::Nearest,
            } if readers.only(id) == Some(reader) => {
                passed.push(id);
                Source {
                    node: graph.node(id).inputs[0],
                    doubled: true,
                }
            }
            _ => Source {
                node: id,
                doubled: false,
            },
        })
        .collect()
}

fn distinct(parts: &[Source]) -> bool {
    parts
        .iter()
        .enumerate()
        .all(|(i, part)| parts[..i].iter().all(|other| other.node != part.node))
}
