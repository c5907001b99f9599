//! Shared by the decoders: segmentation_models' block and its widths.

use kernels::{Activation, Padding};

use super::init::kaiming_uniform;
use crate::graph::{GraphBuilder, Interpolation, NodeId};

/// smp's `decoder_channels`, from the deepest block to the full-size one.
pub(super) const CHANNELS: [usize; 5] = [256, 128, 64, 32, 16];

/// A library's constants of batch normalization.
#[derive(Clone, Copy)]
pub(super) struct Norm {
    pub(super) eps: f32,
    /// The batch's weight in the running statistics, as in PyTorch.
    pub(super) momentum: f32,
}

impl Norm {
    /// PyTorch's defaults.
    pub(super) const TORCH: Norm = Norm {
        eps: 1e-5,
        momentum: 0.1,
    };
    /// Keras's defaults; its momentum of 0.99 is the weight of the old running statistics.
    pub(super) const KERAS: Norm = Norm {
        eps: 1e-3,
        momentum: 0.01,
    };
}

/// Upsamples `x` by 2, concatenates the skips after it, and applies two convolutions to `out` channels.
pub(super) fn up_block(
    g: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    skips: &[NodeId],
    out: usize,
    norm: Norm,
) -> NodeId {
    g.scope(format!("blocks.{name}"), |g| {
        let x = g.upsample2x("up", x, Interpolation::Nearest);
        let joined: Vec<NodeId> = std::iter::once(x).chain(skips.iter().copied()).collect();
        let x = g.concat("cat", &joined);
        let x = conv_norm_relu(g, "conv1", x, out, norm);
        conv_norm_relu(g, "conv2", x, out, norm)
    })
}

/// The names 0, 1, 2 are positions in PyTorch's `Sequential`.
fn conv_norm_relu(g: &mut GraphBuilder, name: &str, x: NodeId, out: usize, norm: Norm) -> NodeId {
    g.scope(name, |g| {
        let init = kaiming_uniform(3, g.channels(x));
        let x = g.conv("0", x, out, 3, 1, Padding::Symmetric(1), false, init);
        let x = g.batch_norm("1", x, norm.eps, norm.momentum);
        g.activation("2", x, Activation::Relu)
    })
}
