//! What an engine executes: fused steps in order, and which buffer holds each value and each gradient when.
//!
//! A plan is made for one graph, one mode and one batch shape, without any device; both engines follow the same
//! one. `steps.rs` decides what fuses, `sources.rs` what is read in place, `kinds.rs` how values lie in memory,
//! `memory.rs` what shares it.
//!
//! Time runs through the forward steps and then, in training, back through them: step `i` of `n` runs forward at
//! time `i` and backward at time `2n − i`; at time `n` the outputs are read and their gradients come in. A value or
//! a gradient occupies its buffer from the time it is first written to the time it is last read, and never else.

mod kinds;
mod memory;
mod sources;
mod steps;

use kernels::conv2d::{Conv2d, InputPart, Inputs};
use kernels::{Nhwc, Precision};

use crate::graph::{Graph, NodeId, Op, ShapeError};

pub use kinds::Kind;
pub use memory::{Interval, Memory, SlotId, assign};
pub use sources::Source;
pub use steps::{Mode, Step, keeps_input};

use sources::Sources;
use steps::Readers;

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Inference or training.
    pub mode: Mode,
    /// Steps in forward order.
    pub steps: Vec<Step>,
    /// What each node's step reads, indexed as the graph's nodes: its inputs, or the parts of an input that a convolution
    /// reads in place.
    pub sources: Vec<Vec<Source>>,
    /// Shape of every node's value for this batch, indexed as the graph's nodes.
    pub shapes: Vec<Nhwc>,
    /// How every node's value and gradient lie in memory.
    pub kinds: Vec<Kind>,
    /// In training, the norm that alone reads a dense convolution's value: its statistics can be taken as the value is made.
    pub norms: Vec<Option<NodeId>>,
    /// Buffer of every node's value; `None` where a fused step never writes it out.
    pub values: Vec<Option<SlotId>>,
    /// Buffer of every value's gradient; `None` where none is needed.
    pub grads: Vec<Option<SlotId>>,
    /// Length of every buffer in words of four bytes.
    pub slots: Vec<usize>,
    /// Values that are copied out, in the caller's order.
    pub outputs: Vec<NodeId>,
    /// What convolutions multiply.
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
        (batch, height, width): (usize, usize, usize),
        outputs: &[NodeId],
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
        let trains = memory::reaches_parameters(graph);
        let Sources {
            of: sources,
            in_place,
        } = Sources::new(graph, mode, &readers, &trains);
        let steps = steps::fuse(graph, mode, &readers, &in_place);
        let kinds = kinds::kinds(graph, features, &readers);
        let words: Vec<usize> = shapes
            .iter()
            .zip(&kinds)
            .map(|(shape, kind)| kind.words(shape.len()))
            .collect();
        let Memory {
            values,
            grads,
            slots,
        } = memory::plan(graph, mode, &steps, &sources, &trains, &words, outputs);
        Ok(Plan {
            mode,
            steps,
            sources,
            shapes,
            kinds,
            norms: steps::norms(graph, mode, &readers),
            values,
            grads,
            slots,
            outputs: outputs.to_vec(),
            precision: Precision::F32,
        })
    }

    /// The same with convolutions of another precision.
    pub fn with_precision(self, precision: Precision) -> Plan {
        Plan { precision, ..self }
    }

    /// A dense convolution as the kernels know it; `None` for any other node.
    pub fn conv2d(&self, graph: &Graph, id: NodeId) -> Option<Conv2d> {
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
        let conv = Conv2d::new(xs, out_channels, window)
            .with_precisions(self.forward_precision(), self.precision);
        Some(Inputs::joined(&parts).map_or(conv, |inputs| conv.joined(inputs)))
    }

    /// Training rounds in the backward pass alone. A deep network of random weights is chaotic, and rounding on the way
    /// forward turns its gradient into noise: off by 1.2 of its norm in EfficientNet-Lite0 with U-Net if all products are
    /// rounded (1.3 in PyTorch's autocast), by 0.17 if only Winograd's are, by 0.03 if none is. Two thirds of a step's
    /// products are gradients'.
    fn forward_precision(&self) -> Precision {
        match self.mode {
            Mode::Train => Precision::F32,
            Mode::Infer => self.precision,
        }
    }

    /// Bytes of all buffers together.
    pub fn bytes(&self) -> usize {
        4 * self.slots.iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
