//! The registry's row types: architectures, encoders, decoders and heads.

use serde::Serialize;

use super::spec::ModelSpec;
use super::trunk::{EncoderFeatures, Trunk};
use crate::graph::{GraphBuilder, NodeId};

/// An architecture's row.
#[derive(Debug)]
pub struct ArchitectureEntry {
    /// Name in the configuration.
    pub name: &'static str,
    /// One line for lists.
    pub description: &'static str,
    /// Keys of [`ModelSpec`] that it takes in addition to those common to all.
    pub keys: &'static [&'static str],
    /// `None` for the one that is assembled from an encoder and a decoder.
    pub(super) whole: Option<WholeNetwork>,
}

/// A network with its own encoder and decoder.
#[derive(Debug)]
pub(super) struct WholeNetwork {
    /// Input normalization.
    pub(super) normalization: Normalization,
    /// Whether it has a class map.
    pub(super) has_map: bool,
    /// Whether it has dropout layers of its own, so that `dropout` has an effect with every head.
    pub(super) drops: bool,
    /// Adds it to the graph and publishes its maps.
    pub(super) write: fn(&mut GraphBuilder, &ModelSpec) -> Trunk,
}

/// An encoder's row.
#[derive(Debug)]
pub struct EncoderEntry {
    /// timm's name.
    pub name: &'static str,
    /// One line for lists.
    pub description: &'static str,
    /// Added to the variance in batch normalization.
    pub bn_eps: f32,
    /// The batch's weight in the running statistics, as in PyTorch.
    pub bn_momentum: f32,
    /// How convolutions pad.
    pub padding: PaddingStyle,
    /// Side of the images that the family's weights were trained on, in pixels.
    pub resolution: usize,
    /// Input normalization of the family's usual weights: timm's default. `efficientnet_b1` has a second set of
    /// weights, `ft_in1k`, with ImageNet's mean and deviation, and `efficientnet_b0` one with [`Normalization::HALF`],
    /// `ra4_e3600`.
    pub normalization: Normalization,
    /// Width, depth and variant.
    pub scaling: Scaling,
}

impl EncoderEntry {
    /// The multiple of 32 nearest to [`EncoderEntry::resolution`], the smaller one on a tie: 240 gives 224.
    pub fn recommended_size(&self) -> usize {
        (self.resolution + 15) / 32 * 32
    }
}

/// How a member of the family is scaled from the base network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Factor on the number of channels.
    pub width: f64,
    /// Factor on the number of blocks per stage.
    pub depth: f64,
    /// The Lite variant: no squeeze-excite, ReLU6, and neither the stem nor the depth of the first and last stages
    /// scaled.
    pub lite: bool,
}

/// How a family pads its convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaddingStyle {
    /// kernel / 2 on every side (PyTorch).
    Symmetric,
    /// TensorFlow's `SAME`: an odd pixel of padding goes after the image.
    TfSame,
}

/// Input normalization `(x / 255 − mean) / std`, one value per RGB channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Normalization {
    /// Mean, as a fraction of full scale.
    pub mean: [f32; 3],
    /// Standard deviation, as a fraction of full scale.
    pub std: [f32; 3],
}

impl Normalization {
    /// Mean and standard deviation of ImageNet.
    pub const IMAGENET: Normalization = Normalization {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
    /// Maps 0–255 to −1–1 (TensorFlow's "Inception" preprocessing).
    pub const HALF: Normalization = Normalization {
        mean: [0.5; 3],
        std: [0.5; 3],
    };
}

/// A decoder's row.
#[derive(Debug)]
pub struct DecoderEntry {
    /// Name in the configuration.
    pub name: &'static str,
    /// One line for lists.
    pub description: &'static str,
    /// Adds it to the graph under `decoder.` and returns its full-size value; `None` for no decoder.
    pub(super) write: Option<DecoderWriter>,
}

pub(super) type DecoderWriter = fn(&mut GraphBuilder, &[EncoderFeatures]) -> NodeId;

/// A head's row.
#[derive(Debug)]
pub struct HeadEntry {
    /// Name in the configuration.
    pub name: &'static str,
    /// One line for lists.
    pub description: &'static str,
    /// Whether it requires a class map.
    pub needs_map: bool,
    /// Whether its class scores depend on what masks teach the map: a loss over all of its classes, of which the first
    /// is the background.
    pub needs_masks: bool,
    /// Whether it publishes class scores (`logits`).
    pub scores: bool,
    /// Whether it has a dropout layer.
    pub(super) drops: bool,
    /// Adds it to the graph and publishes `logits`.
    pub(super) write: fn(&mut GraphBuilder, &Trunk, &ModelSpec),
}
