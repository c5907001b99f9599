//! The part of an epoch that one of several processes reads.

use std::ops::Range;

use collective::Division;

/// The part of an epoch that a process reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// Its chunks of every batch.
    Chunks(Division),
    /// Every `size`-th batch, from the one with the number `rank`.
    Batches {
        /// This process, from 0.
        rank: usize,
        /// Number of processes.
        size: usize,
    },
}

impl Share {
    /// Everything.
    pub const ALL: Share = Share::Chunks(Division::WHOLE);

    /// The positions that are read of a batch of `images`; empty if none is.
    pub(super) fn of(&self, batch: usize, images: usize) -> Range<usize> {
        match self {
            Share::Chunks(division) => division.own_images(images),
            Share::Batches { rank, size } if batch % size.max(&1) == *rank => 0..images,
            Share::Batches { .. } => 0..0,
        }
    }
}
