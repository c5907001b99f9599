//! Finished runs: compared with each other, their networks joined in one checkpoint, or evaluated on other data.
//!
//! [`compare`] reads the results of runs on the same test images; [`external`] evaluates a trained model on a data set
//! other than its own; [`ensemble`](ensemble()) joins networks that predict together. This crate reads what `pipeline` has written, and adds nothing to a run's folder.

// `println!` and `eprintln!` panic if the stream is closed; `terminal` prints without panicking.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod compare;
mod ensemble;
pub mod external;

pub use ensemble::ensemble;
