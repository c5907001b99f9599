//! What the parts of a network hand on to each other: an encoder to a decoder, both to a head.

use crate::graph::{GraphBuilder, NodeId};

/// A value that an encoder offers to decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderFeatures {
    /// The value.
    pub value: NodeId,
    /// Its channels.
    pub channels: usize,
    /// By how much it is smaller than the image.
    pub reduction: usize,
}

impl EncoderFeatures {
    /// Of a value of the network that is being written.
    pub(super) fn of(g: &GraphBuilder, value: NodeId, reduction: usize) -> Self {
        EncoderFeatures {
            value,
            channels: g.channels(value),
            reduction,
        }
    }
}

/// What an architecture leaves for a head. It has published its maps.
pub(super) struct Trunk {
    /// From the shallowest to the deepest.
    pub(super) features: Vec<EncoderFeatures>,
    /// The decoder's last value.
    pub(super) decoded: Option<NodeId>,
    /// The class map, a channel a class, before softmax.
    pub(super) map: Option<NodeId>,
}
