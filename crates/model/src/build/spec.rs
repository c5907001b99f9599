//! The user's specification of a network.

use serde::{Deserialize, Serialize};

/// The architecture that is assembled from an encoder and a decoder; the default.
pub(super) const ENCODER_DECODER: &str = "encoder_decoder";

/// The default encoder and decoder of [`ENCODER_DECODER`]: the paper's.
const ENCODER: &str = "efficientnet_b1";
const DECODER: &str = "unetpp";

/// Names and numbers that define a network; the `[model]` table of a pipeline, and part of every checkpoint.
///
/// A key that not every architecture takes is an `Option`: if left out, the architecture's default applies; if set for
/// an architecture that does not take it, it is an error ([`super::ArchitectureEntry::keys`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSpec {
    /// A name of [`super::architectures`].
    pub architecture: String,
    /// A name of [`super::encoders`]; `efficientnet_b1` if left out.
    pub encoder: Option<String>,
    /// A name of [`super::decoders`]; `unetpp` if left out.
    pub decoder: Option<String>,
    /// A name of [`super::heads`].
    pub head: String,
    /// Image channels: 3 for RGB, 1 for greyscale.
    pub in_channels: usize,
    /// Number of classes, at least 2.
    pub classes: usize,
    /// Channels of the class map, at least 2; as many as `classes` if left out. Masks may have other classes than
    /// images.
    pub map_classes: Option<usize>,
    /// Stochastic-depth rate of the last encoder block, in [0, 1); it grows linearly from 0 over the blocks.
    pub drop_path: f32,
    /// Dropout rate in [0, 1): before the last layer of the `bottleneck` and `region` heads, in the two deepest levels of
    /// `unet_2015`, and after each convolution of `unetpp_2018` (its authors: 0.5).
    pub dropout: f32,
    /// Channels at full resolution, doubled at every level down; the paper's number if left out.
    pub base_channels: Option<usize>,
    /// For `unetpp_2018`: the network ends at x^{0,L}, L from 1 to 4 (fast mode); if left out, the mean of all four
    /// heads (accurate mode).
    pub pruning_level: Option<usize>,
}

impl Default for ModelSpec {
    /// The paper's network: EfficientNet-B1, U-Net++, global average pooling over the class map, two classes.
    fn default() -> Self {
        ModelSpec {
            architecture: ENCODER_DECODER.into(),
            encoder: None,
            decoder: None,
            head: "cam".into(),
            in_channels: 3,
            classes: 2,
            map_classes: None,
            drop_path: 0.0,
            dropout: 0.0,
            base_channels: None,
            pruning_level: None,
        }
    }
}

impl ModelSpec {
    /// A short label made of the parts' names: `efficientnet_b1, unetpp, cam`.
    pub fn label(&self) -> String {
        match self.architecture.as_str() {
            ENCODER_DECODER => format!("{}, {}, {}", self.encoder(), self.decoder(), self.head),
            whole => format!("{whole}, {}", self.head),
        }
    }

    /// Channels of the class map.
    pub(super) fn map_channels(&self) -> usize {
        self.map_classes.unwrap_or(self.classes)
    }

    /// The encoder, for an architecture that takes one.
    pub(super) fn encoder(&self) -> &str {
        self.encoder.as_deref().unwrap_or(ENCODER)
    }

    /// The decoder, for an architecture that takes one.
    pub(super) fn decoder(&self) -> &str {
        self.decoder.as_deref().unwrap_or(DECODER)
    }

    /// The keys that not every architecture takes, and whether each is set.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, bool)> {
        [
            ("encoder", self.encoder.is_some()),
            ("decoder", self.decoder.is_some()),
            ("drop_path", self.drop_path != 0.0),
            ("base_channels", self.base_channels.is_some()),
            ("pruning_level", self.pruning_level.is_some()),
        ]
        .into_iter()
    }
}
