//! Terminal output, progress bars and interruption.
//!
//! [`say`] and [`print()`] are the only functions that print (clippy forbids `println!` and similar macros elsewhere),
//! [`Progress`] shows bars on a terminal and plain lines in logs, [`Interrupt`] handles Ctrl-C. [`visible`] escapes
//! control characters, so that names of files and classes cannot control the terminal.
//!
//! A crate of its own so that output is in one place, which handles closed streams, and library crates do not print.
//!
//! ```
//! use terminal::{Progress, say, visible};
//! let progress = Progress::Silent;
//! let job = progress.job("inference", "images", 2);
//! job.advance(2);
//! say(&format!("done with {}", visible("film\u{7}.png")));
//! ```

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod interrupt;
mod print;
mod program;
mod progress;
mod visible;

pub use interrupt::{Interrupt, Interrupted};
pub use print::{print, say};
pub use program::{NAME, program};
pub use progress::{Job, Progress};
pub use visible::visible;
