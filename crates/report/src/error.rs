//! What can go wrong between data and a file.

use std::path::{Path, PathBuf};

/// An error of this crate; its text names the file or the field, says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be written; nothing is left behind at `path`.
    #[error("cannot write {}: {source} (does its folder exist, is it writable, is the disk full?)", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A figure could not be encoded as PNG.
    #[error("cannot encode {} as PNG: {source}", path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// What the encoder said.
        source: image::ImageError,
    },
    /// Data that contradict themselves.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// The field, as "figure: field".
        what: String,
        /// What the field must hold.
        expected: String,
        /// What it held.
        found: String,
    },
    /// The drawing library refused; a fault of this crate rather than of the data.
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

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    files::write(path, bytes).map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

/// Checks that `found` items stand where `expected` are needed.
pub(crate) fn check_len(what: &str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::shape(what, format_args!("{expected} values"), found))
}
