//! `[pipeline]`: the stages, the seed, the device and the precision.

use std::collections::HashSet;

use model::engine::{Choice, Device, Precision};
use serde::Deserialize;

use crate::keys::Keys;
use crate::stage::{Artifact, StageId};
use crate::tree::{ConfigError, did_you_mean};

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pipeline {
    pub(crate) title: String,
    pub(crate) stages: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) device: String,
    pub(crate) precision: PrecisionName,
}

/// `[pipeline] precision`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PrecisionName {
    /// bf16 where the device multiplies it, otherwise f32.
    Auto,
    F32,
    Tf32,
    Bf16,
}

impl PrecisionName {
    /// The precision; `None` if it depends on the device.
    fn named(self) -> Option<Precision> {
        match self {
            PrecisionName::Auto => None,
            PrecisionName::F32 => Some(Precision::F32),
            PrecisionName::Tf32 => Some(Precision::Tf32),
            PrecisionName::Bf16 => Some(Precision::Bf16),
        }
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        let stages = StageId::ALL
            .iter()
            // Most data sets have no masks, most networks see whole images, and int8 only runs when asked for.
            .filter(|stage| !OPTIONAL.iter().any(|artifact| stage.makes(*artifact)))
            .map(|stage| stage.name().to_owned())
            .collect();
        Pipeline {
            title: String::new(),
            stages,
            seed: 0,
            device: "auto".into(),
            // The same on every machine, unlike what `auto` chooses.
            precision: PrecisionName::F32,
        }
    }
}

/// What the stages make that run only if they are listed.
const OPTIONAL: [Artifact; 3] = [
    Artifact::Segmentation,
    Artifact::Regions,
    Artifact::Quantization,
];

/// Former names of stages, and what they are called now.
const RENAMED: [(&str, &str); 2] = [
    ("segment", "overlays"),
    ("evaluate-map", "evaluate-segmentation"),
];

/// The stages with these names; checks that the names are known, that none is listed twice, and that every stage's
/// inputs are made by earlier ones.
pub(crate) fn stages(keys: &Keys<'_>, names: &[String]) -> Result<Vec<StageId>, ConfigError> {
    const KEY: &str = "pipeline.stages";
    let known: Vec<&str> = StageId::ALL.map(StageId::name).into();
    let (mut found, mut made) = (vec![], HashSet::new());
    for name in names {
        let Some(stage) = StageId::find(name) else {
            let hint = match RENAMED.iter().find(|(old, _)| old == name) {
                Some((_, new)) => format!("; it is now called \"{new}\""),
                None => did_you_mean(name, &known),
            };
            return Err(keys.refuse(
                KEY,
                format!("no stage \"{name}\"{hint}; available: {}", known.join(", ")),
            ));
        };
        if found.contains(&stage) {
            return Err(keys.refuse(KEY, format!("the stage \"{name}\" is listed twice")));
        }
        if let Some(missing) = stage.reads().iter().find(|a| !made.contains(*a)) {
            return Err(keys.refuse(KEY, unmade(name, *missing)));
        }
        made.extend(stage.writes().iter().copied());
        found.push(stage);
    }
    if found.is_empty() {
        return Err(keys.refuse(
            KEY,
            format!("no stage is given; available: {}", known.join(", ")),
        ));
    }
    Ok(found)
}

fn unmade(stage: &str, artifact: Artifact) -> String {
    let maker = StageId::ALL.iter().find(|stage| stage.makes(artifact));
    let maker = maker.map_or("", |stage| stage.name());
    format!(
        "the stage \"{stage}\" reads {artifact}, which no earlier stage makes; put \"{maker}\" before it"
    )
}

/// The device with this name and the precision, with both in the choice's description.
///
/// # Errors
/// As [`device`].
pub(crate) fn compute(
    name: &str,
    precision: PrecisionName,
) -> Result<(Choice, Precision), ConfigError> {
    let (choice, precision, why) = match precision.named() {
        Some(precision) => (device(name, precision)?, precision, ""),
        None => match fastest(name)? {
            (choice, Precision::Bf16) => (choice, Precision::Bf16, " (auto)"),
            (choice, precision) => (choice, precision, " (auto: bf16 would be emulated)"),
        },
    };
    let words = format!("{}; precision: {precision}{why}", choice.words);
    Ok((Choice { words, ..choice }, precision))
}

/// The device with this name and what `precision = "auto"` means on it: bf16 on a GPU that has it, and on a processor that
/// has instructions for it; otherwise f32, because bf16 would be emulated, which is slower.
///
/// # Errors
/// As [`device`].
pub fn fastest(name: &str) -> Result<(Choice, Precision), ConfigError> {
    if let Ok(choice) = device(name, Precision::Bf16)
        && choice.device.multiplies_bf16()
    {
        return Ok((choice, Precision::Bf16));
    }
    Ok((device(name, Precision::F32)?, Precision::F32))
}

/// The device with this name (`auto`, `cpu`, `cuda`), after checking that it works.
///
/// # Errors
/// The name is unknown, or the GPU is missing or unsuitable.
pub fn device(name: &str, precision: Precision) -> Result<Choice, ConfigError> {
    match Device::choose(name, precision) {
        Some(Ok(choice)) => Ok(choice),
        Some(Err(why)) => Err(ConfigError::Device(format!("device \"{name}\": {why}"))),
        None => Err(ConfigError::Device(format!(
            "no device \"{name}\"{}; available: {}",
            did_you_mean(name, &Device::NAMES),
            Device::NAMES.join(", ")
        ))),
    }
}
