//! `[overlays]`: what the overlays show.

use formats::checkpoint::Inference;
use serde::Deserialize;

use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Overlays {
    pub(crate) certainty: f32,
    pub(crate) examples: usize,
}

impl Default for Overlays {
    fn default() -> Self {
        Overlays {
            certainty: Inference::default().certainty,
            examples: 4,
        }
    }
}

/// What the overlays show.
#[derive(Clone, Debug, PartialEq)]
pub struct OverlaySettings {
    /// Pixels with a class-map probability of at least this are green.
    pub certainty: f32,
    /// Maximum number of cases per figure in the report.
    pub examples: usize,
}

pub(crate) fn overlays(keys: &Keys<'_>, raw: Overlays) -> Result<OverlaySettings, ConfigError> {
    keys.within("overlays.certainty", raw.certainty, 0.0, 1.0)?;
    keys.within("overlays.examples", raw.examples, 1, 50)?;
    Ok(OverlaySettings {
        certainty: raw.certainty,
        examples: raw.examples,
    })
}
