//! SHA-256 of bytes and files, in hexadecimal: names of what a run was made from.

use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};

/// Of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Of a file's content.
///
/// # Errors
/// The file cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&bytes))
}
