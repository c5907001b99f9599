//! Pairs of images whose values in a table differ in few bits.

use std::ops::Range;

use rayon::prelude::*;

use super::outline::{Fine, Half};
use super::table::Table;

/// Values of a task: with about one view of each, the outlines of a task stay in the cache.
const VALUES: usize = 2048;

/// Least run of values that are lower than their neighbours for which these are looked up one by one.
const SHORT: usize = 16;

/// Most views that one is compared with in a join, and most that are kept of them as candidates, so that the time is
/// bounded where many images are alike.
const COMPARED: u32 = 1 << 14;
const CANDIDATES: u32 = 1000;

/// Views of a value, of which there are hardly ever more.
const USUAL: usize = 4;

/// Candidates of a task from which on [`FEW`] are kept for each view.
const PLENTY: usize = 1 << 17;
const FEW: u32 = 32;

/// Pairs of images that may be near-identical.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) pairs: Vec<[u32; 2]>,
    /// Whether there are more.
    pub(super) truncated: bool,
}

/// The pairs of different images of which two views have values in the table that differ in at most `radius` bits, and near
/// outlines; a pair is there twice if that holds for both views of both.
///
/// The table is read from the beginning to the end, once for each pattern of bits by which values may differ, instead of
/// being asked for each view: what lies at `value ^ pattern` for neighbouring values lies close together. (The parts and
/// patterns are those of multi-index hashing, Norouzi, Punjani & Fleet 2012.) The order of the pairs does not depend on the
/// number of threads.
pub(super) fn near(table: &Table, fine: &[Fine], radius: u32) -> Candidates {
    let join = Join {
        table,
        fine,
        flips: flips(table.bits() as u32, radius),
    };
    let tasks = (0..1_usize << table.bits()).into_par_iter().step_by(VALUES);
    let found: Vec<Candidates> = tasks.map(|value| Task::new(&join, value).run()).collect();
    let mut all = Candidates::default();
    for some in found {
        all.pairs.extend(some.pairs);
        all.truncated |= some.truncated;
    }
    all
}

struct Join<'t> {
    table: &'t Table,
    /// By image.
    fine: &'t [Fine],
    flips: Vec<usize>,
}

/// The views of some values of the table.
struct Task<'j> {
    join: &'j Join<'j>,
    /// Its values.
    range: Range<usize>,
    /// The value of each view, in the order of the table.
    values: Vec<usize>,
    /// The place of the first one, and how many each was compared with, and of these were kept.
    first: usize,
    compared: Vec<u32>,
    kept: Vec<u32>,
    /// Room for the pairs of a pattern: the places of two views.
    pairs: Vec<[u32; 2]>,
    found: Candidates,
}

impl Join<'_> {
    /// Whether the coarse outlines of two views are near.
    fn are_near(&self, places: [usize; 2]) -> bool {
        let Table {
            sums, differences, ..
        } = self.table;
        let [own, others] = places.map(|place| [&sums[place], &differences[place]]);
        Half::are_near(own, others)
    }

    /// Whether the fine outlines of two views are near. An image is not a copy of its own mirror image.
    fn may_be_copies(&self, places: [usize; 2]) -> bool {
        let [own, other] = places.map(|place| self.table.views[place]);
        own.image != other.image && own.is_near(other, self.fine)
    }
}

impl<'j> Task<'j> {
    fn new(join: &'j Join<'j>, from: usize) -> Self {
        let table = join.table;
        let values = from..(from + VALUES).min(1 << table.bits());
        let places = table.of_range(&values);
        let of_views = values
            .clone()
            .flat_map(|value| table.of(value).map(move |_| value));
        Self {
            join,
            range: values,
            values: of_views.collect(),
            first: places.start,
            compared: vec![0; places.len()],
            kept: vec![0; places.len()],
            pairs: vec![[0; 2]; (places.len() + 1) * USUAL],
            found: Candidates::default(),
        }
    }

    fn run(mut self) -> Candidates {
        let join = self.join;
        let sums = &join.table.sums;
        for flip in &join.flips {
            let mut len = self.pair(*flip);
            len = self.filter(len, |[a, b]| sums[a].is_near(&sums[b]));
            len = self.filter(len, |pair| join.are_near(pair));
            len = self.filter(len, |pair| join.may_be_copies(pair));
            for i in 0..len {
                let [place, other] = self.pairs[i].map(|place| place as usize);
                self.keep(place, other);
            }
        }
        self.found
    }

    /// Keeps of the first `len` pairs those that are near, and returns their number. There is no branch, because which are
    /// near cannot be predicted, and so that reads that miss the caches do not wait for one another.
    fn filter(&mut self, len: usize, is_near: impl Fn([usize; 2]) -> bool) -> usize {
        let mut near = 0;
        for i in 0..len {
            let pair = self.pairs[i];
            self.pairs[near] = pair;
            near += usize::from(is_near(pair.map(|place| place as usize)));
        }
        near
    }

    /// Finds the pairs of views whose values differ by `flip`, and returns their number. Views that have more than the
    /// usual number of others, or have had, are compared at once instead.
    ///
    /// How many views a value has cannot be predicted, and a wrong prediction takes as long as comparing several. So there
    /// is no branch for the usual numbers: as many pairs are written as there may be, and the next ones over what was too
    /// much.
    fn pair(&mut self, flip: usize) -> usize {
        let mut len = 0;
        for own in self.lower(flip) {
            for place in own {
                let value = self.values[place - self.first];
                // Each pair of values once, seen from the lower one.
                let is_lower = value ^ flip >= value;
                let others = self.join.table.of(value ^ flip);
                let from = match flip {
                    0 => place + 1,
                    _ => others.start,
                };
                let n = (others.end - from) * usize::from(is_lower);
                let compared = &mut self.compared[place - self.first];
                if n > USUAL || *compared > COMPARED - USUAL as u32 {
                    self.compare(place, from..from + n);
                    continue;
                }
                *compared += n as u32;
                let pairs = self.pairs[len..][..USUAL].iter_mut();
                pairs
                    .zip(from..)
                    .for_each(|(pair, other)| *pair = [place as u32, other as u32]);
                len += n;
            }
        }
        len
    }

    /// The places of views whose values are lower than those that differ by `flip`, so that each pair of values is seen
    /// once. Values that do not have the pattern's highest bit come in runs; where these are short, all are returned.
    fn lower(&self, flip: usize) -> Vec<Range<usize>> {
        let highest = flip.checked_ilog2().map_or(0, |bit| 1 << bit);
        let own = &self.range;
        match highest {
            0..SHORT => vec![self.join.table.of_range(own)],
            SHORT..VALUES => own
                .clone()
                .step_by(2 * highest)
                .map(|start| self.join.table.of_range(&(start..start + highest)))
                .collect(),
            _ if own.start & highest != 0 => vec![],
            _ => vec![self.join.table.of_range(own)],
        }
    }

    /// Compares a view with others, up to the limits.
    #[inline]
    fn compare(&mut self, place: usize, others: Range<usize>) {
        let sums = &self.join.table.sums;
        let compared = &mut self.compared[place - self.first];
        let n = others.len().min((COMPARED - *compared) as usize);
        self.found.truncated |= n < others.len();
        *compared += n as u32;
        let own = sums[place];
        let some = others.start..others.start + n;
        for (other, of_other) in some.clone().zip(&sums[some]) {
            let pair = [place, other];
            let is_near =
                own.is_near(of_other) && self.join.are_near(pair) && self.join.may_be_copies(pair);
            if is_near && !self.keep(place, other) {
                break;
            }
        }
    }

    /// Keeps a pair that may be near-identical; `false` if there is no room for another one of this view, from now on.
    #[cold]
    fn keep(&mut self, place: usize, other: usize) -> bool {
        let most = match self.found.pairs.len() < PLENTY {
            true => CANDIDATES,
            false => FEW,
        };
        let kept = &mut self.kept[place - self.first];
        if *kept >= most {
            self.compared[place - self.first] = COMPARED;
            self.found.truncated = true;
            return false;
        }
        *kept += 1;
        let images = [place, other].map(|place| self.join.table.views[place].image);
        self.found.pairs.push(images);
        true
    }
}

/// All patterns of at most `radius` set bits among the lowest `bits`, those with the fewest first.
fn flips(bits: u32, radius: u32) -> Vec<usize> {
    let mut all = vec![0];
    let mut last = vec![0_usize];
    for _ in 0..radius {
        // Each pattern once: with a further bit above its highest.
        let further = |flip: &usize| {
            let above = usize::BITS - flip.leading_zeros();
            let flip = *flip;
            (above..bits).map(move |bit| flip | 1 << bit)
        };
        last = last.iter().flat_map(further).collect();
        all.extend(&last);
    }
    all
}

#[cfg(test)]
mod tests {
    use random::Rng;
    use rayon::ThreadPoolBuilder;

    use super::super::outline::Coarse;
    use super::super::views::View;
    use super::*;
    use crate::small::{SIDE, Small};

    /// What [`near`] finds among views that are all alike, each of an image of its own.
    fn of(bits: usize, values: &[u32]) -> Candidates {
        let n = values.len();
        let view = |image: u32| View {
            image,
            mirrored: image.is_multiple_of(3),
        };
        let views: Vec<View> = (0..n as u32).map(view).collect();
        let alike = |_| Coarse::default();
        let mut table = Table::default();
        table.make(bits, |range| values[range].iter().copied(), &views, alike);
        near(&table, &vec![Fine::default(); n], 2)
    }

    /// By comparing all.
    fn expected(values: &[u32]) -> Vec<[u32; 2]> {
        let mut pairs = vec![];
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate().skip(i + 1) {
                if (a ^ b).count_ones() <= 2 {
                    pairs.push([i as u32, j as u32]);
                }
            }
        }
        pairs
    }

    #[test]
    fn a_join_has_the_pairs_that_share_a_part() {
        let mut rng = Rng::stream(5, 5);
        for (n, bits) in [(0, 4), (2, 1), (50, 3), (400, 9), (1500, 13)] {
            let value = |_| rng.below(1 << bits) as u32;
            let values: Vec<u32> = (0..n).map(value).collect();
            for threads in [1, 3] {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build();
                let found = pool.unwrap().install(|| of(bits, &values));
                assert!(!found.truncated);
                let mut pairs = found.pairs;
                pairs.iter_mut().for_each(|pair| pair.sort_unstable());
                pairs.sort_unstable();
                assert_eq!(pairs, expected(&values), "{n} {bits}");
            }
        }
    }

    /// Two views of an image are no pair, and views that are turned differently are compared mirrored.
    #[test]
    fn views_are_compared_as_they_are_turned() {
        let view = |image, mirrored| View { image, mirrored };
        let views = [view(0, false), view(0, true), view(1, true), view(2, false)];
        let bright_left = |pixel: usize| f32::from(u8::from(pixel % SIDE < SIDE / 2));
        let image: Vec<f32> = (0..SIDE * SIDE).map(bright_left).collect();
        let left = Fine::of(Small::of(&image, SIDE).signature());
        let mut table = Table::default();
        let zeros = |views: Range<usize>| views.map(|_| 0);
        table.make(1, zeros, &views, |_| Coarse::default());
        let found = near(&table, &[left, left.mirrored(), left], 0);
        assert_eq!(found.pairs, [[0, 1], [0, 2], [1, 2]]);
    }

    /// Each image has the first of the others up to the limit; beyond plenty, few.
    #[test]
    fn the_candidates_of_equal_images_are_limited() {
        let n = 100_000;
        let found = of(14, &vec![9; n]);
        assert!(found.truncated);
        let most = PLENTY + CANDIDATES as usize + n * FEW as usize;
        assert!((PLENTY..=most).contains(&found.pairs.len()));
        assert_eq!(found.pairs[..3], [[0, 1], [0, 2], [0, 3]]);
    }

    #[test]
    fn patterns_have_few_bits_and_are_different() {
        for (bits, radius, n) in [(13, 1, 14), (22, 2, 254), (21, 3, 1562), (5, 0, 1)] {
            let mut all = flips(bits, radius);
            let few = |flip: &usize| flip.count_ones() <= radius && *flip < 1 << bits;
            assert!(all.iter().all(few));
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), n);
        }
    }
}
