//! What a user asks for, and its check against the registry.

use serde::{Deserialize, Serialize};

use super::registry::{self, DecoderEntry, EncoderEntry, HeadEntry};
use crate::graph::GraphError;

/// Names and numbers that decide a network; the `[model]` table of a pipeline, and part of every checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSpec {
    /// A name of [`super::encoders`].
    pub encoder: String,
    /// A name of [`super::decoders`].
    pub decoder: String,
    /// A name of [`super::heads`].
    pub head: String,
    /// Image channels: 3 for RGB, 1 for grey.
    pub in_channels: usize,
    /// Classes, at least 2.
    pub classes: usize,
    /// Stochastic depth of the last encoder block, in [0, 1); it grows linearly from 0 over the blocks.
    pub drop_path: f32,
    /// Dropout before the last layer of the `bottleneck` head, in [0, 1).
    pub dropout: f32,
}

impl Default for ModelSpec {
    /// The article's network: EfficientNet-B1, U-Net++, global average pooling over the class map, two classes.
    fn default() -> Self {
        ModelSpec {
            encoder: "efficientnet_b1".into(),
            decoder: "unetpp".into(),
            head: "article".into(),
            in_channels: 3,
            classes: 2,
            drop_path: 0.0,
            dropout: 0.0,
        }
    }
}

/// Why a network could not be built.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BuildError {
    /// No such encoder, decoder or head.
    #[error(
        "model.{key} = \"{name}\" is not known{}; known: {known}",
        did_you_mean(nearest)
    )]
    Unknown {
        /// `encoder`, `decoder` or `head`.
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
        why: &'static str,
    },
    /// A builder broke an invariant of the graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// The registry's entries that a spec names.
pub(super) struct Parts {
    pub(super) encoder: &'static EncoderEntry,
    pub(super) decoder: &'static DecoderEntry,
    pub(super) head: &'static HeadEntry,
}

impl ModelSpec {
    /// Looks the names up and checks numbers and combination.
    pub(super) fn check(&self) -> Result<Parts, BuildError> {
        let parts = Parts {
            encoder: registry::find_encoder(&self.encoder)?,
            decoder: registry::find_decoder(&self.decoder)?,
            head: registry::find_head(&self.head)?,
        };
        in_range("in_channels", &self.in_channels, 1..=64, "from 1 to 64")?;
        in_range(
            "classes",
            &self.classes,
            2..=1000,
            "from 2 to 1000 (a yes-or-no question has two classes)",
        )?;
        in_range("drop_path", &self.drop_path, 0.0..=0.99, "from 0 to 0.99")?;
        in_range("dropout", &self.dropout, 0.0..=0.99, "from 0 to 0.99")?;
        self.check_combination(&parts)?;
        Ok(parts)
    }

    fn check_combination(&self, parts: &Parts) -> Result<(), BuildError> {
        let refuse = |key, why| Err(BuildError::Combination { key, why });
        if parts.head.needs_decoder && parts.decoder.write.is_none() {
            return refuse(
                "decoder",
                "\"none\" leaves the article's head without a class map; use head = \"bottleneck\" or a decoder",
            );
        }
        // On a pixel's 16 features the noise would average out over the image, and nobody would notice.
        if parts.head.needs_decoder && self.dropout > 0.0 {
            return refuse(
                "dropout",
                "the article's head has no layer to drop from; set it to 0, use drop_path, or head = \"bottleneck\"",
            );
        }
        Ok(())
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
