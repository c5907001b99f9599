//! Errors in settings, which are found before anything runs.

use std::path::PathBuf;

/// An error that names the key, the place and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No file of that name under `pipelines/` or `experiments/`.
    #[error("no {kind} \"{name}\" in {}{hint}; available: {known}", folder.display())]
    NoPipeline {
        /// `pipeline` or `experiment`.
        kind: &'static str,
        /// Requested name.
        name: String,
        /// Folder searched.
        folder: PathBuf,
        /// `; did you mean …?`
        hint: String,
        /// Available names.
        known: String,
    },
    /// The settings file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// File, line and column.
        origin: String,
        /// The parser's message.
        message: String,
    },
    /// A `--set` that is not an assignment.
    #[error("--set {text}: write it as key.path=value, for example --set train.epochs=8")]
    Assignment {
        /// As typed.
        text: String,
    },
    /// An unknown key.
    #[error("{origin}: unknown key `{key}`{hint} (known here: {known})")]
    UnknownKey {
        /// Dotted path.
        key: String,
        /// Where it was written.
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
        /// Where it was written.
        origin: String,
        /// Expected type, in words.
        expected: String,
        /// Value found, in words.
        found: String,
    },
    /// A value of the right type that is not valid.
    #[error("{origin}: `{key}`: {message}")]
    Value {
        /// Dotted path.
        key: String,
        /// Where it was written.
        origin: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The requested device is not available.
    #[error("{0}")]
    Device(String),
}
