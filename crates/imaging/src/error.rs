//! Errors, each with the file or key concerned and the remedy.

use std::path::PathBuf;

/// Why an image could not be read, framed, tiled or encoded.
#[derive(Debug, thiserror::Error)]
pub enum ImagingError {
    /// A file that cannot be read as an image.
    #[error("{}: {reason}", path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An invalid size or fraction.
    #[error("{key} = {value}: {reason}")]
    Setting {
        /// Its name.
        key: &'static str,
        /// Its value as given.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// A picture that cannot be stored as PNG.
    #[error("cannot be encoded as PNG: {0}")]
    Encode(String),
}

impl ImagingError {
    pub(crate) fn bad_image(path: impl Into<PathBuf>, reason: String) -> Self {
        Self::BadImage {
            path: path.into(),
            reason,
        }
    }

    pub(crate) fn setting(key: &'static str, value: impl ToString, reason: &str) -> Self {
        Self::Setting {
            key,
            value: value.to_string(),
            reason: reason.to_owned(),
        }
    }
}
