//! An engine's implementation of a graph's operations: one trait per family. An engine implements them for its state of
//! a pass, each in the file of that family; `walk.rs` decides which of them runs when.
//!
//! Forward, an operation writes the node's value. Backward, the node's gradient is complete, and the operation writes
//! the resulting gradients of the node's inputs and parameters, where they are needed.

use kernels::{Activation, Window};

use crate::graph::{Interpolation, NodeId};

/// The error type common to all operations of an engine.
pub(super) trait Fallible {
    /// Why an operation failed.
    type Error;
}

/// Convolutions and linear layers.
pub(super) trait Convolutions: Fallible {
    /// A dense or depthwise convolution; a batch norm, if given, is folded in, and an activation, if given, is applied
    /// to the output.
    fn forward_conv(
        &mut self,
        conv: NodeId,
        norm: Option<NodeId>,
        act: Option<NodeId>,
    ) -> Result<(), Self::Error>;
    fn forward_transposed(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_linear(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_dense(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_depthwise(&mut self, id: NodeId, window: Window) -> Result<(), Self::Error>;
    fn backward_transposed(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_linear(&mut self, id: NodeId) -> Result<(), Self::Error>;
}

/// Batch norms, each with the activation, if given, that is its only reader.
pub(super) trait Norms: Fallible {
    fn forward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Result<(), Self::Error>;
    fn backward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Result<(), Self::Error>;
}

/// Activations, sums, scales, dropout and drop path.
pub(super) trait Elementwise: Fallible {
    fn forward_activation(&mut self, id: NodeId, kind: Activation) -> Result<(), Self::Error>;
    fn backward_activation(&mut self, id: NodeId, kind: Activation) -> Result<(), Self::Error>;
    fn forward_add(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_add(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_mean(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_mean(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_scale(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_scale(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_drop_path(&mut self, id: NodeId, rate: f32) -> Result<(), Self::Error>;
    fn backward_drop_path(&mut self, id: NodeId, rate: f32) -> Result<(), Self::Error>;
    fn forward_dropout(&mut self, id: NodeId, rate: f32) -> Result<(), Self::Error>;
    fn backward_dropout(&mut self, id: NodeId, rate: f32) -> Result<(), Self::Error>;
}

/// Operations that change height, width or the channel count without parameters: pools, upsampling, concat, crop.
pub(super) trait ShapeOps: Fallible {
    fn forward_max_pool(&mut self, id: NodeId, window: Window) -> Result<(), Self::Error>;
    fn backward_max_pool(&mut self, id: NodeId, window: Window) -> Result<(), Self::Error>;
    fn forward_global_avg_pool(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_global_avg_pool(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_region_pool(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_region_pool(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_upsample(&mut self, id: NodeId, mode: Interpolation) -> Result<(), Self::Error>;
    fn backward_upsample(&mut self, id: NodeId, mode: Interpolation) -> Result<(), Self::Error>;
    fn forward_concat(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_concat(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_crop(&mut self, id: NodeId, margin: usize) -> Result<(), Self::Error>;
    fn backward_crop(&mut self, id: NodeId, margin: usize) -> Result<(), Self::Error>;
}
