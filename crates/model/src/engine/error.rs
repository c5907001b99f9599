//! Why an engine could not run.

use kernels::Nhwc;

use super::cuda::driver::DeviceError;
use crate::graph::ShapeError;

/// Why an engine could not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The image size does not suit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The batch's data do not match its shape, or its channels do not match the network's.
    #[error(
        "a batch of shape {shape:?} with {len} values does not fit a network that takes {channels} channels"
    )]
    Batch {
        /// Shape given.
        shape: Nhwc,
        /// Number of values given.
        len: usize,
        /// Channels of the network's input.
        channels: usize,
    },
    /// `backward` without a `forward` before it.
    #[error("backward was called with no forward pass before it")]
    NoForward,
    /// An output's gradient of another length than the output.
    #[error("an output gradient of {len} values does not fit an output of {expected}")]
    OutputGradient {
        /// Number of values given.
        len: usize,
        /// Number of values of the output.
        expected: usize,
    },
    /// Gradients in inference mode from an engine that computes none.
    #[error(
        "attributions are computed on the CPU only, and this network runs on {device}: load it with device = \"cpu\""
    )]
    NoSensitivities {
        /// The engine's device.
        device: &'static str,
    },
    /// Training of several chunks at once with an engine that cannot.
    #[error(
        "batch norms share their statistics on the CPU only, and this network runs on {device}: set \
         train.sync_batch_norm = false, or train with --device cpu"
    )]
    NoLockstep {
        /// The engine's device.
        device: &'static str,
    },
    /// Chunks of a batch that are trained together could not share their numbers.
    #[error("the statistics of the batch norms could not be shared: {0}")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The device of the CUDA engine failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The batch does not fit into the memory of the device or the machine; nothing was run.
    #[error(
        "a batch of {batch} images needs {needed} MiB and {device} has {available} MiB: {}",
        remedy(*.largest)
    )]
    Memory {
        /// The device's name.
        device: String,
        /// Number of images in the batch.
        batch: usize,
        /// Total MiB that the pass needs on the device.
        needed: u64,
        /// MiB available on the device.
        available: u64,
        /// The largest batch of images of this size that fits; 0 for none.
        largest: usize,
    },
}

fn remedy(largest: usize) -> String {
    match largest {
        0 => "not even one image fits; use smaller images, a smaller network, or another device"
            .into(),
        n => format!("the largest batch that fits is {n}"),
    }
}
