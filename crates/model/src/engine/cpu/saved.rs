//! State that a pass keeps in addition to the plan's buffers.

use crate::engine::written::Written;
use crate::graph::{Graph, Op};

/// What the backward pass needs from the forward pass in addition to the plan's values, indexed by node.
#[derive(Debug)]
pub(super) struct Saved {
    /// Batch mean and biased variance of each batch norm.
    pub(super) statistics: Vec<(Vec<f32>, Vec<f32>)>,
    /// Where each maximum was found.
    pub(super) argmax: Vec<Vec<u32>>,
    /// Which gradients the backward pass has written.
    pub(super) written: Written,
}

impl Saved {
    pub(super) fn new(graph: &Graph) -> Self {
        let n = graph.nodes.len();
        let statistics = graph
            .nodes
            .iter()
            .map(|node| match node.op {
                Op::BatchNorm { .. } => (vec![0.0; node.channels], vec![0.0; node.channels]),
                _ => (Vec::new(), Vec::new()),
            })
            .collect();
        Saved {
            statistics,
            argmax: vec![Vec::new(); n],
            written: Written::new(n),
        }
    }
}
