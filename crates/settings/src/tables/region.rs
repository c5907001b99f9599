//! `image.region`: the part of each image that the network sees, found by a trained segmenter.

use std::path::{Path, PathBuf};

use formats::checkpoint::{Checkpoint, Meta};
use imaging::Tones;
use serde::Deserialize;

use crate::keys::Keys;
use crate::paths::Paths;
use crate::tree::{ConfigError, did_you_mean};

const KEY: &str = "image.region";

/// `"none"` or `{ model, classes, margin }`.
#[derive(Debug, Default)]
pub(crate) enum Region {
    #[default]
    None,
    Found(Table),
    /// Another text than `"none"`.
    Unknown(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    model: String,
    classes: Option<Vec<String>>,
    #[serde(default = "margin")]
    margin: f64,
}

fn margin() -> f64 {
    0.04
}

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Region;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"none\" or { model = \"...\", classes = [...], margin = 0.04 }")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Region, E> {
                Ok(match name {
                    "none" => Region::None,
                    other => Region::Unknown(other.into()),
                })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Region, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                Table::deserialize(map).map(Region::Found)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The part of each image that the network sees.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionSettings {
    /// The checkpoint of the segmenter.
    pub model: PathBuf,
    /// Classes of its map, by number.
    pub classes: Vec<usize>,
    /// Their names.
    pub names: Vec<String>,
    /// Added to each side of their bounding box, as a share of the image's height or width.
    pub margin: f64,
}

/// Reads the segmenter's checkpoint, so that a mistake is found before anything runs. In a dry run it may be absent.
/// `tones` are those of the images.
pub(crate) fn region(
    keys: &Keys<'_>,
    paths: &Paths<'_>,
    raw: Region,
    tones: Tones,
) -> Result<Option<RegionSettings>, ConfigError> {
    let table = match raw {
        Region::None => return Ok(None),
        Region::Unknown(text) => {
            let message = format!(
                "\"{text}\" is not known; use \"none\" for whole images, or {{ model, classes, margin }}"
            );
            return Err(keys.refuse(KEY, message));
        }
        Region::Found(table) => table,
    };
    keys.within("image.region.margin", table.margin, 0.0, 1.0)?;
    let model = checkpoint(keys, paths, &table.model)?;
    if paths.dry && !model.is_file() {
        return Ok(Some(RegionSettings {
            model,
            classes: vec![],
            names: table.classes.unwrap_or_default(),
            margin: table.margin,
        }));
    }
    let meta = segmenter(keys, &model)?;
    same_tones(keys, &model, meta.preprocessing.tones, tones)?;
    let (classes, names) = classes(keys, &model, &meta, table.classes)?;
    Ok(Some(RegionSettings {
        model,
        classes,
        names,
        margin: table.margin,
    }))
}

/// The checkpoint's file, given that file or a run's folder; a link to the newest run is resolved, so that later runs
/// do not change what these settings mean.
fn checkpoint(keys: &Keys<'_>, paths: &Paths<'_>, model: &str) -> Result<PathBuf, ConfigError> {
    const MODEL: &str = "image.region.model";
    let path = paths.full(MODEL, model);
    let file = match path.extension().is_some_and(|e| e == "safetensors") {
        true => path,
        false => path.join("model.safetensors"),
    };
    match file.canonicalize() {
        Ok(file) => Ok(file),
        Err(_) if paths.dry => Ok(file),
        Err(error) => Err(keys.refuse(
            MODEL,
            format!(
                "no trained segmenter at {}: {error}; train one first (such as `cargo xtask pipeline \
                 lung-segmentation`), give another run's folder or checkpoint, or set image.region = \"none\" to use \
                 whole images",
                file.display()
            ),
        )),
    }
}

/// The metadata of a network that can find a region.
fn segmenter(keys: &Keys<'_>, path: &Path) -> Result<Meta, ConfigError> {
    const MODEL: &str = "image.region.model";
    let checkpoint = Checkpoint::load(path).map_err(|e| keys.refuse(MODEL, e.to_string()))?;
    let refuse = |why: &str| {
        let message = format!("the network in {} {why}", path.display());
        Err(keys.refuse(MODEL, message))
    };
    let meta = checkpoint.meta;
    if meta.map.is_none() {
        return refuse("was not trained on masks, so it cannot find a region");
    }
    if meta.preprocessing.window.is_some() {
        return refuse("was trained on crops of images; a region needs one that sees whole images");
    }
    if checkpoint.region.is_some() {
        return refuse("sees only a region of an image itself");
    }
    Ok(meta)
}

/// A segmenter that has learned other grey values would look at images that it does not know.
fn same_tones(
    keys: &Keys<'_>,
    path: &Path,
    learned: Tones,
    tones: Tones,
) -> Result<(), ConfigError> {
    if learned == tones {
        return Ok(());
    }
    let message = format!(
        "the network in {} was trained with {}, but these settings have {}: give image.window, image.bits and \
         image.equalize the segmenter's values, or train it with these",
        path.display(),
        learned.in_words(),
        tones.in_words()
    );
    Err(keys.refuse("image.region.model", message))
}

/// Numbers and names of the classes; all except the first, the background, by default.
fn classes(
    keys: &Keys<'_>,
    path: &Path,
    meta: &Meta,
    named: Option<Vec<String>>,
) -> Result<(Vec<usize>, Vec<String>), ConfigError> {
    let known = meta.map.as_ref().map(|map| map.classes.clone());
    let known = known.unwrap_or_default();
    let names = named.unwrap_or_else(|| known.iter().skip(1).cloned().collect());
    const CLASSES: &str = "image.region.classes";
    if names.is_empty() {
        return Err(keys.refuse(CLASSES, "give at least one class of the segmenter"));
    }
    let number = |name: &String| {
        known.iter().position(|class| class == name).ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let message = format!(
                "\"{name}\" is not a class of the segmenter in {}{}; choose from {}",
                path.display(),
                did_you_mean(name, &known),
                known.join(", ")
            );
            keys.refuse(CLASSES, message)
        })
    };
    let numbers: Result<Vec<usize>, ConfigError> = names.iter().map(number).collect();
    Ok((numbers?, names))
}
