//! Files that are there whole or not at all, and that last: durable writes, locks between processes, checksums.
//!
//! Everything that a run keeps goes through [`write()`]: beside the target, to the disk, over the target, and the folder to
//! the disk. So a process that is killed, a full disk or a power cut leaves the old file or the new one, and what a later
//! step relies on is there. What a killed process leaves behind, [`sweep`] removes. Where one process at a time may do
//! something, it holds a [`Lock`].
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! let path = folder.path().join("metrics.json");
//! files::write(&path, b"{}\n")?;
//! assert_eq!(std::fs::read(&path)?, b"{}\n");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Errors are the system's; who calls names the path.

// They panic where nobody reads; `terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod durable;
mod lock;
pub mod sha256;
mod temporary;

pub use durable::{create_folder, persist, persist_folder, read, sync_folder, write};
pub use lock::{Lock, Locked};
pub use temporary::{sweep, sweep_tree};
