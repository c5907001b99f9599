//! How fast training and inference are, how much memory they take, and where a step's time goes.
//!
//! One [`measure`] is one figure, and is meant to have a process to itself: peak memory is a process's, and the
//! caller can then run a peer between two of ours. [`ops`] times the operations of a step one by one, [`launches`] the
//! kernels of one on a GPU. All run on
//! random images, through the code that a run uses.

mod kernel_calls;
pub mod launches;
mod memory;
mod network;
pub mod ops;

use anyhow::{Result, bail};
use model::build::{ModelSpec, build};
pub use model::engine::{Device, Precision};
use model::graph::Graph;
use serde::{Deserialize, Serialize};

pub use memory::Memory;
pub use network::measure;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Class scores and class map of a batch.
    Infer,
    /// Forward pass, loss, backward pass and optimizer step on a batch.
    Train,
}

/// One measurement, as it is handed to the process that makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Encoder.
    pub encoder: String,
    /// Decoder.
    pub decoder: String,
    /// Inference or training.
    pub task: Task,
    /// Where the engine computes.
    pub device: Device,
    /// What it computes in.
    pub precision: Precision,
    /// Image side in pixels.
    pub size: usize,
    /// Images a call.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Timed calls; three more go before them.
    pub repeats: usize,
}

impl Workload {
    /// The network asked for.
    ///
    /// # Errors
    /// An unknown name, a size that the network cannot take, a count of zero.
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
}

/// What came out, one JSON object a line; peers print the same keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Seconds of every timed call.
    pub seconds: Vec<f64>,
    /// The process's memory, where the system tells.
    pub memory: Option<Memory>,
    /// As in [`Workload`].
    pub task: Task,
    /// `f32`, `bf16`.
    pub precision: String,
    /// As in [`Workload`].
    pub size: usize,
    /// As in [`Workload`].
    pub batch: usize,
    /// As in [`Workload`].
    pub threads: usize,
}

impl Measurement {
    /// Median seconds of a call.
    pub fn median(&self) -> f64 {
        median(&self.seconds)
    }
}

/// The middle value, or the mean of the two in the middle; NaN for none.
pub fn median(values: &[f64]) -> f64 {
    metrics::median(values).unwrap_or(f64::NAN)
}
