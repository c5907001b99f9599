//! The division of a batch into chunks, and of the chunks among processes.

use std::ops::Range;

/// A number of chunks, and those of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// Chunks of a batch; at least 1.
    pub chunks: usize,
    /// Those of this process, from 0.
    pub own: Range<usize>,
}

impl Division {
    /// A batch that is computed whole, by one process.
    pub const WHOLE: Division = Division {
        chunks: 1,
        own: 0..1,
    };

    /// The share of process `rank` of `size` in `chunks` chunks. Neighbouring chunks stay together, so that most of their
    /// sum needs no message. Empty where there are more processes than chunks.
    pub fn new(chunks: usize, rank: usize, size: usize) -> Self {
        Division {
            chunks,
            own: part(chunks, rank, size),
        }
    }

    /// The positions of a chunk's images in a batch of `images`; empty where there are fewer images than chunks.
    pub fn images(&self, chunk: usize, images: usize) -> Range<usize> {
        part(images, chunk, self.chunks)
    }

    /// The positions of all images of this process in a batch of `images`.
    pub fn own_images(&self, images: usize) -> Range<usize> {
        match self.own.is_empty() {
            true => 0..0,
            false => {
                self.images(self.own.start, images).start..self.images(self.own.end - 1, images).end
            }
        }
    }
}

/// The `index`-th of `of` parts of `0..len`, which differ by at most one in length.
pub fn part(len: usize, index: usize, of: usize) -> Range<usize> {
    let start = |index| len * index / of.max(1);
    start(index)..start(index + 1)
}

/// A range relative to the start of another that contains it.
pub fn within(outer: &Range<usize>, inner: &Range<usize>) -> Range<usize> {
    let at = |position: usize| position.saturating_sub(outer.start);
    at(inner.start)..at(inner.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_one_chunk_and_every_chunk_one_process() {
        for (chunks, size, images) in [(1, 1, 8), (4, 2, 8), (4, 3, 7), (6, 4, 3), (2, 4, 8)] {
            let mut seen = vec![];
            for rank in 0..size {
                let division = Division::new(chunks, rank, size);
                let own: Vec<usize> = division
                    .own
                    .clone()
                    .flat_map(|chunk| division.images(chunk, images))
                    .collect();
                assert_eq!(division.own_images(images).collect::<Vec<_>>(), own);
                seen.extend(own);
            }
            assert_eq!(seen, (0..images).collect::<Vec<_>>());
        }
    }
}
