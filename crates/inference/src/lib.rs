//! A trained network with all that lies between an image and an answer.
//!
//! A [`Bundle`] is a checkpoint ready to run: network, preprocessing, the reading of its class map, calibration and decision
//! rule, mirrored inference and tiles, as the run that trained it judged its test images. [`Bundle::answer`] takes images that
//! have been read once and answers them as one batch. [`Segmenter`] is the one way to maps at an image's own size. Nothing here
//! knows settings, stages, progress or reports.
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

// They panic where nobody reads; `terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod answer;
mod bundle;
mod error;
mod reading;
mod scores;
mod segmenter;

pub use answer::Answer;
pub use bundle::Bundle;
pub use error::InferenceError;
pub use scores::{Input, Scores};
pub use segmenter::{Segmented, Segmenter};
