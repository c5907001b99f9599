//! Pairs of images whose values in two tables differ in few bits.

use std::ops::Range;

use rayon::prelude::*;

use super::outline::Fine;
use super::table::Table;

/// Values of a task: with one or two images of each, the outlines of a task stay in the cache.
const VALUES: usize = 2048;

/// Most images that one is compared with in a join, and most that are kept of them as candidates, so that the time is
/// bounded where many images are alike.
const COMPARED: u32 = 1 << 14;
const CANDIDATES: u32 = 1000;

/// Candidates of a task from which on [`FEW`] are kept for each image.
const PLENTY: usize = 1 << 17;
const FEW: u32 = 32;

/// Pairs that may be near-identical: an image of the first table, one of the second.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) pairs: Vec<[u32; 2]>,
    /// Whether there are more.
    pub(super) truncated: bool,
}

/// The pairs of different images in a table whose values differ in at most `radius` bits and whose outlines are near; each
/// pair once.
pub(super) fn within(table: &Table, fine: &[Fine], radius: u32) -> Candidates {
    let flips = flips(table.bits() as u32, radius);
    joined(&Join {
        own: table,
        other: table,
        fine,
        flips,
        mirrored: false,
    })
}

/// The same for an image of `mirrored`, a table of mirror images, and one of `table`, which has as many bits.
pub(super) fn between(mirrored: &Table, table: &Table, fine: &[Fine], radius: u32) -> Candidates {
    let flips = flips(table.bits() as u32, radius);
    joined(&Join {
        own: mirrored,
        other: table,
        fine,
        flips,
        mirrored: true,
    })
}

/// The tables are read from the beginning to the end, once for each pattern of bits by which values may differ, instead of
/// being asked for each image: what lies at `value ^ pattern` for neighbouring values lies close together. (The parts and
/// patterns are those of multi-index hashing, Norouzi, Punjani & Fleet 2012.) The order of the pairs does not depend on the
/// number of threads.
fn joined(join: &Join<'_>) -> Candidates {
    let tasks = (0..1_usize << join.own.bits())
        .into_par_iter()
        .step_by(VALUES);
    let found: Vec<Candidates> = tasks.map(|value| Task::new(join, value).run()).collect();
    let mut all = Candidates::default();
    for some in found {
        all.pairs.extend(some.pairs);
        all.truncated |= some.truncated;
    }
    all
}

struct Join<'t> {
    own: &'t Table,
    other: &'t Table,
    /// By image.
    fine: &'t [Fine],
    flips: Vec<usize>,
    /// Whether the images of the first table are mirrored; if not, both tables are the same.
    mirrored: bool,
}

impl Join<'_> {
    /// Whether the fine outlines of two images are near.
    fn is_near(&self, [own, other]: [u32; 2]) -> bool {
        let [own, other] = [own, other].map(|image| &self.fine[image as usize]);
        match self.mirrored {
            true => own.mirrored().is_near(other),
            false => own.is_near(other),
        }
    }
}

/// The images of some values of the first table.
struct Task<'j> {
    join: &'j Join<'j>,
    values: Range<usize>,
    /// The place of the first one, and how many each was compared with, and of these were kept.
    first: usize,
    compared: Vec<u32>,
    kept: Vec<u32>,
    found: Candidates,
}

impl<'j> Task<'j> {
    fn new(join: &'j Join<'j>, from: usize) -> Self {
        let values = from..(from + VALUES).min(1 << join.own.bits());
        let places = join.own.of_range(&values);
        Self {
            join,
            values,
            first: places.start,
            compared: vec![0; places.len()],
            kept: vec![0; places.len()],
            found: Candidates::default(),
        }
    }

    fn run(mut self) -> Candidates {
        let join = self.join;
        for flip in &join.flips {
            for value in self.values.clone() {
                let own = join.own.of(value);
                // Within a table each pair of values once.
                if own.is_empty() || !join.mirrored && value ^ flip < value {
                    continue;
                }
                let others = join.other.of(value ^ flip);
                for place in own {
                    let later = match !join.mirrored && *flip == 0 {
                        true => place + 1..others.end,
                        false => others.clone(),
                    };
                    self.compare(place, later);
                }
            }
        }
        self.found
    }

    /// Compares an image with others, up to the limits.
    #[inline]
    fn compare(&mut self, place: usize, others: Range<usize>) {
        let join = self.join;
        let compared = &mut self.compared[place - self.first];
        let n = others.len().min((COMPARED - *compared) as usize);
        self.found.truncated |= n < others.len();
        *compared += n as u32;
        let coarse = join.own.coarse[place];
        let some = others.start..others.start + n;
        for (other, of_other) in some.clone().zip(&join.other.coarse[some]) {
            if coarse.is_near(of_other) && !self.keep(place, other) {
                break;
            }
        }
    }

    /// Keeps a pair that may be near-identical; `false` if there is no room for another one of this image, from now on.
    #[cold]
    fn keep(&mut self, place: usize, other: usize) -> bool {
        let pair = [self.join.own.images[place], self.join.other.images[other]];
        // An image is not a copy of its own mirror image.
        if pair[0] == pair[1] || !self.join.is_near(pair) {
            return true;
        }
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
        self.found.pairs.push(pair);
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
    use super::*;

    /// Of images that are all alike.
    fn table(bits: usize, values: &[u32]) -> Table {
        let all_alike = vec![Coarse::default(); values.len()];
        Table::new(bits, values.iter().copied(), all_alike.into_iter())
    }

    /// Pairs of different images whose values are near, by comparing all; within a table the first is the lower.
    fn expected(own: &[u32], other: &[u32], within: bool) -> Vec<[u32; 2]> {
        let mut pairs = vec![];
        for (i, a) in own.iter().enumerate() {
            for (j, b) in other.iter().enumerate() {
                if (a ^ b).count_ones() <= 2 && i != j && !(within && i > j) {
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
            let [own, other] = [(); 2].map(|()| {
                let value = |_| rng.below(1 << bits) as u32;
                (0..n).map(value).collect::<Vec<u32>>()
            });
            let [a, b] = [&own, &other].map(|values| table(bits, values));
            for threads in [1, 3] {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build();
                let fine = vec![Fine::default(); n];
                let joins = || (within(&a, &fine, 2), between(&a, &b, &fine, 2));
                let (one, two) = pool.unwrap().install(joins);
                assert!(!one.truncated && !two.truncated);
                let mut one = one.pairs;
                one.iter_mut().for_each(|pair| pair.sort_unstable());
                one.sort_unstable();
                assert_eq!(one, expected(&own, &own, true), "{n} {bits}");
                let mut two = two.pairs;
                two.sort_unstable();
                assert_eq!(two, expected(&own, &other, false), "{n} {bits}");
            }
        }
    }

    /// Each image has the first of the others up to the limit; beyond plenty, few.
    #[test]
    fn the_candidates_of_equal_images_are_limited() {
        let n = 100_000;
        let found = within(&table(14, &vec![9; n]), &vec![Fine::default(); n], 2);
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
