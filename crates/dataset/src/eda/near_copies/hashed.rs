//! Compares the pairs whose hashes are similar: near linear in the number of images.

use rayon::prelude::*;

use super::Turn;
use super::hashes::Hashes;
use super::images::Images;
use super::join::{Candidates, near};
use super::outline::centred;
use super::pairs::Pairs;
use super::sign_hash::{MOST_BITS, PARTS, RADIUS, SignHash};
use super::table::Table;
use super::views::{View, Views};
use crate::DatasetError;

/// Images of which mean and covariance are computed, at most about.
const SAMPLE: usize = 1 << 16;

/// Pairs that a thread compares at a time.
const AT_ONCE: usize = 4096;

/// The near-identical images among many.
///
/// Those are candidates of which two views have hashes that differ in at most [`RADIUS`] bits of a part. A part of b bits
/// has about as many values as there are views, so that a view is compared with a number of others that grows as b only.
/// A process searches by every so many-th part.
pub(super) fn search(images: &Images<'_>, turn: Turn) -> Result<Pairs, DatasetError> {
    let search = Search::new(images);
    let mut found = Pairs::default();
    let mut table = Table::default();
    for part in (0..PARTS).filter(|part| turn.is_own(*part)) {
        search.make(&mut table, part);
        let candidates = near(&table, &images.fine, RADIUS);
        found = found.with(search.compared(candidates, part)?);
    }
    Ok(found)
}

/// Indices among `n`, at equal distances.
fn sample(n: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(n.div_ceil(SAMPLE).max(1))
}

struct Search<'i, 'm> {
    images: &'i Images<'m>,
    bits: usize,
    views: Views,
    hashes: Hashes,
}

impl<'i, 'm> Search<'i, 'm> {
    fn new(images: &'i Images<'m>) -> Self {
        let some = sample(images.len()).map(|i| centred(images.signature(i as u32)));
        let views = Views::new(images, &some.collect::<Vec<_>>());
        let all = views.all();
        let bits = (all.len().max(1).ilog2() as usize + 1).min(MOST_BITS);
        let some = sample(all.len()).map(|i| all[i].blocks(images));
        let hash = SignHash::new(&some.collect::<Vec<_>>(), bits);
        let hashes = Hashes::new(all.len(), |view| hash.of(&all[view].blocks(images)));
        Self {
            images,
            bits,
            hashes,
            views,
        }
    }

    /// Makes the table of a part.
    fn make(&self, table: &mut Table, part: usize) {
        let values = |views| self.hashes.of_part(part, views);
        let outline = |view: View| view.coarse(self.images);
        table.make(self.bits, values, self.views.all(), outline);
    }

    /// Of candidates, the pairs that are near-identical and were not found by an earlier part.
    fn compared(&self, found: Candidates, part: usize) -> Result<Pairs, DatasetError> {
        let mut pairs = found.pairs;
        pairs.par_iter_mut().for_each(|pair| pair.sort_unstable());
        // Pairs with images in common follow one another, and one of which two pairs of views are near is there once.
        pairs.par_sort_unstable();
        pairs.dedup();
        let some = pairs.par_chunks(AT_ONCE).map(|some| {
            let new = some.iter().copied().filter(|pair| self.is_new(*pair, part));
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

    /// Whether a pair could not be found by an earlier part.
    fn is_new(&self, [a, b]: [u32; 2], part: usize) -> bool {
        let views = self.views.of(a);
        let mut both = views.flat_map(|a| self.views.of(b).map(move |b| [a, b]));
        !both.any(|views| self.are_near(views, part))
    }

    /// Whether two views are near by one of the parts before `part`.
    fn are_near(&self, views: [usize; 2], part: usize) -> bool {
        let [a, b] = views.map(|view| self.hashes.of_view(view, part));
        let mut parts = a.zip(b);
        let [a, b] = views.map(|view| self.views.all()[view]);
        parts.any(|(a, b)| (a ^ b).count_ones() <= RADIUS) && a.is_near(b, &self.images.fine)
    }
}
