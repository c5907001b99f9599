//! What a row of the registry says of an architecture, an encoder, a decoder or a head.

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
    /// Keys of [`ModelSpec`] that it takes beside those that all take.
    pub keys: &'static [&'static str],
    /// `None` for the one that is put together from an encoder and a decoder.
    pub(super) whole: Option<WholeNetwork>,
}

/// A network that brings its own encoder and decoder.
#[derive(Debug)]
pub(super) struct WholeNetwork {
    /// Input normalization.
    pub(super) normalization: Normalization,
    /// Whether it has a class map.
    pub(super) has_map: bool,
    /// Whether it drops inside, so that `dropout` means something with every head.
    pub(super) drops: bool,
    /// Writes it and publishes its maps.
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
    /// Share of the batch in the running statistics (PyTorch's sense).
    pub bn_momentum: f32,
    /// How convolutions pad.
    pub padding: PaddingStyle,
    /// Image side that the family's weights were trained at, in pixels.
    pub resolution: usize,
    /// Input normalization of the family's usual weights. timm's default is given; `efficientnet_b1` has a second
    /// set, `ft_in1k`, with ImageNet's mean and deviation, and `efficientnet_b0` one of the other kind, `ra4_e3600`.
    pub normalization: Normalization,
    /// Width, depth and kind.
    pub scaling: Scaling,
}

impl EncoderEntry {
    /// The multiple of 32 nearest to [`EncoderEntry::resolution`], the smaller of two: 240 gives 224.
    pub fn recommended_size(&self) -> usize {
        (self.resolution + 15) / 32 * 32
    }
}

/// How a member of the family grows from the base network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Factor on channels.
    pub width: f64,
    /// Factor on blocks a stage.
    pub depth: f64,
    /// The Lite kind: no squeeze-excite, ReLU6, stem and the first and last stage's depth not scaled.
    pub lite: bool,
}

/// How a family pads its convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaddingStyle {
    /// kernel / 2 on every side (PyTorch).
    Symmetric,
    /// TensorFlow's `SAME`, whose odd pixel goes after.
    TfSame,
}

/// Input normalization `(x / 255 − mean) / std`, a value an RGB channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Normalization {
    /// Subtracted, in units of full scale.
    pub mean: [f32; 3],
    /// Divided by.
    pub std: [f32; 3],
}

impl Normalization {
    /// Mean and deviation of ImageNet.
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
    /// Writes it under `decoder.` and returns its full-size value; `None` for no decoder.
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
    /// Whether it makes no sense without a class map.
    pub needs_map: bool,
    /// Whether it publishes class scores (`logits`).
    pub scores: bool,
    /// Writes it and publishes `logits`.
    pub(super) write: fn(&mut GraphBuilder, &Trunk, &ModelSpec),
}
