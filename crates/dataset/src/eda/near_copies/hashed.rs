//! Compares the pairs whose hashes are similar: near linear in the number of images.

use rayon::prelude::*;

use super::images::Images;
use super::join::{Candidates, between, within};
use super::pairs::Pairs;
use super::sign_hash::{Hash, MOST_BITS, PARTS, RADIUS, SignHash};
use super::table::Table;
use crate::DatasetError;

/// Pairs that a thread compares at a time.
const AT_ONCE: usize = 4096;

/// The near-identical images among many.
///
/// Those are candidates whose hashes differ in at most [`RADIUS`] bits of a part, as they are or one mirrored. A part of b
/// bits has about as many values as there are images, so that an image is compared with a number of others that grows as
/// b² only.
pub(super) fn search(images: &Images<'_>) -> Result<Pairs, DatasetError> {
    let search = Search::new(images);
    let mut found = Pairs::default();
    for part in 0..PARTS {
        let (plain, mirrored) = rayon::join(|| search.plain(part), || search.mirrored(part));
        let as_they_are = within(&plain, &images.fine, RADIUS);
        found = found.with(search.compared(as_they_are, (part, Way::AsTheyAre))?);
        let one_mirrored = between(&mirrored, &plain, &images.fine, RADIUS);
        found = found.with(search.compared(one_mirrored, (part, Way::Mirrored))?);
    }
    Ok(found)
}

struct Search<'i, 'm> {
    images: &'i Images<'m>,
    bits: usize,
    hashes: Vec<Hash>,
    /// Of the mirror images.
    mirrored: Vec<Hash>,
}

/// How a pair was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    AsTheyAre,
    /// With one of the images mirrored.
    Mirrored,
}

impl<'i, 'm> Search<'i, 'm> {
    fn new(images: &'i Images<'m>) -> Self {
        let bits = (images.len().max(2).ilog2() as usize).min(MOST_BITS);
        let hash = SignHash::of(images, bits);
        let (hashes, mirrored) = hash.of_all(images);
        Self {
            images,
            bits,
            hashes,
            mirrored,
        }
    }

    fn plain(&self, part: usize) -> Table {
        let values = self.hashes.iter().map(|hash| hash[part]);
        Table::new(self.bits, values, self.images.coarse.iter().copied())
    }

    fn mirrored(&self, part: usize) -> Table {
        let values = self.mirrored.iter().map(|hash| hash[part]);
        let coarse = self.images.coarse.iter().map(|coarse| coarse.mirrored());
        Table::new(self.bits, values, coarse)
    }

    /// Of candidates, the pairs that are near-identical and were not found before.
    fn compared(&self, found: Candidates, by: (usize, Way)) -> Result<Pairs, DatasetError> {
        let mut pairs = found.pairs;
        pairs.par_iter_mut().for_each(|pair| pair.sort_unstable());
        // Pairs with images in common follow one another, and one that was found with either image mirrored is there once.
        pairs.par_sort_unstable();
        pairs.dedup();
        let some = pairs.par_chunks(AT_ONCE).map(|some| {
            let new = some.iter().copied().filter(|pair| self.is_new(*pair, by));
            self.images.compared(new)
        });
        let some: Vec<_> = some.collect();
        let none = Ok(Pairs {
            truncated: found.truncated,
            ..Pairs::default()
        });
        some.into_iter()
            .fold(none, |all, some| Ok(all?.with(some?)))
    }

    /// Whether a pair could not be found by an earlier part, or by the same part in an earlier way.
    fn is_new(&self, pair: [u32; 2], by: (usize, Way)) -> bool {
        let ways = (0..=by.0).flat_map(|part| [(part, Way::AsTheyAre), (part, Way::Mirrored)]);
        let mut earlier = ways.take_while(|way| *way < by);
        !earlier.any(|way| self.finds(pair, way))
    }

    fn finds(&self, [a, b]: [u32; 2], (part, way): (usize, Way)) -> bool {
        let [a, b] = [a, b].map(|image| image as usize);
        let near = |a: &Hash, b: &Hash| (a[part] ^ b[part]).count_ones() <= RADIUS;
        let (plain, mirrored) = (&self.hashes, &self.mirrored);
        let (fine, of_b) = (&self.images.fine[a], &self.images.fine[b]);
        match way {
            Way::AsTheyAre => near(&plain[a], &plain[b]) && fine.is_near(of_b),
            Way::Mirrored => {
                (near(&mirrored[a], &plain[b]) || near(&plain[a], &mirrored[b]))
                    && fine.mirrored().is_near(of_b)
            }
        }
    }
}
