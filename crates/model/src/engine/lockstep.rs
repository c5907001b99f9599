//! Training of several chunks of a batch at once, each step of the plan for all of them before the next: batch norms then
//! take their statistics from all chunks, those of other processes included.

use super::{EngineError, Images, Value};
use crate::graph::NodeId;
use crate::store::ParamStore;

/// A chunk's images, and the seed of its dropout.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The images.
    pub images: Images<'a>,
    /// Dropout and drop path are drawn from it.
    pub seed: u64,
}

/// How the chunks of a batch share numbers, over all processes.
pub trait Exchange: Send {
    /// The numbers of every chunk of the batch, in their order, given those of this process's chunks. All processes make
    /// the same calls; a chunk's numbers are as many as another's.
    ///
    /// # Errors
    /// The transport's own.
    fn gather(
        &mut self,
        own: Vec<Vec<f64>>,
    ) -> Result<Vec<Vec<f64>>, Box<dyn std::error::Error + Send + Sync>>;
}

/// An engine that trains several chunks at once. What is computed for a chunk depends on the others by the statistics of
/// batch norms only, which are combined in the order of the chunks: it is the same to the bit wherever they are computed.
pub trait Lockstep {
    /// As [`Engine::forward`](super::Engine::forward) for each chunk, at least one, with batch statistics over all chunks
    /// of all processes, by which the running ones in `params` are moved once.
    ///
    /// # Errors
    /// A chunk that does not suit the network, before anything is exchanged; an exchange that failed.
    fn forward(
        &mut self,
        params: &mut ParamStore,
        chunks: &[Chunk<'_>],
        outputs: &[NodeId],
        exchange: &mut dyn Exchange,
    ) -> Result<Vec<Vec<Value>>, EngineError>;

    /// As [`Engine::backward`](super::Engine::backward) for each chunk of the last [`Lockstep::forward`]: the gradients of
    /// one function, the sum of the chunks' losses, of which each chunk receives its own summands.
    ///
    /// # Errors
    /// No forward pass before it; an exchange that failed.
    fn backward(
        &mut self,
        params: &ParamStore,
        output_grads: &[Vec<Vec<f32>>],
        grads: &mut [ParamStore],
        exchange: &mut dyn Exchange,
    ) -> Result<(), EngineError>;
}
