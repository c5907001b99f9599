//! What can go wrong, each with the file or key it is about and the remedy.

use std::path::PathBuf;

/// Why an image could not be read, framed, tiled or encoded.
#[derive(Debug, thiserror::Error)]
pub enum ImagingError {
    /// A file that is no image that can be read.
    #[error("{}: {reason}", path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A size or share that makes no sense.
    #[error("{key} = {value}: {reason}")]
    Setting {
        /// Its name.
        key: &'static str,
        /// Its value as given.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// A picture that PNG cannot hold.
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
