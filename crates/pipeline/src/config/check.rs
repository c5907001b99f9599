//! Checks of values whose types are right: each refuses with the key, its place and what to do.

use std::collections::HashSet;
use std::path::Path;

use augment::{AugmentConfig, Augmenter};
use dataset::SplitPolicy;
use dataset::phantom::PhantomConfig;
use model::build::{self, ModelSpec};
use model::train::{TrainConfig, TrainError};
use model::weights::{About, InputNormalization, TensorFile};

use super::ConfigError;
use super::nearest::did_you_mean;
use super::raw::{self, Threshold};
use super::settings::{EvaluateSettings, ImageSettings, SegmentSettings};
use super::tree::Node;
use crate::stages::{self, Artifact, Stage};

/// The tree, for places in errors.
pub(super) struct Keys<'t> {
    pub(super) tree: &'t Node,
}

impl Keys<'_> {
    fn refuse(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let nearest =
            std::iter::successors(Some(key), |k| k.rsplit_once('.').map(|(table, _)| table))
                .find_map(|k| self.tree.get(k));
        let origin = nearest.map_or_else(|| "settings".into(), |node| node.origin.to_string());
        ConfigError::Value {
            key: key.into(),
            origin,
            message: message.into(),
        }
    }

    fn within<T: PartialOrd + std::fmt::Display>(
        &self,
        key: &str,
        value: T,
        low: T,
        high: T,
    ) -> Result<T, ConfigError> {
        if value >= low && value <= high {
            return Ok(value);
        }
        Err(self.refuse(
            key,
            format!("{value} is out of range: it must be from {low} to {high}"),
        ))
    }
}

/// Names are known, none stands twice, and every stage's input is made by an earlier one.
pub(super) fn stages(
    keys: &Keys<'_>,
    names: &[String],
) -> Result<Vec<&'static dyn Stage>, ConfigError> {
    const KEY: &str = "pipeline.stages";
    let known: Vec<&str> = stages::all().iter().map(|s| s.name()).collect();
    let (mut found, mut made) = (vec![], HashSet::new());
    for name in names {
        let Some(stage) = stages::find(name) else {
            let hint = did_you_mean(name, &known);
            return Err(keys.refuse(
                KEY,
                format!("no stage \"{name}\"{hint}; there are: {}", known.join(", ")),
            ));
        };
        if found
            .iter()
            .any(|earlier: &&dyn Stage| earlier.name() == name)
        {
            return Err(keys.refuse(KEY, format!("the stage \"{name}\" stands twice")));
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
            format!("no stage is given; there are: {}", known.join(", ")),
        ));
    }
    Ok(found)
}

fn unmade(stage: &str, artifact: Artifact) -> String {
    let maker = stages::all()
        .iter()
        .find(|s| s.writes().contains(&artifact))
        .map_or("", |s| s.name());
    format!(
        "the stage \"{stage}\" reads {artifact}, which no earlier stage makes; put \"{maker}\" before it"
    )
}

/// This build runs on the processor.
pub(super) fn device(name: &str) -> Result<(), ConfigError> {
    match name {
        "auto" | "cpu" => Ok(()),
        "cuda" => Err(ConfigError::Device(
            "device \"cuda\": this build has no CUDA engine yet, it runs on the processor only; use --device cpu (or auto)".into(),
        )),
        _ => Err(ConfigError::Device(format!("no device \"{name}\"{}; there are: auto, cpu, cuda", did_you_mean(name, &["auto", "cpu", "cuda"])))),
    }
}

pub(super) fn augment(keys: &Keys<'_>, config: &AugmentConfig) -> Result<(), ConfigError> {
    Augmenter::new(config)
        .map(drop)
        .map_err(|e| keys.refuse("augment", e.to_string()))
}

pub(super) fn train(keys: &Keys<'_>, config: &TrainConfig) -> Result<(), ConfigError> {
    config.check().map_err(|e| match e {
        TrainError::Config { key, must } => {
            keys.refuse(&format!("train.{key}"), format!("it must be {must}"))
        }
        other => keys.refuse("train", other.to_string()),
    })
}

/// Overlays of a map that nothing teaches would show noise.
pub(super) fn class_map(
    keys: &Keys<'_>,
    spec: &ModelSpec,
    train: &TrainConfig,
    stages: &[&dyn Stage],
) -> Result<(), ConfigError> {
    let wanted = stages
        .iter()
        .any(|s| s.writes().contains(&Artifact::Overlays));
    let no_map = spec.decoder == "none";
    if wanted && (no_map || (spec.head != "article" && !train.wants_masks())) {
        return Err(keys.refuse(
            "pipeline.stages",
            format!(
                "the stage \"segment\" needs a class map that training reaches, and head = \"{}\" with decoder = \"{}\" has none; \
                 use head = \"article\", teach the map by masks (train.map.loss), or leave the stage out",
                spec.head, spec.decoder
            ),
        ));
    }
    Ok(())
}

/// Network and image size agree, before a single image is read.
pub(super) fn model(
    keys: &Keys<'_>,
    spec: &ModelSpec,
    classes: usize,
    image: &ImageSettings,
) -> Result<(), ConfigError> {
    for (key, instead) in [
        ("classes", "the class folders decide it"),
        ("in_channels", "image.channels decides it"),
    ] {
        let key = format!("model.{key}");
        if keys.tree.get(&key).is_some() {
            return Err(keys.refuse(&key, format!("this is no setting of a pipeline: {instead}")));
        }
    }
    let spec = ModelSpec {
        classes: classes.max(2),
        ..spec.clone()
    };
    let graph = build::build(&spec).map_err(|e| keys.refuse("model", e.to_string()))?;
    graph
        .check_size(image.height, image.width)
        .map_err(|e| keys.refuse("image.size", e.to_string()))
}

/// The input normalization that pretrained weights say they were trained with.
pub(super) fn trained_with(
    keys: &Keys<'_>,
    pretrained: Option<&Path>,
) -> Result<Option<InputNormalization>, ConfigError> {
    let Some(path) = pretrained else {
        return Ok(None);
    };
    let file =
        TensorFile::read(path).map_err(|e| keys.refuse("model.pretrained", e.to_string()))?;
    Ok(About::of(&file).normalization)
}

pub(super) fn image(
    keys: &Keys<'_>,
    raw: raw::Image,
    encoder: &str,
    trained_with: Option<&InputNormalization>,
) -> Result<ImageSettings, ConfigError> {
    let raw::Size(height, width) = raw.size;
    if raw.channels != 1 && raw.channels != 3 {
        return Err(keys.refuse(
            "image.channels",
            format!("{} is not possible: 1 (grey) or 3 (RGB)", raw.channels),
        ));
    }
    keys.within("image.cache_mib", raw.cache_mib, 0, 1 << 20)?;
    let trained_with = trained_with.map(|n| n.channels(raw.channels));
    let InputNormalization { mean, std } = match (&raw.normalization, trained_with) {
        (raw::Normalization::Named(name), Some(weights)) if name == "auto" => weights,
        (chosen, weights) => {
            let chosen = normalization(keys, chosen, raw.channels, encoder)?;
            agree(keys, &chosen, weights.as_ref())?;
            chosen
        }
    };
    Ok(ImageSettings {
        height,
        width,
        channels: raw.channels,
        mean,
        std,
        cache_bytes: raw.cache_mib << 20,
    })
}

/// Pretrained weights on another input than theirs start from features that mean nothing.
fn agree(
    keys: &Keys<'_>,
    chosen: &InputNormalization,
    weights: Option<&InputNormalization>,
) -> Result<(), ConfigError> {
    match weights {
        Some(weights) if !weights.agrees(chosen) => Err(keys.refuse(
            "image.normalization",
            format!(
                "this is {chosen}, but the weights of model.pretrained were trained with {weights}: leave it at \"auto\" to take theirs"
            ),
        )),
        _ => Ok(()),
    }
}

fn normalization(
    keys: &Keys<'_>,
    raw: &raw::Normalization,
    channels: usize,
    encoder: &str,
) -> Result<InputNormalization, ConfigError> {
    const KEY: &str = "image.normalization";
    let chosen = match raw {
        raw::Normalization::Values { mean, std } => {
            let whole = mean.len() == channels && std.len() == channels;
            if !whole
                || mean.iter().chain(std).any(|v| !v.is_finite())
                || std.iter().any(|s| *s <= 0.0)
            {
                return Err(keys.refuse(
                    KEY,
                    format!("mean and std need {channels} finite numbers each, std above 0"),
                ));
            }
            return Ok(InputNormalization {
                mean: mean.clone(),
                std: std.clone(),
            });
        }
        raw::Normalization::Named(name) => match name.as_str() {
            "auto" => {
                build::find_encoder(encoder)
                    .map_err(|e| keys.refuse("model.encoder", e.to_string()))?
                    .normalization
            }
            "half" => build::Normalization::HALF,
            "imagenet" => build::Normalization::IMAGENET,
            other => {
                let hint = did_you_mean(other, &["auto", "half", "imagenet"]);
                return Err(keys.refuse(KEY, format!("\"{other}\" is not known{hint}; it may be auto, half, imagenet or {{ mean, std }}")));
            }
        },
    };
    Ok(InputNormalization::from(chosen).channels(channels))
}

pub(super) fn policy(
    keys: &Keys<'_>,
    raw: &raw::Validation,
    seed: u64,
) -> Result<SplitPolicy, ConfigError> {
    let share =
        |key: &str, value: f64| keys.within(&format!("data.validation.{key}"), value, 0.01, 0.9);
    Ok(match raw.policy {
        raw::Policy::Official => SplitPolicy::Official,
        raw::Policy::FromTrain => SplitPolicy::ValidationFromTrain {
            fraction: share("fraction", raw.fraction)?,
            seed,
            official_val: raw.official_val,
        },
        raw::Policy::Holdout => SplitPolicy::Holdout {
            val: share("fraction", raw.fraction)?,
            test: share("test_fraction", raw.test_fraction)?,
            seed,
        },
    })
}

pub(super) fn positive(
    keys: &Keys<'_>,
    positive: Option<&str>,
    classes: &[String],
) -> Result<(), ConfigError> {
    let Some(name) =
        positive.filter(|name| !classes.is_empty() && !classes.iter().any(|c| c == name))
    else {
        return Ok(());
    };
    let known: Vec<&str> = classes.iter().map(String::as_str).collect();
    Err(keys.refuse(
        "data.positive",
        format!(
            "\"{name}\" is no class{}; data.classes has {}",
            did_you_mean(name, &known),
            known.join(", ")
        ),
    ))
}

pub(super) fn limit(keys: &Keys<'_>, limit: Option<usize>) -> Result<(), ConfigError> {
    limit.map_or(Ok(()), |n| {
        keys.within("data.limit_per_class", n, 1, usize::MAX)
            .map(drop)
    })
}

pub(super) fn phantom(
    keys: &Keys<'_>,
    config: PhantomConfig,
) -> Result<PhantomConfig, ConfigError> {
    keys.within("phantom.size", config.size, 16, 4096)?;
    keys.within("phantom.difficulty", config.difficulty, 0.0, 1.0)?;
    keys.within(
        "phantom.images_per_patient",
        config.images_per_patient,
        1,
        1000,
    )?;
    for (key, counts) in [
        ("train", config.train),
        ("val", config.val),
        ("test", config.test),
    ] {
        keys.within(
            &format!("phantom.{key}"),
            counts.normal.min(counts.pneumonia),
            1,
            1_000_000,
        )?;
    }
    Ok(config)
}

pub(super) fn evaluate(
    keys: &Keys<'_>,
    raw: raw::Evaluate,
) -> Result<EvaluateSettings, ConfigError> {
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
    let raw::Evaluate {
        threshold,
        bootstrap,
        confidence,
        tta,
        baseline_size,
    } = raw;
    Ok(EvaluateSettings {
        threshold,
        bootstrap,
        confidence,
        tta,
        baseline_size,
    })
}

pub(super) fn segment(keys: &Keys<'_>, raw: raw::Segment) -> Result<SegmentSettings, ConfigError> {
    keys.within("segment.certainty", raw.certainty, 0.0, 1.0)?;
    keys.within("segment.examples", raw.examples, 1, 50)?;
    Ok(SegmentSettings {
        certainty: raw.certainty,
        examples: raw.examples,
    })
}
