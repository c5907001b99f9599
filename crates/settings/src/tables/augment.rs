//! `[augment]`: what is done to training images.

use augment::{AugmentConfig, Augmenter};

use crate::keys::Keys;
use crate::tree::ConfigError;

pub(crate) fn augment(keys: &Keys<'_>, config: &AugmentConfig) -> Result<(), ConfigError> {
    Augmenter::new(config)
        .map(drop)
        .map_err(|e| keys.refuse("augment", e.to_string()))
}

/// A mask's pixels are class numbers, which cannot be blended.
pub(crate) fn mixing(
    keys: &Keys<'_>,
    config: &AugmentConfig,
    wants_masks: bool,
) -> Result<(), ConfigError> {
    match config.mixup {
        Some(_) if wants_masks => Err(keys.refuse(
            "augment.mixup",
            "mixup blends images, but the class numbers of their masks cannot be blended, and train.map.loss is on; \
             use augment.cutmix, which pastes the masks, too",
        )),
        _ => Ok(()),
    }
}
