//! Plans, which engines execute: fused steps in order, and the buffer of each value and each gradient over time.
//!
//! A plan is made for one graph, one mode and one batch shape, without any device; both engines follow the same one.
//! `steps.rs` decides which nodes are fused, `sources.rs` which values are read in place, `kinds.rs` the element types
//! in memory, and `memory.rs` which values share a buffer.
//!
//! Time runs through the forward steps and then, unless in inference, back through them: step `i` of 1..=`n` runs forward
//! at time `i` and backward at time `2(n + 1) − i`; at time `n + 1` the outputs are read and their gradients are loaded, and
//! at time `2(n + 1)` the gradients that the caller named are read. A value or gradient occupies its buffer only from the
//! time it is first written to the time it is last read.

mod kinds;
mod memory;
mod sources;
mod steps;

use std::iter;

use kernels::conv2d::{Conv2d, InputPart, Inputs};
use kernels::quantized::QuantizedConv;
use kernels::{Nhwc, Precision, Window};

use crate::graph::{Graph, NodeId, Op, ShapeError};

pub use kinds::Kind;
pub use memory::{Interval, Memory, SlotId, assign};
pub use sources::Source;
pub use steps::{Mode, Step, keeps_input};

use memory::Flow;
use sources::Sources;
use steps::Readers;

/// An execution plan; see the module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Inference, training, or gradients in inference mode.
    pub mode: Mode,
    /// Steps in forward order.
    pub steps: Vec<Step>,
    /// The values that each node's step reads, indexed by node: its inputs, or the parts of an input that a convolution
    /// reads in place.
    pub sources: Vec<Vec<Source>>,
    /// Shape of every node's value for this batch, indexed by node.
    pub shapes: Vec<Nhwc>,
    /// Element type of every node's value and gradient in memory.
    pub kinds: Vec<Kind>,
    /// In training, the norm that is the only reader of a dense convolution's value: its statistics can be computed
    /// along with the value.
    pub norms: Vec<Option<NodeId>>,
    /// Buffer of every node's value; `None` if a fused step never writes it out.
    pub values: Vec<Option<SlotId>>,
    /// Buffer of every value's gradient; `None` if none is needed.
    pub grads: Vec<Option<SlotId>>,
    /// Length of every buffer in four-byte words.
    pub slots: Vec<usize>,
    /// Values that are copied out, in the caller's order.
    pub outputs: Vec<NodeId>,
    /// In training, the nodes that run as in inference: with running statistics, which they do not update, and without
    /// drop path. Indexed by node.
    pub frozen: Vec<bool>,
    /// Precision of convolutions' products.
    pub precision: Precision,
}

impl Plan {
    /// Plans `graph` for batches of `batch` images of `height × width`, with the values that the caller will read.
    pub fn new(
        graph: &Graph,
        mode: Mode,
        batch: usize,
        height: usize,
        width: usize,
        outputs: &[NodeId],
    ) -> Result<Plan, ShapeError> {
        Plan::with_features(graph, Kind::F32, mode, (batch, height, width), outputs)
    }

    /// The same with feature maps of another kind in memory.
    pub fn with_features(
        graph: &Graph,
        features: Kind,
        mode: Mode,
        batch: (usize, usize, usize),
        outputs: &[NodeId],
    ) -> Result<Plan, ShapeError> {
        Plan::with_frozen(graph, features, mode, batch, outputs, false)
    }

    /// The same, where training may leave the encoder frozen: its parameters then have no gradients, no gradient flows
    /// into it, and its values are kept only where what follows it reads them.
    pub fn with_frozen(
        graph: &Graph,
        features: Kind,
        mode: Mode,
        (batch, height, width): (usize, usize, usize),
        outputs: &[NodeId],
        encoder: bool,
    ) -> Result<Plan, ShapeError> {
        let frozen: Vec<bool> = graph
            .ids()
            .map(|id| encoder && mode == Mode::Train && graph.in_encoder(id))
            .collect();
        let flow = Flow {
            needed: &memory::reaches_parameters(graph, &frozen),
            loaded: outputs,
            read: &[],
        };
        let batch = (batch, height, width);
        let kinds = |readers: &Readers| kinds::kinds(graph, features, readers);
        Plan::with_flow(graph, kinds, mode, batch, outputs, &frozen, &flow)
    }

    /// A plan for inference that stores the values of nodes for which `coded` (indexed by node) holds as
    /// [codes](Kind::U8), except those that must be f32.
    pub fn quantized(
        graph: &Graph,
        coded: &[bool],
        batch: (usize, usize, usize),
        outputs: &[NodeId],
    ) -> Result<Plan, ShapeError> {
        let kinds = |readers: &Readers| kinds::coded_kinds(graph, coded, readers);
        Plan::for_inference(graph, kinds, batch, outputs)
    }

    /// A plan for inference on the CPU that stores all values as bf16 except those that must be f32, and the images.
    pub fn bf16(
        graph: &Graph,
        batch: (usize, usize, usize),
        outputs: &[NodeId],
    ) -> Result<Plan, ShapeError> {
        let kinds = |readers: &Readers| kinds::bf16_kinds(graph, readers);
        let plan = Plan::for_inference(graph, kinds, batch, outputs)?;
        Ok(plan.with_precision(Precision::Bf16))
    }

    fn for_inference(
        graph: &Graph,
        kinds: impl FnOnce(&Readers) -> Vec<Kind>,
        batch: (usize, usize, usize),
        outputs: &[NodeId],
    ) -> Result<Plan, ShapeError> {
        let none = vec![false; graph.nodes.len()];
        let flow = Flow {
            needed: &none,
            loaded: outputs,
            read: &[],
        };
        Plan::with_flow(graph, kinds, Mode::Infer, batch, outputs, &none, &flow)
    }

    /// A plan for the gradients, in inference mode, of the value of `of` with respect to the values of `at`; its outputs
    /// are the value of `of` and then those of `at`. All values are f32.
    pub fn sensitivities(
        graph: &Graph,
        batch: (usize, usize, usize),
        of: NodeId,
        at: &[NodeId],
    ) -> Result<Plan, ShapeError> {
        let outputs: Vec<NodeId> = iter::once(of).chain(at.iter().copied()).collect();
        let frozen = vec![false; graph.nodes.len()];
        let flow = Flow {
            needed: &memory::reaches(graph, |id| at.contains(&id)),
            loaded: &[of],
            read: at,
        };
        let mode = Mode::Sensitivity;
        let kinds = |_: &Readers| vec![Kind::F32; graph.nodes.len()];
        Plan::with_flow(graph, kinds, mode, batch, &outputs, &frozen, &flow)
    }

    fn with_flow(
        graph: &Graph,
        kinds: impl FnOnce(&Readers) -> Vec<Kind>,
        mode: Mode,
        (batch, height, width): (usize, usize, usize),
        outputs: &[NodeId],
        frozen: &[bool],
        flow: &Flow<'_>,
    ) -> Result<Plan, ShapeError> {
        let shapes: Vec<Nhwc> = graph
            .shapes(height, width)?
            .into_iter()
            .map(|s| s.batch(batch))
            .collect();
        if shapes.iter().any(|shape| shape.checked_len().is_none()) {
            return Err(ShapeError::Batch {
                batch,
                height,
                width,
            });
        }
        let readers = Readers::new(graph, outputs);
        let Sources {
            of: sources,
            in_place,
        } = Sources::new(graph, mode, &readers, flow.needed);
        let steps = steps::fuse(graph, mode, &readers, &in_place);
        let kinds = kinds(&readers);
        let words: Vec<usize> = shapes
            .iter()
            .zip(&kinds)
            .map(|(shape, kind)| kind.words(shape.len()))
            .collect();
        let Memory {
            values,
            grads,
            slots,
        } = memory::plan(graph, mode, &steps, &sources, flow, &words, outputs);
        Ok(Plan {
            mode,
            steps,
            sources,
            shapes,
            kinds,
            norms: steps::norms(graph, mode, &readers, frozen),
            values,
            grads,
            slots,
            outputs: outputs.to_vec(),
            frozen: frozen.to_vec(),
            precision: Precision::F32,
        })
    }

    /// The same with convolutions of another precision.
    pub fn with_precision(self, precision: Precision) -> Plan {
        Plan { precision, ..self }
    }

    /// Whether a node runs as in training: a norm with the batch's statistics, dropout and drop path with draws.
    pub fn trains(&self, id: NodeId) -> bool {
        self.mode == Mode::Train && !self.frozen[id.index()]
    }

    /// The kernels' description of a dense convolution; `None` for any other node.
    pub fn conv2d(&self, graph: &Graph, id: NodeId) -> Option<Conv2d> {
        let (xs, inputs, out_channels, window) = self.dense(graph, id)?;
        let [forward, backward] = self.precisions();
        let conv = Conv2d::new(xs, out_channels, window);
        let conv = match self.mode {
            Mode::Train => conv,
            Mode::Infer | Mode::Sensitivity => conv.for_inference(),
        };
        let conv = conv.with_precisions(forward, backward);
        Some(inputs.map_or(conv, |inputs| conv.joined(inputs)))
    }

    /// The kernels' description of a dense convolution that reads codes; `None` for any other node, if a value that it
    /// reads is not coded, and where the kernels have no such convolution.
    pub fn quantized_conv(&self, graph: &Graph, id: NodeId) -> Option<QuantizedConv> {
        let (xs, inputs, out_channels, window) = self.dense(graph, id)?;
        match self.reads_codes(id) {
            true => QuantizedConv::new(xs, inputs?, out_channels, window),
            false => None,
        }
    }

    /// Whether all values that a node's step reads are stored as codes.
    pub fn reads_codes(&self, id: NodeId) -> bool {
        let sources = &self.sources[id.index()];
        let coded = |source: &Source| self.kinds[source.node.index()] == Kind::U8;
        !sources.is_empty() && sources.iter().all(coded)
    }

    /// Input shape, parts, output channels and window of a dense convolution.
    fn dense(&self, graph: &Graph, id: NodeId) -> Option<(Nhwc, Option<Inputs>, usize, Window)> {
        let node = graph.node(id);
        let Op::Conv2d {
            window,
            out_channels,
            ..
        } = node.op
        else {
            return None;
        };
        let part = |source: &Source| InputPart {
            channels: self.shapes[source.node.index()].c,
            doubled: source.doubled,
        };
        let parts: Vec<InputPart> = self.sources[id.index()].iter().map(part).collect();
        let xs = self.shapes[node.inputs[0].index()];
        Some((xs, Inputs::joined(&parts), out_channels, window))
    }

    /// Precisions of the forward and of the backward pass.
    ///
    /// In training only the backward pass uses the reduced precision. A deep network with random weights is chaotic,
    /// and rounding in the forward pass turns its gradient into noise: the error is 1.2 of the norm in
    /// EfficientNet-Lite0 with U-Net if all products are rounded (1.3 in PyTorch's autocast), 0.17 if only Winograd's
    /// are, and 0.03 if none is. Two thirds of a step's products are in the backward pass. Sensitivities are in f32: they
    /// are few, and are compared with differences of outputs.
    fn precisions(&self) -> [Precision; 2] {
        match self.mode {
            Mode::Train => [Precision::F32, self.precision],
            Mode::Infer => [self.precision; 2],
            Mode::Sensitivity => [Precision::F32; 2],
        }
    }

    /// Total bytes of all buffers.
    pub fn bytes(&self) -> usize {
        4 * self.slots.iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
