//! `[data]`: where images and masks are, what they are called, and how they are divided into splits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dataset::phantom::Subject;
use dataset::{
    DataLayout, IndexConfig, MaskConfig, MaskPlace, OnBadImage, OnMask, PatientRule, SplitFolders,
    SplitPolicy,
};
use imaging::{Decoder, MaskCoding};
use serde::Deserialize;

use super::csv::Csv;
use super::one_or_more::OneOrMore;
use super::phantom::{self, Phantom};
use super::place::Place;
use super::validation::{self, Validation};
use crate::keys::Keys;
use crate::paths::Paths;
use crate::tree::{ConfigError, decode, did_you_mean};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) dir: String,
    pub(crate) layout: LayoutName,
    pub(crate) images: Option<String>,
    pub(crate) csv: Csv,
    pub(crate) classes: Vec<String>,
    pub(crate) names: BTreeMap<String, String>,
    pub(crate) positive: Option<String>,
    pub(crate) folders: Option<SplitFolders>,
    pub(crate) patients: Vec<PatientRule>,
    pub(crate) masks: Option<OneOrMore>,
    pub(crate) mask: MaskCoding,
    pub(crate) on_bad_mask: OnMask,
    pub(crate) on_missing_mask: OnMask,
    pub(crate) resize_masks: bool,
    pub(crate) regions: BTreeMap<String, String>,
    pub(crate) on_bad_image: OnBadImage,
    pub(crate) validation: Validation,
    pub(crate) limit_per_class: Option<usize>,
    pub(crate) cache: Option<String>,
}

/// How images and classes are laid out below `dir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LayoutName {
    #[default]
    Classes,
    Images,
    Csv,
}

impl LayoutName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            LayoutName::Classes => "classes",
            LayoutName::Images => "images",
            LayoutName::Csv => "csv",
        }
    }
}

/// Where the images are and how they are split.
#[derive(Clone, Debug)]
pub struct DataSettings {
    /// What to index.
    pub index: IndexConfig,
    /// How validation is drawn.
    pub policy: SplitPolicy,
    /// Maximum number of images of each class in each split.
    pub limit_per_class: Option<usize>,
    /// The positive class of the metrics; the last class if absent.
    pub positive: Option<String>,
    /// Named trees of masks that are only used to evaluate where the class map is high.
    pub regions: Vec<(String, PathBuf)>,
    /// Set if the data are phantoms, which are then generated in the parent of [`IndexConfig::root`].
    pub phantom: Option<Subject>,
}

pub(crate) fn data(
    keys: &Keys<'_>,
    paths: &Paths<'_>,
    raw: Data,
    seed: u64,
    runs: &Path,
) -> Result<DataSettings, ConfigError> {
    let phantom = keys
        .tree
        .get("phantom")
        .map(|node| decode(node, "phantom", &[]))
        .transpose()?;
    let phantom_masks = phantom.as_ref().and_then(|raw: &Phantom| raw.masks);
    let phantom = phantom
        .map(|raw| phantom::subject(keys, &raw))
        .transpose()?;
    check_keys(keys, &raw)?;
    let policy = validation::policy(keys, &raw.validation, seed)?;
    check_positive(keys, raw.positive.as_deref(), &raw.classes, &raw.names)?;
    check_limit(keys, raw.limit_per_class)?;
    let Place {
        root,
        layout,
        splits,
        masks,
        regions,
    } = match &phantom {
        Some(subject) => {
            let folders = raw.folders.clone().unwrap_or_default();
            phantom::place(runs, subject, phantom_masks, (folders, &raw.mask))
        }
        None => of_folder(paths, &raw)?,
    };
    let named = |name: String| raw.names.get(&name).cloned().unwrap_or(name);
    let index = IndexConfig {
        root,
        splits,
        layout,
        classes: raw.classes,
        class_names: raw.names.clone(),
        patients: raw.patients,
        masks,
        incomplete: false,
        on_bad_image: raw.on_bad_image,
        aside: regions.iter().map(|(_, folder)| folder.clone()).collect(),
        decoder: Decoder::default(),
        cache: cache(paths, raw.cache.as_deref(), runs),
    };
    let positive = raw.positive.map(named);
    Ok(DataSettings {
        index,
        policy,
        limit_per_class: raw.limit_per_class,
        positive,
        regions,
        phantom,
    })
}

/// The folder of the index cache: below that of all runs unless one is named.
fn cache(paths: &Paths<'_>, named: Option<&str>, runs: &Path) -> Option<PathBuf> {
    match named {
        None => Some(runs.join(".cache/index")),
        Some("none") => None,
        Some(path) => Some(paths.full("data.cache", path)),
    }
}

fn of_folder(paths: &Paths<'_>, raw: &Data) -> Result<Place, ConfigError> {
    Ok(Place {
        root: images_root(paths, raw)?,
        layout: layout(paths, raw)?,
        splits: folders(raw),
        masks: masks(paths, raw)?,
        regions: regions(paths, raw)?,
    })
}

fn images_root(paths: &Paths<'_>, raw: &Data) -> Result<PathBuf, ConfigError> {
    let dir = paths.existing("data.dir", &raw.dir)?;
    match &raw.images {
        None => Ok(dir),
        Some(below) => paths.below(&dir, "data.images", below),
    }
}

fn layout(paths: &Paths<'_>, raw: &Data) -> Result<DataLayout, ConfigError> {
    Ok(match (raw.layout, &raw.csv.file) {
        (LayoutName::Csv, Some(file)) => {
            let file = paths.in_data("data.csv.file", file, &raw.dir)?;
            DataLayout::Csv(raw.csv.clone().layout(file))
        }
        (LayoutName::Images, _) => DataLayout::Images,
        _ => DataLayout::ClassFolders,
    })
}

/// Kaggle's folders by default for class folders; none for the other layouts.
fn folders(raw: &Data) -> SplitFolders {
    raw.folders.clone().unwrap_or_else(|| match raw.layout {
        LayoutName::Classes => SplitFolders::default(),
        LayoutName::Images | LayoutName::Csv => SplitFolders::none(),
    })
}

fn masks(paths: &Paths<'_>, raw: &Data) -> Result<Option<MaskConfig>, ConfigError> {
    let of_csv = raw.layout == LayoutName::Csv && raw.csv.mask.is_some();
    let places = match &raw.masks {
        None if of_csv => vec![MaskPlace::Column],
        None => return Ok(None),
        Some(masks) => {
            let places = masks.as_slice().iter();
            let places = places.map(|text| mask_place(paths, text, &raw.dir));
            places.collect::<Result<_, _>>()?
        }
    };
    Ok(Some(MaskConfig {
        coding: raw.mask.clone(),
        on_bad: raw.on_bad_mask,
        on_missing: raw.on_missing_mask,
        resize: raw.resize_masks,
        ..MaskConfig::at_all(places)
    }))
}

/// A tree of masks, with or without a pattern for the names in it; or a pattern alone, relative to the image's folder.
fn mask_place(paths: &Paths<'_>, text: &str, dir: &str) -> Result<MaskPlace, ConfigError> {
    let tree = |root: &str, pattern: &str| {
        Ok(MaskPlace::Tree {
            root: paths.in_data("data.masks", root, dir)?,
            pattern: pattern.to_owned(),
        })
    };
    let of_tree = text.starts_with("{dir}") || Path::new(text).is_absolute();
    match text.rsplit_once('/') {
        _ if !text.contains("{stem}") => tree(text, "{stem}.png"),
        Some((root, pattern)) if of_tree => tree(root, pattern),
        _ => Ok(MaskPlace::Adjacent(text.to_owned())),
    }
}

fn regions(paths: &Paths<'_>, raw: &Data) -> Result<Vec<(String, PathBuf)>, ConfigError> {
    let region = |(name, path): (&String, &String)| {
        let key = format!("data.regions.{name}");
        Ok((name.clone(), paths.in_data(&key, path, &raw.dir)?))
    };
    raw.regions.iter().map(region).collect()
}

/// Refuses keys of `[data]` that are incompatible.
fn check_keys(keys: &Keys<'_>, raw: &Data) -> Result<(), ConfigError> {
    check_layout(keys, raw)?;
    check_masks(keys, raw)?;
    raw.mask
        .check()
        .map_err(|reason| keys.refuse("data.mask", reason))?;
    let known: Vec<&str> = raw.classes.iter().map(String::as_str).collect();
    match raw
        .names
        .keys()
        .find(|name| !known.is_empty() && !known.contains(&name.as_str()))
    {
        None => Ok(()),
        Some(name) => Err(keys.refuse(
            &format!("data.names.{name}"),
            format!("\"{name}\" is not a class{}", did_you_mean(name, &known)),
        )),
    }
}

fn check_layout(keys: &Keys<'_>, raw: &Data) -> Result<(), ConfigError> {
    let only = [
        ("data.images", LayoutName::Images),
        ("data.csv", LayoutName::Csv),
    ];
    for (key, layout) in only {
        if raw.layout != layout && keys.tree.get(key).is_some() {
            let (wanted, found) = (layout.name(), raw.layout.name());
            let message = format!("this key needs layout = \"{wanted}\", not \"{found}\"");
            return Err(keys.refuse(key, message));
        }
    }
    if raw.layout == LayoutName::Csv && raw.folders.is_some() {
        let message = "the splits are given by the table's split column; remove the key";
        return Err(keys.refuse("data.folders", message));
    }
    if raw.layout == LayoutName::Csv && raw.csv.file.is_none() {
        return Err(keys.refuse(
            "data.csv",
            "name the table: csv = { file = \"images.csv\" }",
        ));
    }
    raw.csv.check(keys, &raw.classes)?;
    if raw.layout == LayoutName::Images && raw.classes.len() > 1 {
        let message = "with layout = \"images\" the images are not divided into classes; give one name or none";
        return Err(keys.refuse("data.classes", message));
    }
    Ok(())
}

fn check_masks(keys: &Keys<'_>, raw: &Data) -> Result<(), ConfigError> {
    let has_column = raw.layout == LayoutName::Csv && raw.csv.mask.is_some();
    if has_column && raw.masks.is_some() {
        let message = "csv.mask already names the masks; keep one of the two";
        return Err(keys.refuse("data.masks", message));
    }
    let masks = raw.masks.as_ref().map_or(&[][..], OneOrMore::as_slice);
    if raw.masks.is_some() && masks.is_empty() {
        return Err(keys.refuse(
            "data.masks",
            "the list is empty; name the masks, or remove the key",
        ));
    }
    for pattern in masks.iter().filter(|masks| masks.contains("{stem}")) {
        dataset::check_mask_pattern(pattern)
            .map_err(|reason| keys.refuse("data.masks", format!("the pattern {reason}")))?;
    }
    if has_column || raw.masks.is_some() {
        return Ok(());
    }
    let of_masks = ["mask", "on_bad_mask", "on_missing_mask", "resize_masks"];
    let unread = of_masks
        .iter()
        .find(|key| keys.tree.get(&format!("data.{key}")).is_some());
    match unread {
        // Phantoms have masks of their own.
        Some(key) if keys.tree.get("phantom").is_none() => {
            Err(keys.refuse(&format!("data.{key}"), "there are no masks: set data.masks"))
        }
        _ => Ok(()),
    }
}

fn check_positive(
    keys: &Keys<'_>,
    positive: Option<&str>,
    classes: &[String],
    names: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let known = |name: &str| classes.iter().any(|c| c == name) || names.values().any(|n| n == name);
    let Some(name) = positive.filter(|name| !classes.is_empty() && !known(name)) else {
        return Ok(());
    };
    let known: Vec<&str> = classes.iter().map(String::as_str).collect();
    Err(keys.refuse(
        "data.positive",
        format!(
            "\"{name}\" is not a class{}; data.classes has {}",
            did_you_mean(name, &known),
            known.join(", ")
        ),
    ))
}

fn check_limit(keys: &Keys<'_>, limit: Option<usize>) -> Result<(), ConfigError> {
    limit.map_or(Ok(()), |n| {
        keys.within("data.limit_per_class", n, 1, usize::MAX)
            .map(drop)
    })
}
