//! What people see while the program runs, and how they stop it.
//!
//! [`say`] and [`print()`] are the one place where anything is printed (clippy forbids `println!` and its like elsewhere),
//! [`Progress`] has bars for people and plain lines for logs, [`Interrupt`] is Ctrl-C. [`visible`] keeps names of files and
//! classes from being obeyed by a terminal.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod interrupt;
mod print;
mod progress;
mod visible;

pub use interrupt::{Interrupt, Interrupted};
pub use print::{print, say};
pub use progress::{Job, Progress};
pub use visible::visible;
