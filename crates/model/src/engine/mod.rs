//! What runs a graph: chosen at run time, behind one small trait.
//!
//! An engine owns its buffers and nothing else: values of parameters come in with each call, gradients go out.

pub mod cpu;
pub mod cuda;
pub mod recipe;
pub mod resident;

mod device;

pub use device::{Choice, Device};
use kernels::Nhwc;
pub use kernels::Precision;
pub use resident::Resident;

use crate::graph::{Graph, NodeId, ShapeError};
use crate::store::ParamStore;

/// A batch of images, normalized, NHWC.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// `n·h·w·c` values.
    pub data: &'a [f32],
    /// Batch, height, width, channels.
    pub shape: Nhwc,
}

impl Images<'_> {
    /// Whether the batch has the shape that it says and the channels that the graph takes.
    fn check(&self, graph: &Graph) -> Result<(), EngineError> {
        let (shape, len, channels) = (self.shape, self.data.len(), graph.in_channels());
        if shape.checked_len() == Some(len) && shape.c == channels && shape.n > 0 {
            return Ok(());
        }
        Err(EngineError::Batch {
            shape,
            len,
            channels,
        })
    }
}

/// A value copied out of an engine, NHWC.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// `n·h·w·c` values.
    pub data: Vec<f32>,
    /// Batch, height, width, channels.
    pub shape: Nhwc,
}

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
    Device(#[from] cuda::driver::DeviceError),
    /// The batch does not fit the device's memory; nothing of it was run.
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
        0 => "not even one image fits; use smaller images, a smaller network, or the device cpu"
            .into(),
        n => format!("the largest batch that fits is {n}"),
    }
}

/// Runs one graph forward and backward.
pub trait Engine: Send {
    /// `cpu`, `cuda` …
    fn device(&self) -> &'static str;

    /// Inference: running statistics, no dropout. Returns the values asked for, in that order.
    fn infer(
        &mut self,
        params: &ParamStore,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError>;

    /// Training forward pass: batch statistics (the running ones in `params` are updated), dropout drawn from `seed`.
    /// What backward needs is kept until the next call.
    fn forward(
        &mut self,
        params: &mut ParamStore,
        x: Images<'_>,
        seed: u64,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError>;

    /// Gradients of the last [`Engine::forward`]: `output_grads` are those of its outputs, in their order. Replaces
    /// the trainable groups of `grads`.
    fn backward(
        &mut self,
        params: &ParamStore,
        output_grads: &[Vec<f32>],
        grads: &mut ParamStore,
    ) -> Result<(), EngineError>;

    /// Training that stays on the engine's device, where it has one of its own.
    fn resident(&mut self) -> Option<&mut dyn Resident> {
        None
    }
}
