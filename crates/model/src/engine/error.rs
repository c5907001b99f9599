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
    /// The batch does not have the shape that it says, or the channels that the network takes.
    #[error(
        "a batch of shape {shape:?} with {len} values does not fit a network that takes {channels} channels"
    )]
    Batch {
        /// Shape said.
        shape: Nhwc,
        /// Values given.
        len: usize,
        /// Channels of the network's input.
        channels: usize,
    },
    /// `backward` without a `forward` before it.
    #[error("backward was called with no forward pass before it")]
    NoForward,
    /// The device of the CUDA engine.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The batch does not fit the memory of the device, or of the machine; nothing of it was run.
    #[error(
        "a batch of {batch} images needs {needed} MiB and {device} has {available} MiB: {}",
        remedy(*.largest)
    )]
    Memory {
        /// The device's name.
        device: String,
        /// Images of the batch.
        batch: usize,
        /// MiB of everything that the pass keeps on the device.
        needed: u64,
        /// MiB that the device can give.
        available: u64,
        /// The largest batch of such images that fits; 0 for none.
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
