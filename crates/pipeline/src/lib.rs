//! From a TOML file to a finished run: settings checked as a whole, stages in order, one folder that holds it all.
//!
//! This crate is built on the others; only the command line and the fuzzer use it. The crate `settings` gives [`settings::Settings`], whose
//! values are all good and which name the stages; [`stages`] are what these do, each in a file of its own; [`run`](run()) walks
//! them and can go on with a run that was broken off;
//! [`predict`] answers new images with what a run has trained.
//!
//! ```no_run
//! use settings::Request;
//! use terminal::{Interrupt, Progress};
//! let request = Request { set: vec!["train.epochs=8".into()], ..Request::new(".", "pneumonia") };
//! let finished = pipeline::run(&request, false, Progress::Shown, &Interrupt::default())?;
//! println!("{}", finished.folder.join("report.md").display());
//! # Ok::<(), anyhow::Error>(())
//! ```

// They panic where nobody reads; `terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod baseline;
pub mod compare;
mod context;
mod describe;
pub mod hash;
mod names;
mod pictures;
pub mod predict;
mod run;
mod run_dir;
mod scoring;
pub mod stages;
mod words;

pub use context::{Context, Data};
pub use describe::{describe, list};
pub use model::engine::Device;
pub use names::beside;
pub use run::{Finished, run};
pub use run_dir::{OwnRun, RunDir, RunRecord};

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The best epoch's checkpoint in a run's folder.
pub const MODEL: &str = "model.safetensors";
