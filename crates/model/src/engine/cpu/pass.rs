//! The state of one pass over a plan: what a step can see, and the buffers that it writes.

use std::convert::Infallible;
use std::mem;

use kernels::conv2d::PartGradient;
use kernels::quantized::{Output, quantize};
use kernels::{Accumulate, Buffer, Nhwc};

use super::buffers::Buffers;
use super::codes::Codes;
use super::narrow::Widened;
use super::prepared::Prepared;
use super::saved::Saved;
use crate::engine::operations::Fallible;
use crate::engine::{Sensitivity, Value, Watch};
use crate::graph::{Graph, NodeId, ParamId};
use crate::plan::Plan;
use crate::store::ParamStore;

/// Nothing on the CPU can fail once a plan's buffers are allocated.
pub(super) type Done = Result<(), Infallible>;

/// The state of one pass.
pub(super) struct Pass<'a> {
    pub(super) graph: &'a Graph,
    pub(super) plan: &'a Plan,
    pub(super) params: &'a ParamStore,
    /// The parameters' gradients, in a backward pass.
    pub(super) grads: Option<&'a mut ParamStore>,
    /// Who is told of gradients that are final.
    pub(super) watched: Option<Watched<'a>>,
    pub(super) buffers: &'a mut Buffers,
    pub(super) saved: &'a mut Saved,
    pub(super) prepared: &'a Prepared,
    /// What codes mean, in an engine that stores values as codes.
    pub(super) codes: Option<&'a Codes>,
    pub(super) widened: &'a mut Widened,
    pub(super) scratch: &'a mut Buffer,
    pub(super) seed: u64,
}

/// Tells of the parameters' gradients that are final.
pub(super) struct Watched<'a> {
    watch: Watch<'a>,
    /// By number of steps that are still to be run backward, the first node from which on none of them is.
    done: Vec<NodeId>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(watch: Watch<'a>, plan: &Plan) -> Self {
        let mut done = vec![NodeId::INPUT];
        for step in &plan.steps {
            let after = NodeId(step.last().max(step.first()).0 + 1);
            done.push(after.max(done[done.len() - 1]));
        }
        Watched { watch, done }
    }

    /// Tells of the gradients while `before` steps are still to be run.
    pub(super) fn tell(&mut self, grads: &ParamStore, before: usize) {
        (self.watch)(grads, self.done[before]);
    }
}

impl Fallible for Pass<'_> {
    type Error = Infallible;
}

impl Pass<'_> {
    /// Copies the images into the input's buffer.
    pub(super) fn load(&mut self, images: &[f32]) -> Done {
        if self.is_coded(NodeId::INPUT) {
            return self.write_coded(NodeId::INPUT, |_, y, _| match y {
                Output::F32(y) => y.copy_from_slice(images),
                Output::U8(y, affine) => quantize(images, affine, y),
            });
        }
        self.write(NodeId::INPUT, |_, y, _| y.copy_from_slice(images))
    }

    /// Copies in or adds the gradient of an output.
    pub(super) fn load_grad(&mut self, id: NodeId, grad: &[f32]) -> Done {
        self.write_grad(id, |_, dy, acc, _| {
            kernels::elementwise::accumulate(grad, dy, acc)
        })
    }

    /// Copies a value out.
    pub(super) fn copy_out(&self, id: NodeId) -> Value {
        let data = if let Some(codes) = self.quantized(id) {
            let mut data = vec![0.0; codes.data.len()];
            kernels::quantized::dequantize(codes, &mut data);
            data
        } else if let Some(rounded) = self.bf16(id) {
            rounded.iter().map(|value| value.get()).collect()
        } else {
            self.value(id).to_vec()
        };
        Value {
            data,
            shape: self.shape(id),
        }
    }

    /// A value with its gradient, which is zero if the backward pass did not reach it.
    pub(super) fn sensitivity(&self, id: NodeId, value: Value) -> Sensitivity {
        let gradient = match self.saved.written.has(id) {
            true => self.grad(id).to_vec(),
            false => vec![0.0; value.data.len()],
        };
        Sensitivity { value, gradient }
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

    /// A node's value. The plan has a buffer for every value that a step reads; if it is not stored as `f32`, it
    /// has been widened before the step.
    pub(super) fn value(&self, id: NodeId) -> &[f32] {
        if self.is_narrow(id) {
            let widened = self.widened.get(id);
            return widened.map_or(&[], |value| &value[..self.shape(id).len()]);
        }
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
    pub(super) fn write(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, &mut [f32], &mut Buffer),
    ) -> Done {
        if self.is_narrow(id) {
            return self.write_widened(id, body);
        }
        let Some(slot) = self.plan.values[id.index()] else {
            return Ok(());
        };
        let (mut buffer, mut scratch) = (self.buffers.take(slot), mem::take(self.scratch));
        let len = self.shape(id).len();
        body(self, &mut buffer[..len], &mut scratch);
        *self.scratch = scratch;
        self.buffers.put(slot, buffer);
        Ok(())
    }

    /// Writes or adds to the gradient of a node's value, if one is needed; the [`Accumulate`] passed to `body` states
    /// which.
    pub(super) fn write_grad(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, &mut [f32], Accumulate, &mut Buffer),
    ) -> Done {
        let Some(slot) = self.plan.grads[id.index()] else {
            return Ok(());
        };
        let acc = self.saved.written.mark(id);
        let (mut buffer, mut scratch) = (self.buffers.take(slot), mem::take(self.scratch));
        let len = self.shape(id).len();
        body(self, &mut buffer[..len], acc, &mut scratch);
        *self.scratch = scratch;
        self.buffers.put(slot, buffer);
        Ok(())
    }

    /// The values of a node's sources.
    pub(super) fn parts(&self, id: NodeId) -> Vec<&[f32]> {
        let sources = &self.plan.sources[id.index()];
        sources
            .iter()
            .map(|source| self.value(source.node))
            .collect()
    }

    /// As [`Pass::write_grad`], for all sources of a node at once; if no gradient is needed, `body` is not called.
    pub(super) fn write_source_grads(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, &mut [PartGradient<'_>], &mut Buffer),
    ) -> Done {
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
                self.saved.written.mark(source.node),
            ));
        }
        if taken.is_empty() {
            return Ok(());
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
        Ok(())
    }

    /// Writes the gradient of a node's `k`-th parameter: `body` gets the same arguments as in [`Pass::write`].
    pub(super) fn write_param_grad(
        &mut self,
        id: NodeId,
        k: usize,
        body: impl FnOnce(&Self, &mut [f32], &mut Buffer),
    ) -> Done {
        self.with_param_grads(|pass, grads| {
            let mut scratch = mem::take(pass.scratch);
            body(pass, grads.get_mut(pass.param_id(id, k)), &mut scratch);
            *pass.scratch = scratch;
            Ok(())
        })
    }

    /// Passes the parameters' gradients to `body`; outside a backward pass there are none, and `body` is not called.
    pub(super) fn with_param_grads(
        &mut self,
        body: impl FnOnce(&mut Self, &mut ParamStore) -> Done,
    ) -> Done {
        let Some(grads) = self.grads.take() else {
            return Ok(());
        };
        let done = body(self, grads);
        self.grads = Some(grads);
        done
    }
}
