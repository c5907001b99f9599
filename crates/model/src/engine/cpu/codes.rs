//! Values stored as codes: what each node's codes mean, and how steps read and write them.

use std::mem;

use kernels::Buffer;
use kernels::quantized::{Affine, Output, Quantized};

use super::pass::{Done, Pass};
use crate::graph::{Graph, NodeId};
use crate::plan::{Kind, Plan};
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

impl Pass<'_> {
    /// Whether a node's value is stored as codes.
    pub(super) fn is_coded(&self, id: NodeId) -> bool {
        self.plan.kinds[id.index()] == Kind::U8
    }

    /// A node's value as codes, if that is how it is stored.
    pub(super) fn quantized(&self, id: NodeId) -> Option<Quantized<'_>> {
        let affine = self.codes?.get(id).filter(|_| self.is_coded(id))?;
        let slot = self.plan.values[id.index()]?;
        let data = &self.buffers.bytes(slot)[..self.shape(id).len()];
        Some(Quantized { data, affine })
    }

    /// The values of a node's sources as codes, if all are.
    pub(super) fn quantized_parts(&self, id: NodeId) -> Option<Vec<Quantized<'_>>> {
        let sources = self.plan.sources[id.index()].iter();
        sources.map(|source| self.quantized(source.node)).collect()
    }

    /// Writes a node's value in the form in which it is stored.
    pub(super) fn write_coded(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, Output<'_>, &mut Buffer),
    ) -> Done {
        let Some(slot) = self.plan.values[id.index()] else {
            return Ok(());
        };
        let (mut buffer, mut scratch) = (self.buffers.take(slot), mem::take(self.scratch));
        let len = self.shape(id).len();
        let affine = self.codes.and_then(|codes| codes.get(id));
        let y = match affine.filter(|_| self.is_coded(id)) {
            Some(affine) => Output::U8(&mut buffer.bytes_mut()[..len], affine),
            None => Output::F32(&mut buffer[..len]),
        };
        body(self, y, &mut scratch);
        *self.scratch = scratch;
        self.buffers.put(slot, buffer);
        Ok(())
    }
}
