//! Buffers of a run whose batches are cut into chunks.

use collective::sum::{Reducer, Spare};

/// Buffers of a run whose batches are cut.
#[derive(Default)]
pub(super) struct Buffers {
    /// Those of chunks whose sums have been added.
    pub(super) spare: Spare,
    /// The sum over all chunks: gradients, then changes of running statistics.
    pub(super) whole: Vec<f32>,
    pub(super) reducer: Reducer,
}
