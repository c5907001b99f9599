//! Why a network could not be built.

use crate::graph::GraphError;

/// Why a network could not be built.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BuildError {
    /// No such architecture, encoder, decoder or head.
    #[error(
        "model.{key} = \"{name}\" is not known{}; known: {known}",
        did_you_mean(nearest)
    )]
    Unknown {
        /// `architecture`, `encoder`, `decoder` or `head`.
        key: &'static str,
        /// The name given.
        name: String,
        /// The closest known name.
        nearest: Option<&'static str>,
        /// All known names.
        known: String,
    },
    /// A number outside its range.
    #[error("model.{key} = {value} is out of range: it must be {expected}")]
    Range {
        /// Key in the spec.
        key: &'static str,
        /// The value given.
        value: String,
        /// The allowed range.
        expected: &'static str,
    },
    /// Parts that cannot be combined.
    #[error("model.{key}: {why}")]
    Combination {
        /// Key in the spec to change.
        key: &'static str,
        /// What is wrong and what to do.
        why: String,
    },
    /// A builder broke an invariant of the graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl BuildError {
    /// The key of [`ModelSpec`](super::ModelSpec) at fault.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            BuildError::Unknown { key, .. }
            | BuildError::Range { key, .. }
            | BuildError::Combination { key, .. } => Some(key),
            BuildError::Graph(_) => None,
        }
    }
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest
        .map(|name| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default()
}
