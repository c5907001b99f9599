//! Heads: from features to a class map and class scores.

use kernels::Padding;

use super::init::xavier_uniform;
use super::{EncoderFeatures, ModelSpec};
use crate::graph::{GraphBuilder, NodeId};

/// What a head may read.
pub(super) struct Inputs<'a> {
    pub(super) features: &'a [EncoderFeatures],
    pub(super) decoded: Option<NodeId>,
    pub(super) spec: &'a ModelSpec,
}

/// The article's: `logits` is a linear map of the mean of each class's map, so that image labels alone train the
/// map (Keras: `GlobalAveragePooling2D` and `Dense(classes, softmax)`).
pub(super) fn article(g: &mut GraphBuilder, inputs: &Inputs<'_>) {
    let Some(map) = class_map(g, inputs) else {
        return;
    };
    let pooled = g.global_avg_pool("pool", map);
    let classes = inputs.spec.classes;
    let logits = g.linear("head", pooled, classes, xavier_uniform(1, classes, classes));
    g.publish("logits", logits);
}

/// A plain classifier on the encoder's deepest features. Its loss does not reach a decoder: the `map`, if there is a
/// decoder, learns only from a loss of its own on masks.
pub(super) fn bottleneck(g: &mut GraphBuilder, inputs: &Inputs<'_>) {
    class_map(g, inputs);
    let Some(deepest) = inputs.features.last() else {
        return;
    };
    let pooled = g.global_avg_pool("pool", deepest.value);
    let dropped = g.dropout("drop", pooled, inputs.spec.dropout);
    // Not timm's ±1/√classes, which is meant for 1000 of them and with two gives logits of ±10 at the start.
    let (channels, classes) = (deepest.channels, inputs.spec.classes);
    let logits = g.linear(
        "head",
        dropped,
        classes,
        xavier_uniform(1, channels, classes),
    );
    g.publish("logits", logits);
}

/// smp's segmentation head: a 3×3 convolution to a channel a class, published before softmax.
fn class_map(g: &mut GraphBuilder, inputs: &Inputs<'_>) -> Option<NodeId> {
    let x = inputs.decoded?;
    let (channels, classes) = (g.channels(x), inputs.spec.classes);
    let map = g.conv(
        "segmentation_head.0",
        x,
        classes,
        3,
        1,
        Padding::Symmetric(1),
        true,
        xavier_uniform(3, channels, classes),
    );
    g.publish("map", map);
    Some(map)
}
