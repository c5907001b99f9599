//! Inputs and outputs of an engine: batches of images, and values copied out.

use kernels::Nhwc;

use super::error::EngineError;
use crate::graph::Graph;

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
