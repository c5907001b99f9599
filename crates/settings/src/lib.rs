//! Settings of a pipeline: from a TOML file and options to values that are all valid.
//!
//! TOML becomes a tree that records where each value was written (`tree`); each of its tables is read, checked and
//! documented in a file of its own (`tables`); constraints between tables are checked together (`together`); [`load`]
//! returns [`Settings`]. Order of precedence, lowest first: defaults, the pipeline's file, its `[demo]` tables (only
//! where the data folder that they stand in for is absent, or with `--demo`), `--set`, `--data` and `--device`.
//! Everything that can be checked without opening an image is checked here, before anything runs. Stages are plain data
//! here ([`StageId`], [`Artifact`]); this crate does not depend on what they do. [`load_experiment`] does the same for an
//! experiment: the settings of each of its runs.
//!
//! A crate of its own because checking settings and executing stages change for different reasons, and a front end may
//! need one without the other.
//!
//! ```no_run
//! use settings::{Request, load};
//! let request = Request { set: vec!["train.epochs=8".into()], ..Request::new(".", "pneumonia") };
//! let settings = load(&request)?;
//! assert_eq!(settings.train.epochs, 8);
//! # Ok::<(), settings::ConfigError>(())
//! ```

// `println!` and `eprintln!` panic if the stream is closed; `terminal` prints without panicking.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod checked;
mod evaluation;
mod experiment;
mod file;
mod keys;
mod load;
mod paths;
mod request;
mod shipped;
mod stage;
mod tables;
mod together;
mod tree;

pub use checked::Settings;
pub use evaluation::load_for_evaluation;
pub use experiment::{Experiment, ExperimentRun, load_experiment};
pub use file::Kind;
pub use load::{leaves, load};
pub use request::Request;
pub use stage::{Artifact, StageId};
pub use tables::data::DataSettings;
pub use tables::evaluate::{EvaluateSettings, Grouping, Threshold};
pub use tables::explain::ExplainSettings;
pub use tables::image::ImageSettings;
pub use tables::novelty::NoveltySettings;
pub use tables::overlays::OverlaySettings;
pub use tables::phantom::runs_around;
pub use tables::pipeline::{device, fastest};
pub use tables::probe::ProbeSettings;
pub use tables::quantize::QuantizeSettings;
pub use tables::region::RegionSettings;
pub use tables::stress::StressSettings;
pub use tables::tracking::TrackingSettings;
pub use tree::{ConfigError, nearest};
