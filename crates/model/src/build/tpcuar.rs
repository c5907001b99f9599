//! TPCUAR-Net's two stages, *as we read them*: the paper (Abd-Ellah et al. 2024) gives the outline below; the channels,
//! the depths and the order of layers inside a unit are our choice.
//!
//! Stage 1 classifies slices: a convolutional classifier with a local path (3×3) and a global one (5×5) side by side.
//! Stage 2 segments: two U-Nets in parallel, path A of 3×3 and path B of 5×5 kernels, concatenated before a 1×1 head; a
//! second such pair takes the image together with the first pair's class map. Both U-Nets consist of asymmetric
//! residual units: y = ReLU(F(x) + P(x)), where F is conv-BN-ReLU-conv-BN and P one 1×1 conv-BN.

use kernels::{Activation, Padding};

use super::decoder::Norm;
use super::head::point_map;
use super::init::he_normal;
use super::spec::ModelSpec;
use super::trunk::{EncoderFeatures, Trunk};
use crate::graph::{GraphBuilder, NodeId};

/// Base channels of the classifier's paths.
const CLASSIFIER_CHANNELS: usize = 32;

/// Base channels of each of the four U-Nets.
const UNET_CHANNELS: usize = 16;

/// Levels of each path; each halves the resolution, except a U-Net's last.
const CLASSIFIER_LEVELS: usize = 4;
const UNET_LEVELS: usize = 5;

/// Kernel sizes of the local path (A) and of the global one (B).
const LOCAL: usize = 3;
const GLOBAL: usize = 5;

/// Stage 1: features of both paths at reduction 16.
pub(super) fn classifier(g: &mut GraphBuilder, spec: &ModelSpec) -> Trunk {
    let base = spec.base_channels.unwrap_or(CLASSIFIER_CHANNELS);
    let local = g.scope("local", |g| classifier_path(g, LOCAL, base));
    let global = g.scope("global", |g| classifier_path(g, GLOBAL, base));
    let joined = g.concat("cat", &[local, global]);
    Trunk {
        features: vec![EncoderFeatures::of(g, joined, 1 << CLASSIFIER_LEVELS)],
        decoded: None,
        map: None,
    }
}

fn classifier_path(g: &mut GraphBuilder, kernel: usize, base: usize) -> NodeId {
    (0..CLASSIFIER_LEVELS).fold(g.input(), |x, level| {
        g.scope(level.to_string(), |g| {
            let x = conv_norm(g, "unit", x, base << level, kernel);
            let x = g.activation("relu", x, Activation::Relu);
            g.max_pool("pool", x, 2, 2, Padding::Symmetric(0))
        })
    })
}

/// Stage 2: `map.1` is the first pair's class map, `map.2` and `map` the second's.
pub(super) fn segmenter(g: &mut GraphBuilder, spec: &ModelSpec) -> Trunk {
    let image = g.input();
    let first = g.scope("first", |g| pair(g, image, spec));
    let seen = g.activation("cascade.sigmoid", first.map, Activation::Sigmoid);
    let x = g.concat("cascade.cat", &[image, seen]);
    let second = g.scope("second", |g| pair(g, x, spec));
    g.publish("map.1", first.map);
    g.publish("map.2", second.map);
    g.publish("map", second.map);
    let deepest = g.concat("bottleneck", &second.bottlenecks);
    Trunk {
        features: vec![EncoderFeatures::of(g, deepest, 1 << (UNET_LEVELS - 1))],
        decoded: Some(second.decoded),
        map: Some(second.map),
    }
}

/// Two U-Nets in parallel.
struct Pair {
    bottlenecks: [NodeId; 2],
    decoded: NodeId,
    map: NodeId,
}

fn pair(g: &mut GraphBuilder, x: NodeId, spec: &ModelSpec) -> Pair {
    let base = spec.base_channels.unwrap_or(UNET_CHANNELS);
    let (deep_a, a) = g.scope("a", |g| unet(g, x, LOCAL, base));
    let (deep_b, b) = g.scope("b", |g| unet(g, x, GLOBAL, base));
    let decoded = g.concat("cat", &[a, b]);
    Pair {
        bottlenecks: [deep_a, deep_b],
        decoded,
        map: point_map(g, "segmentation_head", decoded, spec.map_channels()),
    }
}

/// Returns the bottleneck and the full-size value.
fn unet(g: &mut GraphBuilder, input: NodeId, kernel: usize, base: usize) -> (NodeId, NodeId) {
    let mut x = input;
    let mut skips = Vec::new();
    for level in 0..UNET_LEVELS {
        x = g.scope(format!("down.{level}"), |g| {
            let x = match level {
                0 => x,
                _ => g.max_pool("pool", x, 2, 2, Padding::Symmetric(0)),
            };
            unit(g, x, base << level, kernel)
        });
        skips.push(x);
    }
    let bottleneck = x;
    for level in (0..UNET_LEVELS - 1).rev() {
        x = g.scope(format!("up.{level}"), |g| {
            let (out, init) = (base << level, he_normal(1, g.channels(x)));
            let x = g.conv_transpose2x2("up", x, out, init);
            let x = g.concat("cat", &[skips[level], x]);
            unit(g, x, out, kernel)
        });
    }
    (bottleneck, x)
}

/// The asymmetric residual unit: two convolutions on one branch, one on the other.
fn unit(g: &mut GraphBuilder, x: NodeId, out: usize, kernel: usize) -> NodeId {
    let f = conv_norm(g, "f1", x, out, kernel);
    let f = g.activation("f1.relu", f, Activation::Relu);
    let f = conv_norm(g, "f2", f, out, kernel);
    let p = conv_norm(g, "p", x, out, 1);
    let y = g.add("add", f, p);
    g.activation("relu", y, Activation::Relu)
}

fn conv_norm(g: &mut GraphBuilder, name: &str, x: NodeId, out: usize, kernel: usize) -> NodeId {
    g.scope(name, |g| {
        let init = he_normal(kernel, g.channels(x));
        let x = g.conv(
            "conv",
            x,
            out,
            kernel,
            1,
            Padding::Symmetric(kernel / 2),
            false,
            init,
        );
        g.batch_norm("bn", x, Norm::TORCH.eps, Norm::TORCH.momentum)
    })
}
