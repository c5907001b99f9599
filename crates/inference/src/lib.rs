//! Inference with a trained network, from image to prediction.
//!
//! A [`Bundle`] is a checkpoint ready to run: network, preprocessing, interpretation of its class map, calibration and
//! decision rule, mirrored inference and tiles, as the training run used them to evaluate its test images.
//! [`Bundle::answer`] takes images that have already been read and predicts them as one batch; an [`Ensemble`] does so with
//! all networks of a checkpoint. [`Segmenter`] computes
//! segmentations at an image's own size. This crate does not depend on settings, stages, progress or reports.
//!
//! ```no_run
//! use std::path::Path;
//! use imaging::ImageFile;
//! use inference::Bundle;
//! use model::engine::{Device, Precision};
//! let bundle = Bundle::load(Path::new("model.safetensors"), Device::Cpu, Precision::F32)?;
//! let film = ImageFile::read(Path::new("film.png"), bundle.decoder())?;
//! for answer in bundle.answer(&[film])? {
//!     println!("{:?}", answer.class.map(|class| &bundle.meta().classes[class]));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// These macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod answer;
mod bundle;
mod ensemble;
mod error;
mod novelty;
mod precision;
mod reading;
mod region;
mod scores;
mod segmenter;

pub use answer::Answer;
pub use bundle::Bundle;
pub use ensemble::Ensemble;
pub use error::InferenceError;
pub use model::engine::InferencePrecision;
pub use novelty::{Known, NoveltyDetector, NoveltyScore};
pub use reading::MapReading;
pub use region::{Found, Implausible, Measured, RegionFinder, part};
pub use scores::{Input, Scores, Wanted};
pub use segmenter::{Segmented, Segmenter};
