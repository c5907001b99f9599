//! All architectures, encoders, decoders and heads by name: the rows that the configuration, the command line and the tests read.

use serde::Serialize;

use super::efficientnet::Scaling;
use super::rows::{ARCHITECTURES, DECODERS, ENCODERS, HEADS};
use super::{BuildError, EncoderFeatures, ModelSpec, Trunk};
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

/// All architectures, the one of encoder and decoder first.
pub fn architectures() -> &'static [ArchitectureEntry] {
    &ARCHITECTURES
}

/// All encoders.
pub fn encoders() -> &'static [EncoderEntry] {
    &ENCODERS
}

/// All decoders.
pub fn decoders() -> &'static [DecoderEntry] {
    &DECODERS
}

/// All heads.
pub fn heads() -> &'static [HeadEntry] {
    &HEADS
}

/// The architecture of a name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_architecture(name: &str) -> Result<&'static ArchitectureEntry, BuildError> {
    find("architecture", &ARCHITECTURES, |a| a.name, name)
}

/// The encoder of a name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_encoder(name: &str) -> Result<&'static EncoderEntry, BuildError> {
    find("encoder", &ENCODERS, |e| e.name, name)
}

/// The decoder of a name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_decoder(name: &str) -> Result<&'static DecoderEntry, BuildError> {
    find("decoder", &DECODERS, |e| e.name, name)
}

/// The head of a name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_head(name: &str) -> Result<&'static HeadEntry, BuildError> {
    find("head", &HEADS, |e| e.name, name)
}

fn find<E>(
    key: &'static str,
    entries: &'static [E],
    name_of: fn(&E) -> &'static str,
    name: &str,
) -> Result<&'static E, BuildError> {
    entries
        .iter()
        .find(|e| name_of(e) == name)
        .ok_or_else(|| BuildError::Unknown {
            key,
            name: name.into(),
            nearest: nearest(name, entries.iter().map(name_of)),
            known: entries.iter().map(name_of).collect::<Vec<_>>().join(", "),
        })
}

/// The name most like `name`, case and `-` aside, if any is like it at all.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let plain = name.to_lowercase().replace('-', "_");
    let scored = known.map(|k| (strsim::jaro_winkler(&plain, k), k));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.6).map(|(_, name)| name)
}
