//! Values stored as codes: what each node's codes mean, and the operations that read and write them.
//!
//! Convolutions, sums, scales and global averages read codes as they are. Any other operation reads `f32` values that
//! are widened before its step, and its `f32` result is coded after it, so that every network runs.

use std::mem;

use kernels::Buffer;
use kernels::quantized::{self, Affine, Output, Quantized};

use super::pass::{Done, Pass};
use crate::graph::{Graph, NodeId, Op};
use crate::plan::{Kind, Plan, Step};
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

/// The coded values that a step reads, as `f32`, and the `f32` result of a step that is to be coded.
#[derive(Debug, Default)]
pub(super) struct Widened {
    values: Vec<(NodeId, Buffer)>,
    /// How many of `values` belong to the current step; the others are kept for their memory.
    used: usize,
    result: Buffer,
}

impl Widened {
    fn next(&mut self, id: NodeId, len: usize) -> &mut [f32] {
        if self.used == self.values.len() {
            self.values.push((id, Buffer::default()));
        }
        let (node, buffer) = &mut self.values[self.used];
        self.used += 1;
        *node = id;
        buffer.at_least(len)
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Buffer> {
        let mut values = self.values[..self.used].iter();
        values.find(|(node, _)| *node == id).map(|(_, value)| value)
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

    /// Widens the coded values that a step reads, unless it reads codes.
    pub(super) fn widen_sources(&mut self, step: &Step) {
        self.widened.used = 0;
        if self.codes.is_none() || self.runs_on_codes(step.first()) {
            return;
        }
        let mut widened = mem::take(self.widened);
        for source in &self.plan.sources[step.first().index()] {
            if let Some(value) = self.quantized(source.node) {
                quantized::dequantize(value, widened.next(source.node, value.data.len()));
            }
        }
        *self.widened = widened;
    }

    /// Whether the step of a node reads codes without widening them.
    pub(super) fn runs_on_codes(&self, id: NodeId) -> bool {
        match self.graph.node(id).op {
            Op::Conv2d { .. } => self.plan.quantized_conv(self.graph, id).is_some(),
            Op::Depthwise { .. } | Op::Add | Op::GlobalAvgPool => self.plan.reads_codes(id),
            // The factors are a vector, which is never coded.
            Op::ScaleChannels => self.is_coded(self.input(id, 0)),
            _ => false,
        }
    }

    /// Writes a node's value as `f32` into the result's buffer, and codes it.
    pub(super) fn write_widened(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, &mut [f32], &mut Buffer),
    ) -> Done {
        let mut result = mem::take(&mut self.widened.result);
        let values = result.at_least(self.shape(id).len());
        let mut scratch = mem::take(self.scratch);
        body(self, values, &mut scratch);
        *self.scratch = scratch;
        self.write_coded(id, |_, y, _| match y {
            Output::F32(y) => y.copy_from_slice(values),
            Output::U8(y, affine) => quantized::quantize(values, affine, y),
        })?;
        self.widened.result = result;
        Ok(())
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
