//! Inputs and outputs of an engine: batches of images, and values copied out.

use kernels::Nhwc;

use super::error::EngineError;
use crate::graph::{Graph, NodeId};

/// A batch of images, normalized, NHWC.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// `n·h·w·c` values.
    pub data: &'a [f32],
    /// Batch, height, width, channels.
    pub shape: Nhwc,
}

impl Images<'_> {
    /// Checks that the batch's data match its shape, and that it has the graph's number of channels.
    pub(super) fn check(&self, graph: &Graph) -> Result<(), EngineError> {
        let (shape, len, channels) = (self.shape, self.data.len(), graph.in_channels());
        if shape.checked_len() == Some(len) && shape.c == channels && shape.n > 0 {
            return Ok(());
        }
        Err(EngineError::Batch {
            shape,
            len,
            channels,
        })
    }
}

/// A value copied out of an engine, NHWC.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// `n·h·w·c` values.
    pub data: Vec<f32>,
    /// Batch, height, width, channels.
    pub shape: Nhwc,
}

/// An output of a graph with its gradient: the factor with which each of its numbers counts in the sum that is
/// differentiated.
#[derive(Clone, Copy, Debug)]
pub struct OutputGradient<'a> {
    /// The node whose value is the output.
    pub of: NodeId,
    /// One factor for each number of the output, in its order.
    pub gradient: &'a [f32],
}

impl OutputGradient<'_> {
    /// Checks that there is one factor for each of the output's numbers.
    pub(super) fn check(&self, expected: usize) -> Result<(), EngineError> {
        let len = self.gradient.len();
        match len == expected {
            true => Ok(()),
            false => Err(EngineError::OutputGradient { len, expected }),
        }
    }
}

/// A value, and the gradient with respect to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// The value.
    pub value: Value,
    /// The gradient, of the value's shape.
    pub gradient: Vec<f32>,
}

/// Gradients in inference mode, with the values of the same pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivities {
    /// The output that was differentiated.
    pub output: Value,
    /// The requested values and the gradients with respect to them, in the caller's order.
    pub at: Vec<Sensitivity>,
}
