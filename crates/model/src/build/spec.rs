//! What a user asks for, and its check against the registry.

use serde::{Deserialize, Serialize};

use super::registry::{self, DecoderEntry, EncoderEntry, HeadEntry};
use super::registry::{Normalization, WholeNetwork};
use super::unetpp_2018::COLUMNS;
use crate::graph::GraphError;

/// The architecture that is put together from an encoder and a decoder; the default.
pub(super) const ENCODER_DECODER: &str = "encoder_decoder";

/// The encoder and decoder of [`ENCODER_DECODER`] where none is given: the article's.
const ENCODER: &str = "efficientnet_b1";
const DECODER: &str = "unetpp";

/// Names and numbers that decide a network; the `[model]` table of a pipeline, and part of every checkpoint.
///
/// A key that not every architecture takes is an `Option`: what is left out is the architecture's own, and what it
/// does not take is refused ([`super::ArchitectureEntry::keys`]).
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
    /// Image channels: 3 for RGB, 1 for grey.
    pub in_channels: usize,
    /// Classes, at least 2.
    pub classes: usize,
    /// Channels of the class map, at least 2; as many as `classes` if left out. Masks may have classes of their own.
    pub map_classes: Option<usize>,
    /// Stochastic depth of the last encoder block, in [0, 1); it grows linearly from 0 over the blocks.
    pub drop_path: f32,
    /// Dropout in [0, 1): before the last layer of the `bottleneck` head, in the two deepest levels of `unet_2015`, and
    /// after each convolution of `unetpp_2018` (its authors: 0.5).
    pub dropout: f32,
    /// Channels at full size, which double with every level down; the paper's if left out.
    pub base_channels: Option<usize>,
    /// Of `unetpp_2018`: ends at x^{0,L}, L from 1 to 4 (fast mode); if left out, the mean of all four heads (accurate
    /// mode).
    pub pruning_level: Option<usize>,
}

impl Default for ModelSpec {
    /// The article's network: EfficientNet-B1, U-Net++, global average pooling over the class map, two classes.
    fn default() -> Self {
        ModelSpec {
            architecture: ENCODER_DECODER.into(),
            encoder: None,
            decoder: None,
            head: "article".into(),
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

/// Why a network could not be built.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BuildError {
    /// No such architecture, encoder, decoder or head.
    #[error(
        "model.{key} = \"{name}\" is not known{}; known: {known}",
        did_you_mean(nearest)
    )]
    Unknown {
        /// `architecture`, `encoder`, `decoder` or `head`.
        key: &'static str,
        /// The name given.
        name: String,
        /// The known name most like it.
        nearest: Option<&'static str>,
        /// All known names.
        known: String,
    },
    /// A number outside its range.
    #[error("model.{key} = {value} is out of range: it must be {expected}")]
    Range {
        /// Key in the spec.
        key: &'static str,
        /// The value given.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Parts that do not go together.
    #[error("model.{key}: {why}")]
    Combination {
        /// Key in the spec to change.
        key: &'static str,
        /// What is wrong and what to do.
        why: String,
    },
    /// A builder broke an invariant of the graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl BuildError {
    /// The key of [`ModelSpec`] to look at.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            BuildError::Unknown { key, .. }
            | BuildError::Range { key, .. }
            | BuildError::Combination { key, .. } => Some(key),
            BuildError::Graph(_) => None,
        }
    }
}

/// The registry's entries that a spec names.
pub(super) struct Parts {
    pub(super) architecture: Architecture,
    pub(super) head: &'static HeadEntry,
}

/// What stands below the head.
pub(super) enum Architecture {
    Assembled(&'static EncoderEntry, &'static DecoderEntry),
    Whole(&'static WholeNetwork),
}

impl Architecture {
    fn has_map(&self) -> bool {
        match self {
            Architecture::Assembled(_, decoder) => decoder.write.is_some(),
            Architecture::Whole(whole) => whole.has_map,
        }
    }

    fn drops(&self) -> bool {
        matches!(self, Architecture::Whole(whole) if whole.drops)
    }
}

impl ModelSpec {
    /// What the input is normalized by where nothing else is said: as the encoder's usual weights were trained.
    ///
    /// # Errors
    /// An unknown architecture or encoder, or an encoder that the architecture does not take.
    pub fn normalization(&self) -> Result<Normalization, BuildError> {
        Ok(match self.architecture()? {
            Architecture::Assembled(encoder, _) => encoder.normalization,
            Architecture::Whole(whole) => whole.normalization,
        })
    }

    /// The names that make the network, in a few words: `efficientnet_b1, unetpp, article`.
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

    fn encoder(&self) -> &str {
        self.encoder.as_deref().unwrap_or(ENCODER)
    }

    fn decoder(&self) -> &str {
        self.decoder.as_deref().unwrap_or(DECODER)
    }

    /// Looks the names up and checks numbers and combination.
    pub(super) fn check(&self) -> Result<Parts, BuildError> {
        let parts = Parts {
            architecture: self.architecture()?,
            head: registry::find_head(&self.head)?,
        };
        self.check_ranges()?;
        self.check_combination(&parts)?;
        Ok(parts)
    }

    /// The architecture, whose keys alone are given.
    fn architecture(&self) -> Result<Architecture, BuildError> {
        let entry = registry::find_architecture(&self.architecture)?;
        let mut foreign = self
            .given()
            .filter(|(key, given)| *given && !entry.keys.contains(key));
        if let Some((key, _)) = foreign.next() {
            let why = refusal(key, entry.name);
            return Err(BuildError::Combination { key, why });
        }
        Ok(match &entry.whole {
            Some(whole) => Architecture::Whole(whole),
            None => Architecture::Assembled(
                registry::find_encoder(self.encoder())?,
                registry::find_decoder(self.decoder())?,
            ),
        })
    }

    /// The keys that not every architecture takes, and whether they say something.
    fn given(&self) -> impl Iterator<Item = (&'static str, bool)> {
        [
            ("encoder", self.encoder.is_some()),
            ("decoder", self.decoder.is_some()),
            ("drop_path", self.drop_path != 0.0),
            ("base_channels", self.base_channels.is_some()),
            ("pruning_level", self.pruning_level.is_some()),
        ]
        .into_iter()
    }

    fn check_ranges(&self) -> Result<(), BuildError> {
        in_range("in_channels", &self.in_channels, 1..=64, "from 1 to 64")?;
        in_range(
            "classes",
            &self.classes,
            2..=1000,
            "from 2 to 1000 (a yes-or-no question has two classes)",
        )?;
        in_range(
            "map_classes",
            &self.map_channels(),
            2..=1000,
            "from 2 to 1000 (the background is one)",
        )?;
        in_range("drop_path", &self.drop_path, 0.0..=0.99, "from 0 to 0.99")?;
        in_range("dropout", &self.dropout, 0.0..=0.99, "from 0 to 0.99")?;
        let base = self.base_channels.unwrap_or(1);
        in_range("base_channels", &base, 1..=256, "from 1 to 256")?;
        let level = self.pruning_level.unwrap_or(1);
        in_range("pruning_level", &level, 1..=COLUMNS, "from 1 to 4")
    }

    fn check_combination(&self, parts: &Parts) -> Result<(), BuildError> {
        let refuse = |key, why: &str| {
            Err(BuildError::Combination {
                key,
                why: why.into(),
            })
        };
        let mapless = parts.head.needs_map && !parts.architecture.has_map();
        match parts.architecture {
            Architecture::Assembled(..) if mapless => refuse(
                "decoder",
                "\"none\" leaves the head without a class map; use head = \"bottleneck\" or a decoder",
            ),
            Architecture::Whole(_) if mapless => refuse(
                "head",
                "this head needs a class map, and this architecture has none; use head = \"bottleneck\"",
            ),
            // On a pixel's 16 features the noise would average out over the image, and nobody would notice.
            _ if !parts.head.scores && self.dropout > 0.0 && !parts.architecture.drops() => refuse(
                "dropout",
                "without a head nothing drops; set it to 0, or use drop_path",
            ),
            _ if parts.head.needs_map && self.dropout > 0.0 && !parts.architecture.drops() => {
                refuse(
                    "dropout",
                    "the article's head has no layer to drop from; set it to 0, use drop_path, or head = \"bottleneck\"",
                )
            }
            _ => Ok(()),
        }
    }
}

/// Why an architecture does not take a key, and what to do.
fn refusal(key: &str, architecture: &str) -> String {
    match key {
        "encoder" | "decoder" => format!(
            "architecture = \"{architecture}\" is a whole network with {key} included; leave {key} out, \
             or leave architecture out to combine an encoder with a decoder"
        ),
        "drop_path" => format!(
            "architecture = \"{architecture}\" knows no stochastic depth, which is for EfficientNet encoders; set drop_path to 0"
        ),
        "base_channels" => format!(
            "architecture = \"{architecture}\" has its channels from its encoder and decoder; leave base_channels out"
        ),
        _ => format!(
            "architecture = \"{architecture}\" takes no {key}; leave it out, or use \"unetpp_2018\""
        ),
    }
}

fn in_range<T: PartialOrd + ToString>(
    key: &'static str,
    value: &T,
    range: std::ops::RangeInclusive<T>,
    expected: &'static str,
) -> Result<(), BuildError> {
    if range.contains(value) {
        return Ok(());
    }
    Err(BuildError::Range {
        key,
        value: value.to_string(),
        expected,
    })
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest
        .map(|name| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default()
}
