//! U-Net as published: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
//! MICCAI 2015.
//!
//! Five levels of two 3×3 convolutions with ReLU and no batch norm, 64 channels at the top and twice as many at each
//! level down; 2×2 max pooling down, transposed 2×2 convolutions up, a 1×1 convolution to the classes. The paper's
//! convolutions have no padding, so that every pixel of its map depends on image pixels only: 572 in, 388 out. Padded
//! by 1, as it is mostly used today, the map is as large as the image.

use kernels::{Activation, Padding};

use super::head::point_map;
use super::init::he_normal;
use super::spec::ModelSpec;
use super::trunk::{EncoderFeatures, Trunk};
use crate::graph::{GraphBuilder, NodeId};

const BASE_CHANNELS: usize = 64;

/// From full resolution to the bottleneck at reduction 16.
const LEVELS: usize = 5;

/// Side of the smallest image for the unpadded form: its map is 4×4. Larger ones come in steps of 16, so that pooling
/// never gets an odd side.
const SMALLEST: usize = 188;

/// Whether convolutions pad.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Same,
    Valid,
}

/// The padded form.
pub(super) fn same(g: &mut GraphBuilder, spec: &ModelSpec) -> Trunk {
    write(g, spec, Form::Same)
}

/// The paper's form.
pub(super) fn valid(g: &mut GraphBuilder, spec: &ModelSpec) -> Trunk {
    g.smallest_size(SMALLEST);
    write(g, spec, Form::Valid)
}

fn write(g: &mut GraphBuilder, spec: &ModelSpec, form: Form) -> Trunk {
    let base = spec.base_channels.unwrap_or(BASE_CHANNELS);
    let levels = contract(g, base, spec.dropout, form);
    let mut x = levels[LEVELS - 1];
    for level in (0..LEVELS - 1).rev() {
        x = g.scope(format!("up.{level}"), |g| {
            expand(g, x, levels[level], level, form)
        });
    }
    let map = point_map(g, "segmentation_head", x, spec.map_channels());
    g.publish("map", map);
    let features = levels.into_iter().enumerate();
    Trunk {
        features: features
            .map(|(level, value)| EncoderFeatures::of(g, value, 1 << level))
            .collect(),
        decoded: Some(x),
        map: Some(map),
    }
}

/// Returns the values of all levels. Dropout is applied at the end of this path, in its two deepest levels.
fn contract(g: &mut GraphBuilder, base: usize, dropout: f32, form: Form) -> Vec<NodeId> {
    let mut x = g.input();
    let mut levels = Vec::new();
    for level in 0..LEVELS {
        x = g.scope(format!("down.{level}"), |g| {
            let x = match level {
                0 => x,
                _ => g.max_pool("pool", x, 2, 2, Padding::Symmetric(0)),
            };
            let x = two_convs(g, x, base << level, form);
            let late = level + 2 >= LEVELS;
            g.dropout("drop", x, if late { dropout } else { 0.0 })
        });
        levels.push(x);
    }
    levels
}

/// A level of the expanding path.
fn expand(g: &mut GraphBuilder, x: NodeId, skip: NodeId, level: usize, form: Form) -> NodeId {
    let out = g.channels(x) / 2;
    // A transposed 2×2 convolution of stride 2 sums over the channels of one pixel.
    let init = he_normal(1, g.channels(x));
    let x = g.conv_transpose2x2("up", x, out, init);
    let skip = g.crop("crop", skip, form.margin(level));
    let x = g.concat("cat", &[skip, x]);
    two_convs(g, x, out, form)
}

fn two_convs(g: &mut GraphBuilder, x: NodeId, out: usize, form: Form) -> NodeId {
    ["conv1", "conv2"].into_iter().fold(x, |x, name| {
        let init = he_normal(3, g.channels(x));
        let x = g.conv(name, x, out, 3, 1, form.padding(), true, init);
        g.activation(&format!("{name}.relu"), x, Activation::Relu)
    })
}

impl Form {
    fn padding(self) -> Padding {
        Padding::Symmetric(usize::from(self == Form::Same))
    }

    /// By how many pixels a level's skip is wider than the upsampled value, on each side: 4 at the deepest skip,
    /// because the value below has lost 4 pixels at half the resolution; with each level up it doubles and grows by 8.
    fn margin(self, level: usize) -> usize {
        match self {
            Form::Same => 0,
            Form::Valid => (level..LEVELS - 2).fold(4, |margin, _| 2 * margin + 8),
        }
    }
}
