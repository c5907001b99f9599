//! Benchmarks: speed and memory of training and inference, and a breakdown of the time of a step.
//!
//! One call of [`measure`] makes one measurement and should have its own process: peak memory is measured per process,
//! and the caller can alternate our measurements with those of peers. [`ops`] times the operations of inference or of a
//! step individually, [`roofline`] measures what the machine can do at best, [`launches`] times the kernels of a step on a
//! GPU. All use random images, and the same code as a real run.
//!
//! A crate of its own so that only benchmarks, besides `model`, depend on `kernels`: they time its operations one by one.
//!
//! ```no_run
//! use bench::{Device, Precision, Task, Workload, measure};
//! let work = Workload {
//!     encoder: "efficientnet_b0".into(),
//!     decoder: "unet".into(),
//!     task: Task::Infer,
//!     device: Device::Cpu,
//!     precision: Precision::F32.into(),
//!     size: 224,
//!     batch: 1,
//!     threads: 2,
//!     repeats: 20,
//! };
//! let measured = measure(&work, &terminal::Interrupt::default())?;
//! println!("{:?}", measured.seconds);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod kernel_calls;
pub mod launches;
mod memory;
mod network;
pub mod ops;
pub mod roofline;

use anyhow::{Context as _, Result, bail};
use model::build::{ModelSpec, build};
pub use model::engine::{Device, InferencePrecision, Precision};
use model::graph::Graph;
use serde::{Deserialize, Serialize};

pub use memory::Memory;
pub use network::measure;

/// The task to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Class scores and class map of a batch.
    Infer,
    /// Forward pass, loss, backward pass and optimizer step on a batch.
    Train,
}

/// Settings of one measurement, as passed to the process that makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Name of the encoder.
    pub encoder: String,
    /// Name of the decoder.
    pub decoder: String,
    /// Inference or training.
    pub task: Task,
    /// Device of the engine.
    pub device: Device,
    /// Precision of the engine; int8 for inference only.
    pub precision: InferencePrecision,
    /// Image side in pixels.
    pub size: usize,
    /// Images per call.
    pub batch: usize,
    /// Number of threads.
    pub threads: usize,
    /// Number of timed calls, which follow three warm-up calls.
    pub repeats: usize,
}

impl Workload {
    /// Builds the network.
    ///
    /// # Errors
    /// An unknown name, an image size that the network does not support, or a count of zero.
    pub fn graph(&self) -> Result<Graph> {
        for (name, value) in [
            ("batch", self.batch),
            ("threads", self.threads),
            ("repeats", self.repeats),
        ] {
            if value == 0 {
                bail!("{name} must be at least 1");
            }
        }
        let graph = build(&ModelSpec {
            encoder: Some(self.encoder.clone()),
            decoder: Some(self.decoder.clone()),
            ..ModelSpec::default()
        })?;
        graph.check_size(self.size, self.size)?;
        Ok(graph)
    }

    /// The precision, for what is not done in int8.
    fn float(&self) -> Result<Precision> {
        let precision = self.precision.float();
        precision.context("int8 is for whole calls of inference only")
    }
}

/// The result of a measurement, printed as one JSON object per line; peers print the same keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Seconds of every timed call.
    pub seconds: Vec<f64>,
    /// Memory of the process, if available from the system.
    pub memory: Option<Memory>,
    /// As in [`Workload`].
    pub task: Task,
    /// `f32`, `bf16`, `int8`.
    pub precision: String,
    /// As in [`Workload`].
    pub size: usize,
    /// As in [`Workload`].
    pub batch: usize,
    /// As in [`Workload`].
    pub threads: usize,
    /// Of a peer's inference below `f32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
}

/// How far a peer's answers are from those of the same library in `f32`, on the same images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Which network and images: `random weights, 32 random images`.
    pub of: String,
    /// Mean absolute difference of the classes' probabilities; `None` for a network without classes.
    pub probabilities: Option<f64>,
    /// Share of the map's pixels that have the same class; `None` for a network without a map.
    pub map: Option<f64>,
}

impl Measurement {
    /// Median duration of a call in seconds.
    pub fn median(&self) -> f64 {
        median(&self.seconds)
    }
}

/// The median of the values; NaN if there are none.
pub fn median(values: &[f64]) -> f64 {
    metrics::median(values).unwrap_or(f64::NAN)
}
