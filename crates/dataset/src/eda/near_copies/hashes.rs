//! The hashes of many views.

use std::ops::Range;

use rayon::prelude::*;

use super::sign_hash::{Hash, PARTS};

/// Hashes of a block.
const BLOCK: usize = 1024;

/// The hashes of some views, stored in blocks in which the same part of all hashes lies together, because the parts are
/// read one after the other.
pub(super) struct Hashes {
    blocks: Vec<Vec<[u32; BLOCK]>>,
}

impl Hashes {
    /// `of` gives the hash of a view.
    pub(super) fn new(len: usize, of: impl Fn(usize) -> Hash + Sync) -> Self {
        let starts = (0..len).into_par_iter().step_by(BLOCK);
        let block = |start: usize| {
            let mut block = vec![[0; BLOCK]; PARTS];
            for view in start..(start + BLOCK).min(len) {
                let parts = block.iter_mut().zip(of(view));
                parts.for_each(|(values, value)| values[view - start] = value);
            }
            block
        };
        Self {
            blocks: starts.map(block).collect(),
        }
    }

    /// The values of a part of some views.
    pub(super) fn of_part(&self, part: usize, views: Range<usize>) -> impl Iterator<Item = u32> {
        let blocks = self.blocks.iter().skip(views.start / BLOCK);
        let values = blocks.flat_map(move |block| &block[part]).copied();
        values.skip(views.start % BLOCK).take(views.len())
    }

    /// The values of the first parts of a view.
    pub(super) fn of_view(&self, view: usize, parts: usize) -> impl Iterator<Item = u32> {
        let block = &self.blocks[view / BLOCK];
        block[..parts]
            .iter()
            .map(move |values| values[view % BLOCK])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_found_by_view_and_by_part() {
        let value = |view: usize, part: usize| (100 * view + part) as u32;
        for len in [0, 1, BLOCK, 2 * BLOCK + 3] {
            let hashes = Hashes::new(len, |view| std::array::from_fn(|part| value(view, part)));
            for part in [0, 1, PARTS - 1] {
                let values: Vec<u32> = (0..len).map(|view| value(view, part)).collect();
                for views in [0..len, len / 2..len, len.min(7)..len.min(BLOCK + 2)] {
                    let found: Vec<u32> = hashes.of_part(part, views.clone()).collect();
                    assert_eq!(found, values[views]);
                }
            }
            for view in (0..len).step_by(500) {
                let values: Vec<u32> = (0..3).map(|part| value(view, part)).collect();
                assert_eq!(hashes.of_view(view, 3).collect::<Vec<_>>(), values);
            }
        }
    }
}
