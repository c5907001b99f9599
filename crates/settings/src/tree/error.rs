//! Everything that can be wrong with settings, found before anything runs.

use std::path::PathBuf;

/// A refusal that names the key, the place and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No file of that name under `pipelines/`.
    #[error("no pipeline \"{name}\" in {}{hint}; there are: {known}", folder.display())]
    NoPipeline {
        /// Name asked for.
        name: String,
        /// Folder searched.
        folder: PathBuf,
        /// `; did you mean …?`
        hint: String,
        /// Pipelines there are.
        known: String,
    },
    /// The settings file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// File, line and column.
        origin: String,
        /// What the parser said.
        message: String,
    },
    /// A `--set` that is no assignment.
    #[error("--set {text}: write it as key.path=value, for example --set train.epochs=8")]
    Assignment {
        /// As typed.
        text: String,
    },
    /// A key that nothing reads.
    #[error("{origin}: unknown key `{key}`{hint} (known here: {known})")]
    UnknownKey {
        /// Dotted path.
        key: String,
        /// Where it stands.
        origin: String,
        /// `; did you mean …?`
        hint: String,
        /// Keys known there.
        known: String,
    },
    /// A value of another type.
    #[error("{origin}: `{key}` must be {expected}, found {found}")]
    Type {
        /// Dotted path.
        key: String,
        /// Where it stands.
        origin: String,
        /// Type wanted, in words.
        expected: String,
        /// Value found, in words.
        found: String,
    },
    /// A value of the right type that cannot be.
    #[error("{origin}: `{key}`: {message}")]
    Value {
        /// Dotted path.
        key: String,
        /// Where it stands.
        origin: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The device asked for cannot be had.
    #[error("{0}")]
    Device(String),
}
