//! `[evaluate]`: how the trained network is evaluated.

use std::collections::BTreeMap;

use augment::{AugmentConfig, Augmenter};
use regex::Regex;
use serde::Deserialize;

use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Evaluate {
    pub(crate) threshold: Threshold,
    pub(crate) bootstrap: usize,
    pub(crate) confidence: f64,
    pub(crate) tta: bool,
    pub(crate) baseline_size: usize,
    pub(crate) tile_overlap: f64,
    pub(crate) set_coverage: f64,
    pub(crate) allowed_error: f64,
    pub(crate) prevalences: Vec<f64>,
    pub(crate) shifts: BTreeMap<String, AugmentConfig>,
    pub(crate) subgroups: BTreeMap<String, String>,
}

impl Default for Evaluate {
    fn default() -> Self {
        Evaluate {
            threshold: Threshold::Youden,
            bootstrap: 2000,
            confidence: 0.95,
            tta: false,
            baseline_size: 48,
            tile_overlap: 0.5,
            set_coverage: 0.9,
            allowed_error: 0.05,
            prevalences: vec![0.01, 0.05, 0.2, 0.5],
            shifts: BTreeMap::new(),
            subgroups: BTreeMap::new(),
        }
    }
}

/// How the threshold is chosen, on the validation images alone: `"youden"`, a number, `{ sensitivity = 0.95 }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// The largest sensitivity + specificity − 1.
    Youden,
    /// This threshold, regardless of the data.
    Fixed(f64),
    /// The highest with at least this sensitivity.
    Sensitivity(f64),
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            sensitivity: f64,
        }
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Threshold;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"youden\", a number or { sensitivity = 0.95 }")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Threshold, E> {
                match (name, name.parse()) {
                    ("youden", _) => Ok(Threshold::Youden),
                    (_, Ok(number)) => Ok(Threshold::Fixed(number)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Threshold, E> {
                Ok(Threshold::Fixed(number))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Threshold, E> {
                Ok(Threshold::Fixed(number as f64))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Threshold, A::Error> {
                let wanted =
                    Wanted::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Threshold::Sensitivity(wanted.sensitivity))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// How the trained network is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateSettings {
    /// How the threshold is chosen.
    pub threshold: Threshold,
    /// Number of bootstrap resamples.
    pub bootstrap: usize,
    /// Confidence level of all intervals.
    pub confidence: f64,
    /// Whether to average over the image and its mirror image.
    pub tta: bool,
    /// Side in pixels of the small images that the linear baseline sees.
    pub baseline_size: usize,
    /// Share of a tile's side that neighbouring tiles of a large image have in common.
    pub tile_overlap: f64,
    /// The probability with which a prediction's set of classes contains the true one.
    pub set_coverage: f64,
    /// The share of errors among predictions that are not left to a person.
    pub allowed_error: f64,
    /// Shares of the positive class at which predictive values are stated.
    pub prevalences: Vec<f64>,
    /// Changes under which the validation images are evaluated again, by name.
    pub shifts: BTreeMap<String, AugmentConfig>,
    /// Groupings of the images by a pattern over their paths, by name: images with the same text of the pattern's first
    /// group, or of its whole match, are a subgroup.
    pub subgroups: Vec<(String, Grouping)>,
}

/// A pattern over paths whose first group, or whole match, names the subgroup of an image. Equal if the patterns are.
#[derive(Clone, Debug)]
pub struct Grouping(Regex);

impl PartialEq for Grouping {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Grouping {
    /// The subgroup of an image; `None` if the pattern does not match its path.
    pub fn of<'p>(&self, path: &'p str) -> Option<&'p str> {
        let captures = self.0.captures(path)?;
        let found = captures.get(1).or_else(|| captures.get(0))?;
        Some(found.as_str())
    }
}

pub(crate) fn evaluate(keys: &Keys<'_>, raw: Evaluate) -> Result<EvaluateSettings, ConfigError> {
    match raw.threshold {
        Threshold::Youden => {}
        Threshold::Fixed(p) => {
            keys.within("evaluate.threshold", p, 0.0, 1.0)?;
        }
        Threshold::Sensitivity(s) => {
            keys.within("evaluate.threshold.sensitivity", s, 0.01, 1.0)?;
        }
    }
    keys.within("evaluate.bootstrap", raw.bootstrap, 10, 1_000_000)?;
    keys.within("evaluate.confidence", raw.confidence, 0.5, 0.999)?;
    keys.within("evaluate.baseline_size", raw.baseline_size, 4, 256)?;
    keys.within("evaluate.tile_overlap", raw.tile_overlap, 0.0, 0.95)?;
    keys.within("evaluate.set_coverage", raw.set_coverage, 0.5, 0.999)?;
    keys.within("evaluate.allowed_error", raw.allowed_error, 0.001, 0.5)?;
    for prevalence in &raw.prevalences {
        keys.within("evaluate.prevalences", *prevalence, 1e-6, 1.0 - 1e-6)?;
    }
    shifts(keys, &raw.shifts)?;
    let subgroups = subgroups(keys, &raw.subgroups)?;
    let Evaluate {
        threshold,
        bootstrap,
        confidence,
        tta,
        baseline_size,
        tile_overlap,
        set_coverage,
        allowed_error,
        prevalences,
        shifts,
        subgroups: _,
    } = raw;
    Ok(EvaluateSettings {
        threshold,
        bootstrap,
        confidence,
        tta,
        baseline_size,
        tile_overlap,
        set_coverage,
        allowed_error,
        prevalences,
        shifts,
        subgroups,
    })
}

fn subgroups(
    keys: &Keys<'_>,
    patterns: &BTreeMap<String, String>,
) -> Result<Vec<(String, Grouping)>, ConfigError> {
    let grouping = |(name, pattern): (&String, &String)| {
        let key = format!("evaluate.subgroups.{name}");
        let regex = Regex::new(pattern).map_err(|error| keys.refuse(&key, error.to_string()))?;
        Ok((name.clone(), Grouping(regex)))
    };
    patterns.iter().map(grouping).collect()
}

/// Each shift changes something, within the ranges of `[augment]`.
fn shifts(keys: &Keys<'_>, shifts: &BTreeMap<String, AugmentConfig>) -> Result<(), ConfigError> {
    for (name, shift) in shifts {
        let key = format!("evaluate.shifts.{name}");
        let augmenter = Augmenter::new(shift).map_err(|e| keys.refuse(&key, e.to_string()))?;
        if shift.mixup.is_some() || shift.cutmix.is_some() {
            let message = "mixup and cutmix mix training images with others; a shift changes one image at a time";
            return Err(keys.refuse(&key, message));
        }
        if augmenter.is_identity() {
            let message = "this changes nothing: give a transform of [augment], such as contrast = { min = 0.6, max = 0.6 }";
            return Err(keys.refuse(&key, message));
        }
    }
    Ok(())
}
