//! A trained network applied to any number of images: what the images are, batches, shards, a journal that survives a
//! killed process, and the tables of results.
//!
//! A [`Job`] is a list of images, a network and a folder. [`run`] predicts the images in batches of a fixed size, which
//! do not depend on where a killed process stopped, or on how many processes share the work: the results are the same
//! to the byte. Each process appends what it has predicted to a file of its own under `parts/`, beside which it writes
//! a record once it is complete; the process that completes the last part joins all of them in `predictions.jsonl`,
//! `predictions.csv` and `predictions.parquet`. [`merge`] does the same for a folder in which no process works any more,
//! or says what is missing. A [`Share`] is what a user asks a process to predict, such as what its scheduler tells it.

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod folder;
mod inputs;
mod job;
mod journal;
mod merge;
mod missing;
mod record;
mod run;
mod scheduler;
mod shard;
mod table;

pub use inputs::{Image, Inputs, find};
pub use job::Job;
pub use journal::{Outcome, Row};
pub use merge::{Merge, Merged, merge};
pub use missing::{Incomplete, Missing};
pub use record::Options;
pub use run::{Finished, run};
pub use scheduler::Share;
pub use shard::Shard;
