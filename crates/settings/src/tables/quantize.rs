//! `[quantize]`: inference in 8-bit codes.

use serde::Deserialize;

use super::novelty::sample;
use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quantize {
    pub(crate) images: usize,
    pub(crate) max_auc_loss: f64,
    pub(crate) max_calibration_loss: f64,
    pub(crate) max_dice_loss: f64,
}

impl Default for Quantize {
    fn default() -> Self {
        Quantize {
            images: 128,
            max_auc_loss: 0.005,
            max_calibration_loss: 0.01,
            max_dice_loss: 0.005,
        }
    }
}

/// Inference in 8-bit codes.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizeSettings {
    /// Training images from which the ranges of the codes are determined.
    pub images: usize,
    /// How much lower the AUC on validation may be than in f32.
    pub max_auc_loss: f64,
    /// How much higher the expected calibration error on validation may be.
    pub max_calibration_loss: f64,
    /// How much lower the mean Dice of the map on validation may be.
    pub max_dice_loss: f64,
}

pub(crate) fn quantize(keys: &Keys<'_>, raw: &Quantize) -> Result<QuantizeSettings, ConfigError> {
    sample(keys, "quantize.images", Some(raw.images))?;
    keys.within("quantize.max_auc_loss", raw.max_auc_loss, 0.0, 1.0)?;
    keys.within(
        "quantize.max_calibration_loss",
        raw.max_calibration_loss,
        0.0,
        1.0,
    )?;
    keys.within("quantize.max_dice_loss", raw.max_dice_loss, 0.0, 1.0)?;
    Ok(QuantizeSettings {
        images: raw.images,
        max_auc_loss: raw.max_auc_loss,
        max_calibration_loss: raw.max_calibration_loss,
        max_dice_loss: raw.max_dice_loss,
    })
}
