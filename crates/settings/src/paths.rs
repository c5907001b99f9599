//! Paths in settings: in a file they are relative to the root, in an option to the current folder.

use std::path::{Path, PathBuf};

use crate::tree::{ConfigError, Node, Origin};

/// Resolves paths: those in a file are relative to the root, those in an option to the current folder.
pub(crate) struct Paths<'a> {
    pub(crate) root: &'a Path,
    pub(crate) tree: &'a Node,
    /// As [`Request::dry`].
    pub(crate) dry: bool,
}

impl Paths<'_> {
    /// As [`Paths::existing`]; `{dir}` at the beginning stands for the data folder, so that `--data` moves both:
    /// `{dir}/masks` is in it, `{dir}_masks` next to it.
    pub(crate) fn in_data(&self, key: &str, path: &str, dir: &str) -> Result<PathBuf, ConfigError> {
        let Some(rest) = path.strip_prefix("{dir}") else {
            return self.existing(key, path);
        };
        let dir = self.existing("data.dir", dir)?;
        match rest.strip_prefix('/') {
            Some(below) => self.below(&dir, key, below),
            None => {
                let name = dir.file_name().unwrap_or_default().to_string_lossy();
                self.below(dir.parent().unwrap_or(&dir), key, &format!("{name}{rest}"))
            }
        }
    }

    pub(crate) fn below(&self, dir: &Path, key: &str, path: &str) -> Result<PathBuf, ConfigError> {
        // Collecting the components removes ".".
        let full: PathBuf = dir.join(path).components().collect();
        if self.dry || full.exists() {
            return Ok(full);
        }
        let node = self.tree.get(key);
        Err(ConfigError::Value {
            key: key.into(),
            origin: node.map_or_else(|| "settings".into(), |n| n.origin.to_string()),
            message: format!("{} does not exist", full.display()),
        })
    }

    /// A weights file, or the name of known weights that have been fetched. `"none"` has the same effect as no key, so
    /// that a demo or an option can remove a file's weights.
    pub(crate) fn weights(
        &self,
        key: &str,
        path: Option<&str>,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let Some(path) = path.filter(|path| *path != "none") else {
            return Ok(None);
        };
        let full = self.full(key, path);
        let found = if full.is_file() {
            Some(full)
        } else {
            fetched(path)
        };
        if found.is_some() || self.dry {
            return Ok(found);
        }
        self.existing(key, path).map(Some)
    }

    /// The absolute path: relative to the root in a file, to the current folder in an option.
    pub(crate) fn full(&self, key: &str, path: &str) -> PathBuf {
        let from_option = self
            .tree
            .get(key)
            .is_some_and(|n| matches!(n.origin, Origin::Option(_)));
        let full = if from_option {
            PathBuf::from(path)
        } else {
            self.root.join(path)
        };
        std::path::absolute(&full).unwrap_or(full)
    }

    pub(crate) fn existing(&self, key: &str, path: &str) -> Result<PathBuf, ConfigError> {
        let full = self.full(key, path);
        if !path.is_empty() && (self.dry || full.exists()) {
            return Ok(full);
        }
        let node = self.tree.get(key);
        let origin = node.map_or_else(|| "settings".into(), |n| n.origin.to_string());
        let message = match (key, path) {
            (_, "") => {
                "no folder is given: name the one that contains the images, or pass --data DIR"
                    .into()
            }
            ("data.dir", _) => format!(
                "no data folder at {}; see data/README.md for how to get the data, pass --data DIR, or pass --demo to \
                 use phantoms instead",
                full.display()
            ),
            ("model.pretrained", name) if hub::find(name).is_ok() => format!(
                "{name} is known, but has not been fetched: run `cargo xtask weights fetch {name}`, or set the key to \"none\" to \
                 start from random weights"
            ),
            ("model.pretrained", _) => format!(
                "no weights file at {}; set the key to \"none\" to start from random weights",
                full.display()
            ),
            _ => format!("{} does not exist", full.display()),
        };
        Err(ConfigError::Value {
            key: key.into(),
            origin,
            message,
        })
    }
}

/// Known weights of that name in the cache.
fn fetched(name: &str) -> Option<PathBuf> {
    hub::cached(hub::find(name).ok()?, &hub::default_cache())
}
