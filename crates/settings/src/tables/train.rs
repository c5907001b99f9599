//! `[train]`: losses, optimizer and schedule, and what the pipeline adds to them.

use imaging::MaskCoding;
use morphology::BorderWeights;
use serde::Deserialize;
use train::{TrainConfig, TrainError};

use crate::keys::Keys;
use crate::tree::ConfigError;

/// Keys of `[train]` that do not belong to the trainer's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TrainExtra {
    pub(crate) border: Option<Border>,
    pub(crate) repeats: Option<usize>,
}

/// U-Net's weights of the pixels between touching cells.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Border {
    pub(crate) w0: f64,
    pub(crate) sigma: f64,
    pub(crate) balance: bool,
}

impl Default for Border {
    fn default() -> Self {
        let BorderWeights { w0, sigma, balance } = BorderWeights::default();
        Border { w0, sigma, balance }
    }
}

pub(crate) fn train(keys: &Keys<'_>, config: &TrainConfig) -> Result<(), ConfigError> {
    config.check().map_err(|e| match e {
        TrainError::Config { key, must } => {
            keys.refuse(&format!("train.{key}"), format!("it must be {must}"))
        }
        other => keys.refuse("train", other.to_string()),
    })
}

/// Passes over the training images per epoch; 1 if not given.
pub(crate) fn repeats(keys: &Keys<'_>, raw: Option<usize>) -> Result<usize, ConfigError> {
    keys.within("train.repeats", raw.unwrap_or(1), 1, 10_000)
}

/// `[train.border]`, which needs binary masks of cells that the map is trained on.
pub(crate) fn border(
    keys: &Keys<'_>,
    raw: Option<Border>,
    train: &TrainConfig,
    masks: Option<&MaskCoding>,
) -> Result<Option<BorderWeights>, ConfigError> {
    let Some(Border { w0, sigma, balance }) = raw else {
        return Ok(None);
    };
    let binary = masks.is_some_and(|coding| coding.classes() == 2);
    if !train.wants_masks() || !binary {
        let message = "border weights need binary masks of cells that train the map (data.masks and train.map.loss)";
        return Err(keys.refuse("train.border", message));
    }
    let weights = BorderWeights { w0, sigma, balance };
    let pixel = morphology::Mask::new(1, 1, &[true]);
    match pixel.and_then(|pixel| weights.of(pixel, pixel)) {
        Ok(_) => Ok(Some(weights)),
        Err(error) => Err(keys.refuse("train.border", error.to_string())),
    }
}
