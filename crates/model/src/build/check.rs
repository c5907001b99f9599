//! Validation of a [`ModelSpec`] against the registry.

use super::entries::{DecoderEntry, EncoderEntry, HeadEntry, Normalization, WholeNetwork};
use super::error::BuildError;
use super::registry;
use super::spec::ModelSpec;
use super::unetpp_2018::COLUMNS;

/// The registry's entries that a spec names.
pub(super) struct Parts {
    pub(super) architecture: Architecture,
    pub(super) head: &'static HeadEntry,
}

/// The part of the network below the head.
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
    /// The default input normalization: the one that the encoder's usual weights were trained with.
    ///
    /// # Errors
    /// An unknown architecture or encoder, or an encoder that the architecture does not take.
    pub fn normalization(&self) -> Result<Normalization, BuildError> {
        Ok(match self.architecture()? {
            Architecture::Assembled(encoder, _) => encoder.normalization,
            Architecture::Whole(whole) => whole.normalization,
        })
    }

    /// Looks up the names, and checks the numbers and the combination of parts.
    pub(super) fn check(&self) -> Result<Parts, BuildError> {
        let parts = Parts {
            architecture: self.architecture()?,
            head: registry::find_head(&self.head)?,
        };
        self.check_ranges()?;
        self.check_combination(&parts)?;
        Ok(parts)
    }

    /// The architecture, after a check that no key which it does not take is set.
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
            _ if self.dropout > 0.0 && !parts.head.drops && !parts.architecture.drops() => {
                refuse("dropout", no_dropout(parts.head))
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
            "architecture = \"{architecture}\" does not support stochastic depth, which only EfficientNet encoders \
             have; set drop_path to 0"
        ),
        "base_channels" => format!(
            "architecture = \"{architecture}\" takes its channels from its encoder and decoder; leave base_channels out"
        ),
        _ => format!(
            "architecture = \"{architecture}\" does not take {key}; leave it out, or use \"unetpp_2018\""
        ),
    }
}

fn no_dropout(head: &HeadEntry) -> &'static str {
    if head.scores {
        // On the 16 features of each pixel it would silently have no effect: its noise averages out over the image.
        return "the class-activation head has no layer for dropout to act on; set it to 0, use drop_path, or head = \"bottleneck\"";
    }
    "without a head there is no layer for dropout to act on; set it to 0, or use drop_path"
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
