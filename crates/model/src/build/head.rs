//! Heads: from features to a class map and class scores.

use kernels::Padding;

use super::init::{he_normal, xavier_uniform};
use super::spec::ModelSpec;
use super::trunk::Trunk;
use crate::graph::{GraphBuilder, NodeId};

/// Class activation: `logits` is a linear map of the mean of each class's map, so that image labels alone train the
/// map (Keras: `GlobalAveragePooling2D` and `Dense(classes, softmax)`).
pub(super) fn cam(g: &mut GraphBuilder, trunk: &Trunk, spec: &ModelSpec) {
    let Some(map) = trunk.map else {
        return;
    };
    let pooled = g.global_avg_pool("pool", map);
    let init = xavier_uniform(1, g.channels(map), spec.classes);
    let logits = g.linear("head", pooled, spec.classes, init);
    g.publish("logits", logits);
}

/// No class scores: only the map is trained.
pub(super) fn none(_: &mut GraphBuilder, _: &Trunk, _: &ModelSpec) {}

/// A plain classifier on the deepest features. Its loss does not reach a decoder: the `map`, if there is one, is
/// trained only by a loss of its own on masks.
pub(super) fn bottleneck(g: &mut GraphBuilder, trunk: &Trunk, spec: &ModelSpec) {
    let Some(deepest) = trunk.features.last() else {
        return;
    };
    let pooled = g.global_avg_pool("pool", deepest.value);
    let dropped = g.dropout("drop", pooled, spec.dropout);
    // Not timm's ±1/√classes, which is meant for 1000 classes; with two it gives initial logits of ±10.
    let (channels, classes) = (deepest.channels, spec.classes);
    let logits = g.linear(
        "head",
        dropped,
        classes,
        xavier_uniform(1, channels, classes),
    );
    g.publish("logits", logits);
}

/// Class scores from what lies inside the region that the map predicts: `logits` is a linear map of the mean of the
/// decoder's features, in which a pixel's weight is the probability of all the map's classes but the first. Masks must
/// teach the map, because nothing else tells the region from the background; the class loss moves it only where that
/// improves the scores.
///
/// The features are the decoder's, not the encoder's deepest: these have one pixel for 32×32 of the map, four of an image
/// of 64×64, so that their weighted mean is hardly that of a region.
pub(super) fn region(g: &mut GraphBuilder, trunk: &Trunk, spec: &ModelSpec) {
    let (Some(decoded), Some(map)) = (trunk.decoded, trunk.map) else {
        return;
    };
    let pooled = g.region_pool("region_pool", decoded, map);
    let dropped = g.dropout("drop", pooled, spec.dropout);
    let init = xavier_uniform(1, g.channels(dropped), spec.classes);
    // A name of its own, because its shape does not tell it from other heads (`formats::weights::recognise`).
    let logits = g.linear("region_head", dropped, spec.classes, init);
    g.publish("logits", logits);
}

/// smp's segmentation head: a 3×3 convolution to one channel per class, before softmax.
pub(super) fn window_map(g: &mut GraphBuilder, x: NodeId, classes: usize) -> NodeId {
    let init = xavier_uniform(3, g.channels(x), classes);
    g.conv(
        "segmentation_head.0",
        x,
        classes,
        3,
        1,
        Padding::Symmetric(1),
        true,
        init,
    )
}

/// U-Net's segmentation head: a 1×1 convolution to one channel per class, before softmax.
pub(super) fn point_map(g: &mut GraphBuilder, name: &str, x: NodeId, classes: usize) -> NodeId {
    let init = he_normal(1, g.channels(x));
    g.conv(name, x, classes, 1, 1, Padding::Symmetric(0), true, init)
}
