//! The values that the parts of a network pass on: an encoder to a decoder, both to a head.

use crate::graph::{GraphBuilder, NodeId};

/// A value of an encoder that decoders may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderFeatures {
    /// The value.
    pub value: NodeId,
    /// Number of channels.
    pub channels: usize,
    /// Ratio of the image's side to the value's.
    pub reduction: usize,
}

impl EncoderFeatures {
    /// Describes a value of the network under construction.
    pub(super) fn of(g: &GraphBuilder, value: NodeId, reduction: usize) -> Self {
        EncoderFeatures {
            value,
            channels: g.channels(value),
            reduction,
        }
    }
}

/// The values that a head may take from an architecture, whose maps are already published.
pub(super) struct Trunk {
    /// From the shallowest to the deepest.
    pub(super) features: Vec<EncoderFeatures>,
    /// The decoder's last value.
    pub(super) decoded: Option<NodeId>,
    /// The class map, one channel per class, before softmax.
    pub(super) map: Option<NodeId>,
}
