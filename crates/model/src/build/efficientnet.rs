//! EfficientNet and EfficientNet-Lite as timm builds them, up to the last stage: `conv_head` and what follows serve
//! ImageNet's classes and are left out, as in smp's `tu-` encoders, unless requested ([`write_top`]).
//!
//! Tan & Le, "EfficientNet: Rethinking Model Scaling for CNNs", ICML 2019; Lite: the authors' repository.

use kernels::{Activation, Padding};

use super::entries::{EncoderEntry, PaddingStyle, Scaling};
use super::init::goog_conv;
use super::trunk::EncoderFeatures;
use crate::graph::{GraphBuilder, NodeId};

impl Scaling {
    fn channels(self, base: usize) -> usize {
        round_channels(base as f64 * self.width)
    }

    fn stem_channels(self) -> usize {
        if self.lite { STEM } else { self.channels(STEM) }
    }

    fn repeats(self, stage: usize) -> usize {
        let base = STAGES[stage].repeats;
        let fixed = self.lite && (stage == 0 || stage + 1 == STAGES.len());
        if fixed {
            base
        } else {
            (base as f64 * self.depth).ceil() as usize
        }
    }
}

/// Rounds to the nearest multiple of 8, but never below 90 % of `channels`.
fn round_channels(channels: f64) -> usize {
    let rounded = (((channels + 4.0) / 8.0) as usize * 8).max(8);
    if (rounded as f64) < 0.9 * channels {
        rounded + 8
    } else {
        rounded
    }
}

/// A stage of the base network (B0).
struct Stage {
    kernel: usize,
    stride: usize,
    /// Ratio of the channels inside a block to its input channels; 1 makes depthwise-separable blocks.
    expand: usize,
    channels: usize,
    repeats: usize,
    /// Whether its output is the last at its resolution and so an input of decoders.
    feature: bool,
}

const STEM: usize = 32;

/// Channels of `conv_head`.
const TOP: usize = 1280;

const STAGES: [Stage; 7] = [
    stage(3, 1, 1, 16, 1, true),
    stage(3, 2, 6, 24, 2, true),
    stage(5, 2, 6, 40, 2, true),
    stage(3, 2, 6, 80, 3, false),
    stage(5, 1, 6, 112, 3, true),
    stage(5, 2, 6, 192, 4, false),
    stage(3, 1, 6, 320, 1, true),
];

const fn stage(
    kernel: usize,
    stride: usize,
    expand: usize,
    channels: usize,
    repeats: usize,
    feature: bool,
) -> Stage {
    Stage {
        kernel,
        stride,
        expand,
        channels,
        repeats,
        feature,
    }
}

/// The values of an encoder that decoders may take.
pub(super) struct Written {
    /// Stage outputs at reductions 2, 4, 8, 16 and 32.
    pub(super) features: Vec<EncoderFeatures>,
    /// Inputs of the depthwise convolutions of stride 2, at reductions 2, 4, 8 and 16: Keras's skips.
    pub(super) expanded: Vec<EncoderFeatures>,
}

/// Writes the encoder under the current scope.
pub(super) fn write(g: &mut GraphBuilder, entry: &EncoderEntry, drop_path: f32) -> Written {
    let family = Family { entry };
    let blocks: usize = (0..STAGES.len()).map(|s| entry.scaling.repeats(s)).sum();
    let mut x = family.stem(g);
    let (mut reduction, mut index) = (2, 0);
    let (mut features, mut expanded) = (Vec::new(), Vec::new());
    for (s, stage) in STAGES.iter().enumerate() {
        for b in 0..entry.scaling.repeats(s) {
            // timm's schedule: block i of n has a drop rate of rate · i / n.
            let drop_path = drop_path * index as f32 / blocks as f32;
            let stride = if b == 0 { stage.stride } else { 1 };
            let block = Block {
                stride,
                drop_path,
                out: entry.scaling.channels(stage.channels),
                stage,
            };
            let written = g.scope(format!("blocks.{s}.{b}"), |g| family.block(g, x, &block));
            let halves = written.expanded.filter(|_| stride == 2);
            expanded.extend(halves.map(|value| EncoderFeatures::of(g, value, reduction)));
            x = written.value;
            index += 1;
        }
        reduction *= stage.stride;
        if stage.feature {
            features.push(EncoderFeatures::of(g, x, reduction));
        }
    }
    Written { features, expanded }
}

/// Writes `conv_head` with its norm and activation on the deepest features.
pub(super) fn write_top(
    g: &mut GraphBuilder,
    entry: &EncoderEntry,
    features: &[EncoderFeatures],
) -> Option<EncoderFeatures> {
    let deepest = features.last()?;
    let x = pointwise(g, "conv_head", deepest.value, entry.scaling.channels(TOP));
    let x = Family { entry }.norm_act(g, "bn2", x);
    Some(EncoderFeatures::of(g, x, deepest.reduction))
}

/// One block of the scaled network.
struct Block<'a> {
    stage: &'a Stage,
    stride: usize,
    out: usize,
    drop_path: f32,
}

/// A block's values.
struct BlockValues {
    /// The input of the depthwise convolution, if an expansion precedes it.
    expanded: Option<NodeId>,
    value: NodeId,
}

/// Settings shared by the blocks of one family.
struct Family<'a> {
    entry: &'a EncoderEntry,
}

impl Family<'_> {
    fn stem(&self, g: &mut GraphBuilder) -> NodeId {
        let (x, out) = (g.input(), self.entry.scaling.stem_channels());
        let x = g.conv(
            "conv_stem",
            x,
            out,
            3,
            2,
            self.padding(3, 2),
            false,
            goog_conv(3, out, 1),
        );
        self.norm_act(g, "bn1", x)
    }

    fn block(&self, g: &mut GraphBuilder, x: NodeId, block: &Block<'_>) -> BlockValues {
        let expanded = (block.stage.expand != 1).then(|| self.expand(g, x, block));
        let y = match expanded {
            None => self.depthwise_separable(g, x, block),
            Some(y) => self.inverted_residual(g, y, g.channels(x), block),
        };
        let value = if block.stride != 1 || g.channels(x) != block.out {
            y
        } else {
            let y = g.drop_path("drop_path", y, block.drop_path);
            g.add("add", y, x)
        };
        BlockValues { expanded, value }
    }

    fn depthwise_separable(&self, g: &mut GraphBuilder, x: NodeId, block: &Block<'_>) -> NodeId {
        let reduced = g.channels(x) / 4;
        let y = self.depthwise(g, x, block);
        let y = self.norm_act(g, "bn1", y);
        let y = self.squeeze_excite(g, y, reduced);
        let y = pointwise(g, "conv_pw", y, block.out);
        self.norm(g, "bn2", y)
    }

    fn expand(&self, g: &mut GraphBuilder, x: NodeId, block: &Block<'_>) -> NodeId {
        let wide = g.channels(x) * block.stage.expand;
        let y = pointwise(g, "conv_pw", x, wide);
        self.norm_act(g, "bn1", y)
    }

    /// The layers after the expansion of a block's `inputs` channels.
    fn inverted_residual(
        &self,
        g: &mut GraphBuilder,
        y: NodeId,
        inputs: usize,
        block: &Block<'_>,
    ) -> NodeId {
        let y = self.depthwise(g, y, block);
        let y = self.norm_act(g, "bn2", y);
        let y = self.squeeze_excite(g, y, inputs / 4);
        let y = pointwise(g, "conv_pwl", y, block.out);
        self.norm(g, "bn3", y)
    }

    fn depthwise(&self, g: &mut GraphBuilder, x: NodeId, block: &Block<'_>) -> NodeId {
        let (kernel, channels) = (block.stage.kernel, g.channels(x));
        g.depthwise(
            "conv_dw",
            x,
            kernel,
            block.stride,
            self.padding(kernel, block.stride),
            goog_conv(kernel, channels, channels),
        )
    }

    /// Rescales channels by gates computed from their means through `reduced` channels: a quarter of the block's
    /// *input* channels (all of them multiples of 8, so the quarter is exact). Hu et al., "Squeeze-and-Excitation
    /// Networks", CVPR 2018.
    fn squeeze_excite(&self, g: &mut GraphBuilder, x: NodeId, reduced: usize) -> NodeId {
        if self.entry.scaling.lite {
            return x;
        }
        let channels = g.channels(x);
        g.scope("se", |g| {
            let s = g.global_avg_pool("pool", x);
            let s = g.conv(
                "conv_reduce",
                s,
                reduced,
                1,
                1,
                Padding::Symmetric(0),
                true,
                goog_conv(1, reduced, 1),
            );
            let s = g.activation("act1", s, Activation::Silu);
            let s = g.conv(
                "conv_expand",
                s,
                channels,
                1,
                1,
                Padding::Symmetric(0),
                true,
                goog_conv(1, channels, 1),
            );
            let s = g.activation("gate", s, Activation::Sigmoid);
            g.scale_channels("scale", x, s)
        })
    }

    fn norm(&self, g: &mut GraphBuilder, name: &str, x: NodeId) -> NodeId {
        g.batch_norm(name, x, self.entry.bn_eps, self.entry.bn_momentum)
    }

    fn norm_act(&self, g: &mut GraphBuilder, name: &str, x: NodeId) -> NodeId {
        let x = self.norm(g, name, x);
        let kind = if self.entry.scaling.lite {
            Activation::Relu6
        } else {
            Activation::Silu
        };
        g.activation(&format!("{name}.act"), x, kind)
    }

    fn padding(&self, kernel: usize, stride: usize) -> Padding {
        match self.entry.padding {
            // At stride 1 an odd kernel's SAME *is* symmetric; declaring it so enables the kernels' fast paths.
            PaddingStyle::TfSame if stride > 1 => Padding::Same,
            _ => Padding::Symmetric(kernel / 2),
        }
    }
}

fn pointwise(g: &mut GraphBuilder, name: &str, x: NodeId, out: usize) -> NodeId {
    g.conv(
        name,
        x,
        out,
        1,
        1,
        Padding::Symmetric(0),
        false,
        goog_conv(1, out, 1),
    )
}
