//! `[explain]`: which pixels the class scores are based on.

use serde::Deserialize;

use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Explain {
    pub(crate) images: usize,
    pub(crate) randomized: usize,
    pub(crate) steps: usize,
}

impl Default for Explain {
    fn default() -> Self {
        Explain {
            images: 4,
            randomized: 1,
            steps: 20,
        }
    }
}

/// Which pixels the class scores are based on.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainSettings {
    /// Test images that are explained, by every method.
    pub images: usize,
    /// How many of them are explained again with random weights.
    pub randomized: usize,
    /// Gradients of integrated gradients, and steps of the deletion and insertion curves.
    pub steps: usize,
}

pub(crate) fn explain(keys: &Keys<'_>, raw: &Explain) -> Result<ExplainSettings, ConfigError> {
    keys.within("explain.images", raw.images, 1, 10_000)?;
    keys.within("explain.randomized", raw.randomized, 0, raw.images)?;
    keys.within("explain.steps", raw.steps, 4, 1000)?;
    Ok(ExplainSettings {
        images: raw.images,
        randomized: raw.randomized,
        steps: raw.steps,
    })
}
