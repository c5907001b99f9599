//! Errors in drawing and writing reports.

use std::path::{Path, PathBuf};

/// An error of this crate; its message names the file or field, and states what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be written; no partial file is left at `path`.
    #[error("cannot write {}: {source} (does its folder exist, is it writable, is the disk full?)", path.display())]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A picture of a document could not be read.
    #[error("cannot read the picture {path}: {source}")]
    Picture {
        /// Its path, as in the document.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// A figure could not be encoded as PNG.
    #[error("cannot encode {} as PNG: {source}", path.display())]
    Encode {
        /// The file to be written.
        path: PathBuf,
        /// Cause.
        source: image::ImageError,
    },
    /// Inconsistent data.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// The field, as "figure: field".
        what: String,
        /// What the field must contain.
        expected: String,
        /// What it contained.
        found: String,
    },
    /// The drawing library failed; an error in this crate rather than in the data.
    #[error("cannot draw the figure: {0}")]
    Draw(String),
}

impl Error {
    pub(crate) fn shape(
        what: impl Into<String>,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Shape {
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// Writes a file atomically.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    files::write(path, bytes).map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

/// Checks that the number of items found is the expected one.
pub(crate) fn check_len(what: &str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::shape(what, format_args!("{expected} values"), found))
}
