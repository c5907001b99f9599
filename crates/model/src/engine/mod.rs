//! Engines, which run a graph: chosen at run time, behind one small trait.
//!
//! An engine owns its buffers and nothing else: parameter values are passed in with each call, and gradients are
//! returned. All traverse a plan in the same way (`walk.rs`); each implements the operations through the traits of
//! `operations.rs`.

pub mod cpu;
pub mod cuda;
pub mod recipe;
pub mod resident;

mod device;
mod error;
mod lockstep;
mod memory;
mod nodes;
mod operations;
mod precision;
mod values;
mod walk;
mod written;

pub use device::{Choice, Device};
pub use error::EngineError;
pub use kernels::Precision;
pub use lockstep::{Chunk, Exchange, Lockstep};
pub use precision::{InferencePrecision, UnknownPrecision};
pub use resident::Resident;
pub use values::{Images, OutputGradient, Sensitivities, Sensitivity, Value};

use crate::graph::NodeId;
use crate::store::ParamStore;

/// Called during a backward pass, as gradients become final: the gradients, and the first of the nodes whose parameters'
/// gradients will not change any more, as those of all nodes after it.
pub type Watch<'a> = &'a mut (dyn FnMut(&ParamStore, NodeId) + Send);

/// Runs one graph forward and backward.
pub trait Engine: Send {
    /// The device's name: `cpu`, `cuda` …
    fn device(&self) -> &'static str;

    /// Inference: running statistics, no dropout. Returns the values of `outputs`, in that order.
    fn infer(
        &mut self,
        params: &ParamStore,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError>;

    /// Training forward pass: batch statistics (the running ones in `params` are updated), dropout drawn from `seed`.
    /// The values that the backward pass needs are kept until the next call.
    fn forward(
        &mut self,
        params: &mut ParamStore,
        x: Images<'_>,
        seed: u64,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError>;

    /// Gradients of the last [`Engine::forward`]: `output_grads` are those of its outputs, in their order. Replaces
    /// the trainable groups of `grads`. `watch` may be told of gradients that are final before the others.
    fn backward(
        &mut self,
        params: &ParamStore,
        output_grads: &[Vec<f32>],
        grads: &mut ParamStore,
        watch: Option<Watch<'_>>,
    ) -> Result<(), EngineError>;

    /// Gradients of the function that [`Engine::infer`] computes (running statistics, no dropout): of
    /// `Σ gradient · value` of one output, with respect to the values of `at`, which may include the images
    /// ([`NodeId::INPUT`]). They are zero where the output does not depend on a value. Values and gradients are f32,
    /// whatever the engine's precision. A forward pass before it is forgotten.
    ///
    /// # Errors
    /// [`EngineError::NoSensitivities`] of an engine that does not compute them; otherwise as [`Engine::infer`], or an
    /// output gradient of another length than the output.
    fn sensitivities(
        &mut self,
        _params: &ParamStore,
        _x: Images<'_>,
        _of: OutputGradient<'_>,
        _at: &[NodeId],
    ) -> Result<Sensitivities, EngineError> {
        Err(EngineError::NoSensitivities {
            device: self.device(),
        })
    }

    /// Whether training leaves the encoder as it is ([`Graph::in_encoder`](crate::graph::Graph::in_encoder)): its
    /// forward pass is then that of inference, and its parameters' gradients are zero. False at first.
    fn freeze_encoder(&mut self, frozen: bool);

    /// Training of several chunks at once, if the engine can.
    fn lockstep(&mut self) -> Option<&mut dyn Lockstep> {
        None
    }

    /// Training resident on the engine's device, if it has one of its own.
    fn resident(&mut self) -> Option<&mut dyn Resident> {
        None
    }
}
