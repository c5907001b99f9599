//! `[probe]`: what predicts the class besides the finding.

use serde::Deserialize;

use super::novelty::sample;
use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Probe {
    pub(crate) images: Option<usize>,
    pub(crate) ring: f64,
}

impl Default for Probe {
    fn default() -> Self {
        Probe {
            images: None,
            ring: 0.15,
        }
    }
}

/// What predicts the class besides the finding.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSettings {
    /// Test images that the network sees with a part taken away; `None`: a number that takes a small part of an epoch's
    /// time.
    pub images: Option<usize>,
    /// Width of the outer ring, as a share of the image's side.
    pub ring: f64,
}

pub(crate) fn probe(keys: &Keys<'_>, raw: &Probe) -> Result<ProbeSettings, ConfigError> {
    sample(keys, "probe.images", raw.images)?;
    keys.within("probe.ring", raw.ring, 0.02, 0.45)?;
    Ok(ProbeSettings {
        images: raw.images,
        ring: raw.ring,
    })
}
