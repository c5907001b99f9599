//! Lines to stderr, results to stdout.
//!
//! A closed pipe or a full disk behind stderr does not end a run, whereas `eprintln!` would panic. Printed text may
//! contain names of files and classes, whose control characters could clear a terminal or forge lines, so these are
//! escaped.

use std::io::{self, ErrorKind, Write as _};

use crate::visible::visible;

/// Writes a line to stderr; a write error is ignored.
pub fn say(text: &str) {
    let line = format!("{}\n", visible(text));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Writes results to stdout. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// Any other write error, usually a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(visible(text).as_bytes())
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
