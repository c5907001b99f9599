//! U-Net's decoder in segmentation_models' layout. Ronneberger, Fischer, Brox, MICCAI 2015.

use super::decoder::{CHANNELS, Norm, up_block};
use super::trunk::EncoderFeatures;
use crate::graph::{GraphBuilder, NodeId};

/// From the deepest features up, each block takes the encoder's features of its size as a skip; the last has no skip.
pub(super) fn write(g: &mut GraphBuilder, features: &[EncoderFeatures]) -> NodeId {
    write_with(g, features, Norm::TORCH)
}

/// The same with another library's batch norms.
pub(super) fn write_with(g: &mut GraphBuilder, features: &[EncoderFeatures], norm: Norm) -> NodeId {
    let mut deepest_first = features.iter().rev().map(|f| f.value);
    let mut x = deepest_first.next().unwrap_or_else(|| g.input());
    for (i, out) in CHANNELS.into_iter().enumerate() {
        let skip = deepest_first.next();
        x = up_block(g, &i.to_string(), x, skip.as_slice(), out, norm);
    }
    x
}
