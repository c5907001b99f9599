//! SHA-256 in hexadecimal, which identifies what a run was made from.

use std::path::Path;

use anyhow::{Context as _, Result};

pub use files::sha256::hex;

/// The SHA-256 of a file's content.
///
/// # Errors
/// The file cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    files::sha256::of_file(path).with_context(|| format!("cannot read {}", path.display()))
}
