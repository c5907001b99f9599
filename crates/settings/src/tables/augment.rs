//! `[augment]`: what is done to training images.

use augment::{AugmentConfig, Augmenter};

use crate::keys::Keys;
use crate::tree::ConfigError;

pub(crate) fn augment(keys: &Keys<'_>, config: &AugmentConfig) -> Result<(), ConfigError> {
    Augmenter::new(config)
        .map(drop)
        .map_err(|e| keys.refuse("augment", e.to_string()))
}
