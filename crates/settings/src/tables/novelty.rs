//! `[novelty]`: which images are unlike those that the network was trained on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::keys::Keys;
use crate::paths::Paths;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Novelty {
    pub(crate) accepted: f64,
    pub(crate) images: Option<usize>,
    pub(crate) others: BTreeMap<String, String>,
}

impl Default for Novelty {
    fn default() -> Self {
        Novelty {
            accepted: 0.95,
            images: None,
            others: BTreeMap::new(),
        }
    }
}

/// Which images are unlike those that the network was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct NoveltySettings {
    /// The share of the validation images that is not.
    pub accepted: f64,
    /// Images of each kind that it is tried on; `None`: a number that takes a small part of an epoch's time.
    pub images: Option<usize>,
    /// Folders of images of other kinds, by name.
    pub others: BTreeMap<String, PathBuf>,
}

pub(crate) fn novelty(
    keys: &Keys<'_>,
    paths: &Paths<'_>,
    raw: Novelty,
) -> Result<NoveltySettings, ConfigError> {
    keys.within("novelty.accepted", raw.accepted, 0.5, 0.999)?;
    sample(keys, "novelty.images", raw.images)?;
    let other = |(name, path): (&String, &String)| {
        let key = format!("novelty.others.{name}");
        Ok((name.clone(), paths.existing(&key, path)?))
    };
    Ok(NoveltySettings {
        accepted: raw.accepted,
        images: raw.images,
        others: raw.others.iter().map(other).collect::<Result<_, _>>()?,
    })
}

/// A number of images to try something on.
pub(crate) fn sample(keys: &Keys<'_>, key: &str, images: Option<usize>) -> Result<(), ConfigError> {
    match images {
        Some(n) => keys.within(key, n, 8, 1_000_000).map(drop),
        None => Ok(()),
    }
}
