//! From a TOML file to a finished run: settings checked as a whole, stages in order, one folder that holds it all.
//!
//! This crate knows all the others and nobody but the command line knows it. [`config`] turns a file into
//! [`config::Settings`], whose values are all good; [`stages`] are the steps, each in a file of its own, with the
//! artifacts that it reads and writes; [`run`](run()) walks them and can go on with a run that was broken off;
//! [`predict`] answers new images with what a run has trained.
//!
//! ```no_run
//! use pipeline::Request;
//! use terminal::{Interrupt, Progress};
//! let request = Request { set: vec!["train.epochs=8".into()], ..Request::new(".", "pneumonia") };
//! let finished = pipeline::run(&request, false, Progress::Shown, &Interrupt::default())?;
//! println!("{}", finished.folder.join("report.md").display());
//! # Ok::<(), anyhow::Error>(())
//! ```

// They panic where nobody reads; `terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod ask;
mod baseline;
pub mod config;
mod context;
mod describe;
pub mod hash;
mod names;
mod pictures;
pub mod predict;
mod run;
mod run_dir;
pub mod stages;
mod words;

pub use config::{ConfigError, Request, Settings};
pub use context::{Context, Data};
pub use describe::{describe, list};
pub use model::engine::Device;
pub use names::beside;
pub use run::{Finished, run, timings};
pub use run_dir::{OwnRun, RunDir, RunRecord};

/// The device of a name (`auto`, `cpu`, `cuda`), found and tried, to compute in f32.
///
/// # Errors
/// An unknown name, or what a GPU lacks.
pub fn device(name: &str) -> Result<Device, ConfigError> {
    config::device(name, model::engine::Precision::F32).map(|choice| choice.device)
}

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The best epoch's checkpoint in a run's folder.
pub const MODEL: &str = "model.safetensors";
