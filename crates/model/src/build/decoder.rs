//! What the decoders share: segmentation_models.pytorch's block and its widths.

use kernels::{Activation, Padding};

use super::init::kaiming_uniform;
use crate::graph::{GraphBuilder, Interpolation, NodeId};

/// smp's `decoder_channels`, from the deepest block to the full-size one.
pub(super) const CHANNELS: [usize; 5] = [256, 128, 64, 32, 16];

/// Doubles `x`, joins the skips behind it, and convolves twice to `out` channels.
pub(super) fn up_block(
    g: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    skips: &[NodeId],
    out: usize,
) -> NodeId {
    g.scope(format!("blocks.{name}"), |g| {
        let x = g.upsample2x("up", x, Interpolation::Nearest);
        let joined: Vec<NodeId> = std::iter::once(x).chain(skips.iter().copied()).collect();
        let x = g.concat("cat", &joined);
        let x = conv_norm_relu(g, "conv1", x, out);
        conv_norm_relu(g, "conv2", x, out)
    })
}

/// The numbers 0, 1, 2 are positions in PyTorch's `Sequential`.
fn conv_norm_relu(g: &mut GraphBuilder, name: &str, x: NodeId, out: usize) -> NodeId {
    g.scope(name, |g| {
        let init = kaiming_uniform(3, g.channels(x));
        let x = g.conv("0", x, out, 3, 1, Padding::Symmetric(1), false, init);
        let x = g.batch_norm("1", x, 1e-5, 0.1);
        g.activation("2", x, Activation::Relu)
    })
}
