//! What runs a graph: chosen at run time, behind one small trait.
//!
//! An engine owns its buffers and nothing else: values of parameters come in with each call, gradients go out. All walk
//! over a plan in the same way (`walk.rs`); what each does for an operation is behind the traits of `operations.rs`.

pub mod cpu;
pub mod cuda;
pub mod recipe;
pub mod resident;

mod device;
mod error;
mod memory;
mod nodes;
mod operations;
mod values;
mod walk;
mod written;

pub use device::{Choice, Device};
pub use error::EngineError;
pub use kernels::Precision;
pub use resident::Resident;
pub use values::{Images, Value};

use crate::graph::NodeId;
use crate::store::ParamStore;

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
