//! From a TOML file to a finished run: settings checked as a whole, stages run in order, all results in one folder.
//!
//! This crate is built on the others; `runs`, experiments, the fuzzer and the command line use it. The crate `settings` provides
//! [`settings::Settings`], whose values are valid and which name the stages; [`stages`] implements these, each in a
//! module of its own; [`run`](run()) executes them and can resume an interrupted run; [`predict`] applies a trained
//! network to new images; [`outputs`] reads what a run wrote.
//!
//! ```no_run
//! use settings::Request;
//! use terminal::{Interrupt, Progress};
//! let request = Request { set: vec!["train.epochs=8".into()], ..Request::new(".", "pneumonia") };
//! let finished = pipeline::run(&request, false, Progress::Shown, &Interrupt::default())?;
//! println!("{}", finished.folder.join("report.md").display());
//! # Ok::<(), anyhow::Error>(())
//! ```

// `println!` and `eprintln!` panic if the stream is closed; `terminal` prints without panicking.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod baseline;
mod basis;
mod cluster;
mod context;
mod describe;
pub mod hash;
mod indexing;
mod initial;
pub mod measured;
mod names;
mod order;
pub mod outputs;
mod pictures;
pub mod predict;
mod regions;
pub mod results;
mod run;
mod run_dir;
mod scored;
mod scoring;
pub mod stages;
mod tracking;
pub mod words;

pub use context::{Context, Data, Indexed};
pub use describe::{describe, list};
pub use indexing::index;
pub use model::engine::Device;
pub use names::beside;
pub use run::{Finished, check_unchanged, run, run_in, run_on};
pub use run_dir::{OwnRun, RESOLVED, RUN, RunDir, RunRecord, timestamp};
pub use scored::patient_ids;
pub use scoring::find as find_checkpoint;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// File name of the best epoch's checkpoint in a run's folder.
pub const MODEL: &str = "model.safetensors";

/// Operating system and processor family, as recorded in a run's folder.
pub fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}
