//! The Eff-UNet that Keras's segmentation_models builds for EfficientNet-B1, reproduced layer by layer.
//!
//! It differs from encoder + U-Net in segmentation_models.pytorch's layout in what it takes from the encoder: the
//! bottleneck is `conv_head`'s activation (1280 channels at reduction 32), and the skips are the *expanded* activations
//! (672, 240, 144, 96 channels), the inputs of the depthwise convolutions of stride 2. Encoder: Tan & Le,
//! "EfficientNet", ICML 2019, in timm's names, so that `tf_efficientnet_b1`'s weights fit; Eff-UNet: Baheti et al.,
//! CVPR Workshops 2020. The U-EfficientNet of Yu et al. 2021 is described as the same encoder and decoder.

use super::decoder::Norm;
use super::entries::{EncoderEntry, Normalization, PaddingStyle, Scaling};
use super::spec::ModelSpec;
use super::trunk::Trunk;
use super::{efficientnet, head, unet};
use crate::graph::GraphBuilder;

static ENCODER: EncoderEntry = EncoderEntry {
    name: "efficientnet_b1",
    description: "EfficientNet-B1 as Keras builds it",
    bn_eps: Norm::KERAS.eps,
    bn_momentum: Norm::KERAS.momentum,
    padding: PaddingStyle::TfSame,
    resolution: 240,
    normalization: Normalization::IMAGENET,
    scaling: Scaling {
        width: 1.0,
        depth: 1.1,
        lite: false,
    },
};

/// Writes encoder, decoder and the 3×3 head.
pub(super) fn write(g: &mut GraphBuilder, spec: &ModelSpec) -> Trunk {
    let features = g.scope("encoder", |g| {
        let written = efficientnet::write(g, &ENCODER, spec.drop_path);
        let top = efficientnet::write_top(g, &ENCODER, &written.features);
        written.expanded.into_iter().chain(top).collect::<Vec<_>>()
    });
    let decoded = g.scope("decoder", |g| unet::write_with(g, &features, Norm::KERAS));
    let map = head::window_map(g, decoded, spec.map_channels());
    g.publish("map", map);
    Trunk {
        features,
        decoded: Some(decoded),
        map: Some(map),
    }
}
