//! Runs for the programs that collect runs: event files that TensorBoard reads, and a folder that MLflow reads.
//!
//! [`Events`] is written while a network trains, an epoch at a time. [`mlflow::export`] writes a finished run. Both take
//! plain names and numbers, and know nothing of settings, stages or networks.

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod events;
pub mod mlflow;

pub use events::{Events, Picture};
