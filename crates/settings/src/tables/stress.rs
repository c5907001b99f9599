//! `[stress]`: the test images under changes of growing strength.

use serde::Deserialize;

use super::novelty::sample;
use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Stress {
    pub(crate) images: Option<usize>,
}

/// The test images under changes of growing strength.
#[derive(Clone, Debug, PartialEq)]
pub struct StressSettings {
    /// Test images that each change is tried on; `None`: a number that takes a small part of an epoch's time.
    pub images: Option<usize>,
}

pub(crate) fn stress(keys: &Keys<'_>, raw: &Stress) -> Result<StressSettings, ConfigError> {
    sample(keys, "stress.images", raw.images)?;
    Ok(StressSettings { images: raw.images })
}
