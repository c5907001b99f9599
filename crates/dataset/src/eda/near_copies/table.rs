//! Images ordered by a part of their hashes.

use std::ops::Range;

use super::outline::Coarse;

/// The images, those with the same value of a part next to each other.
pub(super) struct Table {
    bits: usize,
    /// Where the images of each value begin; one more at the end.
    starts: Vec<u32>,
    /// Ascending for each value.
    pub(super) images: Vec<u32>,
    /// The coarse outlines in the same order.
    pub(super) coarse: Vec<Coarse>,
}

impl Table {
    /// `values` and `coarse` have the value of `bits` bits and the coarse outline of each image, of fewer than 2³².
    pub(super) fn new(
        bits: usize,
        values: impl Iterator<Item = u32> + Clone,
        coarse: impl ExactSizeIterator<Item = Coarse>,
    ) -> Self {
        let mut starts = vec![0; (1 << bits) + 1];
        values
            .clone()
            .for_each(|value| starts[value as usize + 1] += 1);
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let mut images = vec![0; coarse.len()];
        let mut sorted = vec![Coarse::default(); coarse.len()];
        for (image, (value, coarse)) in values.zip(coarse).enumerate() {
            let place = &mut next[value as usize];
            images[*place as usize] = image as u32;
            sorted[*place as usize] = coarse;
            *place += 1;
        }
        Self {
            bits,
            starts,
            images,
            coarse: sorted,
        }
    }

    /// Bits of a value.
    pub(super) fn bits(&self) -> usize {
        self.bits
    }

    /// Where the images of a value are.
    pub(super) fn of(&self, value: usize) -> Range<usize> {
        self.starts[value] as usize..self.starts[value + 1] as usize
    }

    /// Where the images of neighbouring values are.
    pub(super) fn of_range(&self, values: &Range<usize>) -> Range<usize> {
        self.starts[values.start] as usize..self.starts[values.end] as usize
    }
}
