//! The cache of fetched files, each with a record next to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::io;
use crate::{HubError, Known};

const FOLDER: &str = "eff-unet/weights";

/// `$XDG_CACHE_HOME/eff-unet/weights`, else under `~/.cache` (on Windows `%LOCALAPPDATA%`).
pub fn default_cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let base = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")));
    base.unwrap_or_else(|| PathBuf::from(".cache")).join(FOLDER)
}

/// The path of known weights, if they have been fetched into this cache.
pub fn cached(known: &Known, cache: &Path) -> Option<PathBuf> {
    let path = place(known, cache);
    (path.is_file() && record_path(&path).is_file()).then_some(path)
}

pub(crate) fn place(known: &Known, cache: &Path) -> PathBuf {
    cache.join(format!("{}.safetensors", known.name))
}

/// The record written next to a file.
pub(crate) type Record = BTreeMap<String, String>;

/// Key of the checksum.
pub(crate) const SHA256: &str = "sha256";

/// The record of a file in the cache, if the file's checksum still matches it.
pub(crate) fn intact(path: &Path) -> Result<Option<Record>, HubError> {
    let text = fs::read_to_string(record_path(path)).unwrap_or_default();
    let record: Record = serde_json::from_str(&text).unwrap_or_default();
    match record.get(SHA256) {
        Some(sum) if path.is_file() && sha256_of(path)? == *sum => Ok(Some(record)),
        _ => Ok(None),
    }
}

/// Moves a complete download into place. The record is written first, because a file without one is not recognised.
pub(crate) fn keep(part: &Path, path: &Path, record: &Record) -> Result<(), HubError> {
    let beside = record_path(path);
    let text = serde_json::to_string_pretty(record).unwrap_or_default();
    files::write(&beside, text.as_bytes()).map_err(io("write", &beside))?;
    files::persist(part, path).map_err(io("write", path))
}

/// The checksum of a file's content.
pub(crate) fn sha256_of(path: &Path) -> Result<String, HubError> {
    files::sha256::of_file(path).map_err(io("read", path))
}

fn record_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".json");
    path.with_file_name(name)
}
