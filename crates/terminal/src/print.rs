//! Lines to stderr, results to stdout.
//!
//! Nobody need be there to read: a closed pipe or a full disk behind stderr ends no run, where `eprintln!` would panic.
//! And what is printed may hold names of files and classes, whose control characters
//! could clear a terminal or forge its lines: they are shown, not sent.

use std::io::{self, ErrorKind, Write as _};

use crate::visible::visible;

/// A line for people, on stderr; lost where it cannot be written.
pub fn say(text: &str) {
    let line = format!("{}\n", visible(text));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Results, on stdout. A reader that has gone away (`| head`) is no error.
///
/// # Errors
/// The system's: a full disk, as a rule.
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
