//! Buffers of a run whose batches are cut into chunks.

use collective::sum::{Reducer, Spare};

use super::buckets::Buckets;

/// Buffers of a run whose batches are cut.
#[derive(Default)]
pub(super) struct Buffers {
    /// Those of chunks whose sums have been added.
    pub(super) spare: Spare,
    /// The sum over all chunks, in the order of the buckets.
    pub(super) whole: Vec<f32>,
    pub(super) reducer: Reducer,
    /// The division of the network's gradients, once it is known.
    pub(super) buckets: Option<Buckets>,
}
