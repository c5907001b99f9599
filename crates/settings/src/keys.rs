//! Keys of the tree and where they were written, for errors.

use crate::tree::{ConfigError, Node};

/// The tree, which gives the places named in errors.
pub(crate) struct Keys<'t> {
    pub(crate) tree: &'t Node,
}

impl Keys<'_> {
    pub(crate) fn refuse(&self, key: &str, message: impl Into<String>) -> ConfigError {
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

    pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
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
