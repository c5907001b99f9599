//! What an engine does for the operations of a graph: one trait a family. An engine implements them for its state of a
//! pass, each in its file of that family; `walk.rs` says which of them runs when.
//!
//! Forward, an operation writes the node's value. Backward, the node's gradient is complete, and the operation gives
//! their share of it to the node's inputs and parameters, where a gradient is wanted.

use kernels::{Activation, Window};

use crate::graph::{Interpolation, NodeId};

/// What operations of an engine have in common.
pub(super) trait Fallible {
    /// Why an operation could not be done.
    type Error;
}

/// Convolutions and linear layers.
pub(super) trait Convolutions: Fallible {
    /// A dense or depthwise convolution, with a batch norm folded in and an activation applied to what is written,
    /// where given.
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

/// Batch norms, each with the activation that alone reads it, where given.
pub(super) trait Norms: Fallible {
    fn forward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Result<(), Self::Error>;
    fn backward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Result<(), Self::Error>;
}

/// Activations, sums, scales, and the two kinds of dropping.
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

/// What changes height, width or the channel count without parameters: pools, upsampling, concat, crop.
pub(super) trait ShapeOps: Fallible {
    fn forward_max_pool(&mut self, id: NodeId, window: Window) -> Result<(), Self::Error>;
    fn backward_max_pool(&mut self, id: NodeId, window: Window) -> Result<(), Self::Error>;
    fn forward_global_avg_pool(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_global_avg_pool(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_upsample(&mut self, id: NodeId, mode: Interpolation) -> Result<(), Self::Error>;
    fn backward_upsample(&mut self, id: NodeId, mode: Interpolation) -> Result<(), Self::Error>;
    fn forward_concat(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn backward_concat(&mut self, id: NodeId) -> Result<(), Self::Error>;
    fn forward_crop(&mut self, id: NodeId, margin: usize) -> Result<(), Self::Error>;
    fn backward_crop(&mut self, id: NodeId, margin: usize) -> Result<(), Self::Error>;
}
