//! Experiments: one pipeline over seeds, folds of a cross-validation and a small grid of settings.
//!
//! [`run`](run()) executes every combination as an ordinary run in a folder of its own and then writes what only all of
//! them together show: the spread of the results over seeds and folds, the setting that validation chooses, and
//! predictions for every training image by a network that did not see it, with the images whose labels these predictions
//! contradict. The test images play no part in any choice.
//!
//! A crate of its own because it only combines finished runs: `pipeline` executes one, `settings` defines which there are, and
//! neither depends on how their results are put together.
//!
//! ```no_run
//! use settings::Request;
//! use terminal::{Interrupt, Progress};
//! let request = Request::new(".", "pneumonia-seeds");
//! let folder = experiment::run(&request, false, Progress::Shown, &Interrupt::default())?;
//! println!("{}", folder.join("report.md").display());
//! # Ok::<(), anyhow::Error>(())
//! ```

// `println!` and `eprintln!` panic if the stream is closed; `terminal` prints without panicking.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod figures;
mod finished;
mod label_errors;
mod out_of_fold;
mod report;
mod results;
mod run;

pub use label_errors::{LabelError, LabelErrors};
pub use out_of_fold::OutOfFold;
pub use results::{Axis, Results, RunResult, Scores, SettingResult, Summaries, Summary};
pub use run::run;
