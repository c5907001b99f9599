//! State that a pass keeps in addition to the plan's buffers.

use crate::engine::written::Written;
use crate::graph::{Graph, Op};

/// What the backward pass needs from the forward pass in addition to the plan's values, indexed by node.
#[derive(Debug)]
pub(super) struct Saved {
    /// Statistics of each batch norm.
    pub(super) statistics: Vec<Statistics>,
    /// Where each maximum was found.
    pub(super) argmax: Vec<Vec<u32>>,
    /// Which gradients the backward pass has written.
    pub(super) written: Written,
}

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Statistics {
    pub(super) mean: Vec<f32>,
    pub(super) var: Vec<f32>,
    /// Number of pixels that they are taken from.
    pub(super) pixels: usize,
}

impl Statistics {
    fn of(channels: usize) -> Self {
        Statistics {
            mean: vec![0.0; channels],
            var: vec![0.0; channels],
            pixels: 0,
        }
    }
}

impl Saved {
    pub(super) fn new(graph: &Graph) -> Self {
        let n = graph.nodes.len();
        let statistics = graph
            .nodes
            .iter()
            .map(|node| match node.op {
                Op::BatchNorm { .. } => Statistics::of(node.channels),
                _ => Statistics::default(),
            })
            .collect();
        Saved {
            statistics,
            argmax: vec![Vec::new(); n],
            written: Written::new(n),
        }
    }
}
