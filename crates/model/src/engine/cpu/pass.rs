//! One pass over a plan: what a step can see, and which file runs which operation.

use std::mem;

use kernels::conv2d::PartGradient;
use kernels::{Accumulate, Buffer, Nhwc};

use super::buffers::Buffers;
use super::prepared::Prepared;
use super::{conv, elementwise, norm, shape_ops};
use crate::engine::Value;
use crate::graph::{Graph, NodeId, Op, ParamId};
use crate::plan::{Plan, Step};
use crate::store::ParamStore;

/// What a forward pass leaves for the backward pass beside the plan's values, indexed as the graph's nodes.
#[derive(Debug)]
pub(super) struct Saved {
    /// Batch mean and biased variance of each batch norm.
    pub(super) statistics: Vec<(Vec<f32>, Vec<f32>)>,
    /// Where each maximum was found.
    pub(super) argmax: Vec<Vec<u32>>,
    /// Whether a value's gradient has been written in this backward pass (else the next write replaces).
    written: Vec<bool>,
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
            written: vec![false; n],
        }
    }

    /// What the next write to a value's gradient must do.
    fn mark(&mut self, id: NodeId) -> Accumulate {
        if mem::replace(&mut self.written[id.index()], true) {
            Accumulate::Add
        } else {
            Accumulate::Replace
        }
    }
}

/// The state of one pass.
pub(super) struct Pass<'a> {
    pub(super) graph: &'a Graph,
    pub(super) plan: &'a Plan,
    pub(super) params: &'a ParamStore,
    pub(super) buffers: &'a mut Buffers,
    pub(super) saved: &'a mut Saved,
    pub(super) prepared: &'a Prepared,
    pub(super) scratch: &'a mut Buffer,
    pub(super) seed: u64,
}

impl Pass<'_> {
    /// Copies the images into the input's buffer.
    pub(super) fn load(&mut self, images: &[f32]) {
        self.write(NodeId(0), |_, y, _| y.copy_from_slice(images));
    }

    /// Copies a value out.
    pub(super) fn copy_out(&self, id: NodeId) -> Value {
        Value {
            data: self.value(id).to_vec(),
            shape: self.shape(id),
        }
    }

    /// Runs one step forward.
    pub(super) fn forward(&mut self, step: &Step) {
        match *step {
            Step::Single(id) => self.forward_node(id),
            Step::NormAct { norm, act } => norm::forward(self, norm, Some(act)),
            Step::ConvNormAct { conv, norm, act } => conv::forward_fused(self, conv, norm, act),
        }
    }

    fn forward_node(&mut self, id: NodeId) {
        match self.graph.node(id).op {
            Op::Input { .. } => {}
            Op::Conv2d { .. } | Op::Depthwise { .. } => conv::forward_fused(self, id, None, None),
            Op::ConvTranspose2x2 { .. } => conv::forward_transposed(self, id),
            Op::Linear { .. } => conv::forward_linear(self, id),
            Op::BatchNorm { .. } => norm::forward(self, id, None),
            Op::Activation { kind } => elementwise::forward_activation(self, id, kind),
            Op::Add => elementwise::forward_add(self, id),
            Op::Mean => elementwise::forward_mean(self, id),
            Op::ScaleChannels => elementwise::forward_scale(self, id),
            Op::DropPath { rate } => elementwise::forward_drop_path(self, id, rate),
            Op::Dropout { rate } => elementwise::forward_dropout(self, id, rate),
            Op::MaxPool { window } => shape_ops::forward_max_pool(self, id, window),
            Op::GlobalAvgPool => shape_ops::forward_global_avg_pool(self, id),
            Op::Upsample2x { mode } => shape_ops::forward_upsample(self, id, mode),
            Op::Concat => shape_ops::forward_concat(self, id),
            Op::Crop { margin } => shape_ops::forward_crop(self, id, margin),
        }
    }

    /// Runs all steps backward from the outputs' gradients.
    pub(super) fn backward_all(&mut self, output_grads: &[Vec<f32>], grads: &mut ParamStore) {
        self.saved.written.fill(false);
        let plan = self.plan;
        for (id, grad) in plan.outputs.iter().zip(output_grads) {
            self.write_grad(*id, |_, dy, acc, _| {
                kernels::elementwise::accumulate(grad, dy, acc)
            });
        }
        for step in plan.steps.iter().rev() {
            if self.saved.written[step.last().index()] {
                self.backward(step, grads);
            }
        }
    }

    fn backward(&mut self, step: &Step, grads: &mut ParamStore) {
        match *step {
            Step::Single(id) => self.backward_node(id, grads),
            Step::NormAct { norm, act } => norm::backward(self, norm, Some(act), grads),
            Step::ConvNormAct { .. } => unreachable!("training plans do not fold convolutions"),
        }
    }

    fn backward_node(&mut self, id: NodeId, grads: &mut ParamStore) {
        match self.graph.node(id).op {
            Op::Input { .. } => {}
            Op::Conv2d { .. } => conv::backward_dense(self, id, grads),
            Op::Depthwise { .. } => conv::backward_depthwise(self, id, grads),
            Op::ConvTranspose2x2 { .. } => conv::backward_transposed(self, id, grads),
            Op::Linear { .. } => conv::backward_linear(self, id, grads),
            Op::BatchNorm { .. } => norm::backward(self, id, None, grads),
            Op::Activation { kind } => elementwise::backward_activation(self, id, kind),
            Op::Add => elementwise::backward_add(self, id),
            Op::Mean => elementwise::backward_mean(self, id),
            Op::ScaleChannels => elementwise::backward_scale(self, id),
            Op::DropPath { rate } => elementwise::backward_drop_path(self, id, rate),
            Op::Dropout { rate } => elementwise::backward_dropout(self, id, rate),
            Op::MaxPool { window } => shape_ops::backward_max_pool(self, id, window),
            Op::GlobalAvgPool => shape_ops::backward_global_avg_pool(self, id),
            Op::Upsample2x { mode } => shape_ops::backward_upsample(self, id, mode),
            Op::Concat => shape_ops::backward_concat(self, id),
            Op::Crop { margin } => shape_ops::backward_crop(self, id, margin),
        }
    }

    /// A node's `k`-th input.
    pub(super) fn input(&self, id: NodeId, k: usize) -> NodeId {
        self.graph.node(id).inputs[k]
    }

    /// A node's `k`-th parameter.
    pub(super) fn param_id(&self, id: NodeId, k: usize) -> ParamId {
        self.graph.node(id).params[k]
    }

    /// Values of a node's `k`-th parameter.
    pub(super) fn param(&self, id: NodeId, k: usize) -> &[f32] {
        self.params.get(self.param_id(id, k))
    }

    /// Shape of a node's value.
    pub(super) fn shape(&self, id: NodeId) -> Nhwc {
        self.plan.shapes[id.index()]
    }

    /// A node's value. The plan has a buffer for every value that a step reads.
    pub(super) fn value(&self, id: NodeId) -> &[f32] {
        match self.plan.values[id.index()] {
            Some(slot) => self.buffers.get(slot, self.shape(id).len()),
            None => &[],
        }
    }

    /// The gradient of a node's value, complete once its step runs backward.
    pub(super) fn grad(&self, id: NodeId) -> &[f32] {
        match self.plan.grads[id.index()] {
            Some(slot) => self.buffers.get(slot, self.shape(id).len()),
            None => &[],
        }
    }

    /// Writes a node's value: `body` gets the pass to read from, the buffer, and the scratch buffer.
    pub(super) fn write(&mut self, id: NodeId, body: impl FnOnce(&Self, &mut [f32], &mut Buffer)) {
        let Some(slot) = self.plan.values[id.index()] else {
            return;
        };
        let (mut buffer, mut scratch) = (self.buffers.take(slot), mem::take(self.scratch));
        let len = self.shape(id).len();
        body(self, &mut buffer[..len], &mut scratch);
        *self.scratch = scratch;
        self.buffers.put(slot, buffer);
    }

    /// Writes or adds to the gradient of a node's value, where one is wanted: `body` also learns which of the two.
    pub(super) fn write_grad(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, &mut [f32], Accumulate, &mut Buffer),
    ) {
        let Some(slot) = self.plan.grads[id.index()] else {
            return;
        };
        let acc = self.saved.mark(id);
        let (mut buffer, mut scratch) = (self.buffers.take(slot), mem::take(self.scratch));
        let len = self.shape(id).len();
        body(self, &mut buffer[..len], acc, &mut scratch);
        *self.scratch = scratch;
        self.buffers.put(slot, buffer);
    }

    /// Values of a node's sources.
    pub(super) fn parts(&self, id: NodeId) -> Vec<&[f32]> {
        let sources = &self.plan.sources[id.index()];
        sources
            .iter()
            .map(|source| self.value(source.node))
            .collect()
    }

    /// As [`Pass::write_grad`], for all sources of a node at once; where no gradient is wanted `body` is not called.
    pub(super) fn write_source_grads(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, &mut [PartGradient<'_>], &mut Buffer),
    ) {
        let mut taken = Vec::new();
        for source in &self.plan.sources[id.index()] {
            let Some(slot) = self.plan.grads[source.node.index()] else {
                continue; // a plan has the gradients of all sources of a node, or of none
            };
            let len = self.shape(source.node).len();
            taken.push((
                slot,
                self.buffers.take(slot),
                len,
                self.saved.mark(source.node),
            ));
        }
        if taken.is_empty() {
            return;
        }
        let mut scratch = mem::take(self.scratch);
        let mut parts: Vec<_> = taken
            .iter_mut()
            .map(|(_, buffer, len, acc)| PartGradient {
                data: &mut buffer[..*len],
                acc: *acc,
            })
            .collect();
        body(self, &mut parts, &mut scratch);
        *self.scratch = scratch;
        for (slot, buffer, ..) in taken {
            self.buffers.put(slot, buffer);
        }
    }

    /// Lends the scratch buffer, for gradients of parameters.
    pub(super) fn with_scratch(&mut self, body: impl FnOnce(&Self, &mut Buffer)) {
        let mut scratch = mem::take(self.scratch);
        body(self, &mut scratch);
        *self.scratch = scratch;
    }
}
