//! What goes into an engine and what comes out: batches of images, and values copied out.

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
    /// Whether the batch has the shape that it says and the channels that the graph takes.
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
