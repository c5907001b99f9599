//! SHA-256 in hexadecimal.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Number of digits of a checksum.
pub const LEN: usize = 64;

/// The checksum of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    of_parts([bytes])
}

/// The checksum of bytes given in parts.
pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut sum = Sum::default();
    parts.into_iter().for_each(|part| sum.add(part));
    sum.hex()
}

/// The checksum of bytes that come one after another.
#[derive(Clone, Debug, Default)]
pub struct Sum(Sha256);

impl Sum {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes that were added.
    pub fn hex(self) -> String {
        digits(self.0)
    }
}

/// The checksum of a file's content, which is read in chunks.
///
/// # Errors
/// If the file cannot be read.
pub fn of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digits(hash)),
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a text is a checksum, in digits of either case.
pub fn is_sum(text: &str) -> bool {
    text.len() == LEN && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn digits(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
