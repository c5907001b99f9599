//! What the codes of each node mean that is stored as codes.

use kernels::quantized::Affine;

use crate::graph::{Graph, NodeId};
use crate::plan::Plan;
use crate::quantization::Ranges;

/// What the codes of each node mean, indexed by node; `None` for a node whose value stays `f32`.
#[derive(Clone, Debug)]
pub(super) struct Codes(Vec<Option<Affine>>);

impl Codes {
    pub(super) fn new(graph: &Graph, ranges: &Ranges) -> Self {
        let affine = |range: [f32; 2]| Affine::of_range(range[0], range[1]);
        let affines = graph.ids().map(|id| ranges.get(graph, id).map(affine));
        Codes(affines.collect())
    }

    pub(super) fn get(&self, id: NodeId) -> Option<Affine> {
        self.0[id.index()]
    }

    /// Which nodes have codes.
    pub(super) fn coded(&self) -> Vec<bool> {
        self.0.iter().map(Option::is_some).collect()
    }

    /// The meaning of the codes of each value that a node's step reads.
    pub(super) fn of_sources(&self, plan: &Plan, id: NodeId) -> Option<Vec<Affine>> {
        let sources = plan.sources[id.index()].iter();
        sources.map(|source| self.get(source.node)).collect()
    }
}
