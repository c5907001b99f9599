//! Atomic and durable writes, locks between processes, checksums.
//!
//! Everything that a run keeps goes through [`write()`], which writes a temporary file next to the target, flushes it,
//! renames it over the target and flushes the folder. A killed process, a full disk or a power cut therefore leaves
//! either the old file or the new one, and a file that a later step relies on is complete. [`sweep`] removes what a
//! killed process leaves behind. A [`Lock`] protects what only one process at a time may do.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! let path = folder.path().join("metrics.json");
//! files::write(&path, b"{}\n")?;
//! assert_eq!(std::fs::read(&path)?, b"{}\n");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Errors are the system's; the caller adds the path.

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod durable;
mod lock;
pub mod sha256;
mod temporary;

pub use durable::{create_folder, persist, persist_folder, read, sync_folder, write};
pub use lock::{Lock, Locked};
pub use temporary::{Temporary, sweep, sweep_tree};
