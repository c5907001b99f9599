//! What an engine executes: fused steps in order, and which buffer holds each value and each gradient when.
//!
//! A plan is made for one graph, one mode and one batch shape, without any device; both engines follow the same
//! one. `steps.rs` decides what fuses, `memory.rs` what shares memory.
//!
//! Time runs through the forward steps and then, in training, back through them: step `i` of `n` runs forward at
//! time `i` and backward at time `2n − i`; at time `n` the outputs are read and their gradients come in. A value or
//! a gradient occupies its buffer from the time it is first written to the time it is last read, and never else.

mod memory;
mod steps;

use kernels::Nhwc;

use crate::graph::{Graph, NodeId, ShapeError};

pub use memory::{Interval, Memory, assign};
pub use steps::{Mode, Step, keeps_input};

/// A buffer that values and gradients share over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

impl SlotId {
    /// Position in [`Plan::slots`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Inference or training.
    pub mode: Mode,
    /// Steps in forward order.
    pub steps: Vec<Step>,
    /// Shape of every node's value for this batch, indexed as the graph's nodes.
    pub shapes: Vec<Nhwc>,
    /// Buffer of every node's value; `None` where a fused step never writes it out.
    pub values: Vec<Option<SlotId>>,
    /// Buffer of every value's gradient; `None` where none is needed.
    pub grads: Vec<Option<SlotId>>,
    /// Length of every buffer in f32.
    pub slots: Vec<usize>,
    /// Values that are copied out, in the caller's order.
    pub outputs: Vec<NodeId>,
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
        let shapes: Vec<Nhwc> = graph
            .shapes(height, width)?
            .into_iter()
            .map(|s| s.batch(batch))
            .collect();
        let steps = steps::fuse(graph, mode, outputs);
        let Memory {
            values,
            grads,
            slots,
        } = memory::plan(graph, mode, &steps, &shapes, outputs);
        Ok(Plan {
            mode,
            steps,
            shapes,
            values,
            grads,
            slots,
            outputs: outputs.to_vec(),
        })
    }

    /// Bytes of all buffers together.
    pub fn bytes(&self) -> usize {
        4 * self.slots.iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
