//! SHA-256 in hexadecimal.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Number of digits of a checksum.
pub const LEN: usize = 64;

/// A checksum of bytes that become known one after the other.
#[derive(Clone, Debug, Default)]
pub struct Running(Sha256);

impl Running {
    /// Adds bytes at the end.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes.
    pub fn hex(self) -> String {
        let bytes = self.0.finalize();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The checksum of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    of_parts([bytes])
}

/// The checksum of bytes given in parts.
pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Running::default();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.hex()
}

/// The checksum of a file's content, which is read in chunks.
///
/// # Errors
/// If the file cannot be read.
pub fn of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Running::default());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hash.hex()),
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
