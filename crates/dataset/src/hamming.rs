//! Finds hashes within a Hamming distance of one another.

/// The greatest distance that is searched.
pub(crate) const MOST_DISTANT: u32 = 9;

/// From this number of hashes on, three long parts are faster than five short ones.
const MANY: usize = 1 << 15;

/// Hashes that a query looks at before it goes on in steps.
const AT_ONCE: usize = 1 << 14;

/// An index of 64-bit hashes (multi-index hashing, Norouzi, Punjani & Fleet 2012).
///
/// A hash is divided into parts. Two hashes that differ in at most d bits differ in at most d / parts bits of one of
/// them, so a query looks up each part with up to that many bits flipped. Of n evenly distributed hashes, five parts of
/// 13 bits find n / 120 in 69 lookups (for distances from 5 to 9), and three of 21 or 22 bits n / 2900 in 718 lookups
/// (from 6 to 8), so that the time of a query hardly grows up to some millions of hashes. Building costs O(n) time and
/// memory.
pub(crate) struct HashIndex {
    distance: u32,
    tables: Vec<Table>,
}

/// The hashes, ordered by one of their parts.
struct Table {
    /// The lowest bit of the part, and its number of bits.
    lowest: u32,
    bits: u32,
    /// What a part is changed by: every pattern of few bits.
    flips: Vec<usize>,
    /// Where the hashes of each value of the part begin; one more at the end.
    starts: Vec<u32>,
    /// By value, the positions of the hashes in ascending order, and the hashes themselves.
    positions: Vec<u32>,
    hashes: Vec<u64>,
}

/// The hashes that a query found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Near {
    /// Their positions, ascending.
    pub(crate) positions: Vec<usize>,
    /// Whether there are more.
    pub(crate) more: bool,
}

impl HashIndex {
    /// Of at most 2³² hashes, for queries of up to this distance (at most [`MOST_DISTANT`]).
    pub(crate) fn new(hashes: &[u64], distance: u32) -> Self {
        let parts: &[u32] = match hashes.len() < MANY {
            true => &[13, 13, 13, 13, 12],
            false => &[21, 21, 22],
        };
        Self::of_parts(hashes, distance, parts)
    }

    fn of_parts(hashes: &[u64], distance: u32, parts: &[u32]) -> Self {
        let radius = distance / parts.len() as u32;
        let mut lowest = 0;
        let table = |bits: &u32| {
            lowest += bits;
            Table::new(hashes, (lowest - bits, *bits), radius)
        };
        Self {
            distance,
            tables: parts.iter().map(table).collect(),
        }
    }

    /// The first `most` positions, from `from` on, of the hashes within the index's distance of `hash`.
    pub(crate) fn near(&self, hash: u64, from: usize, most: usize) -> Near {
        let mut buckets: Vec<Bucket> = self
            .tables
            .iter()
            .flat_map(|t| t.buckets(hash, from))
            .collect();
        let all: usize = buckets.iter().map(|bucket| bucket.positions.len()).sum();
        let hashes = self.tables.first().map_or(0, |table| table.hashes.len());
        // Where many hashes are alike, the first ones are enough; positions are taken in steps of about equal work.
        let steps = all.div_ceil(AT_ONCE).max(1);
        let step = hashes.saturating_sub(from).div_ceil(steps).max(1);
        let mut found = vec![];
        for end in (from..hashes).step_by(step).map(|start| start + step) {
            let before = found.len();
            for bucket in &mut buckets {
                bucket.take_until(end, hash, self.distance, &mut found);
            }
            found[before..].sort_unstable();
            found.dedup();
            if found.len() > most {
                break;
            }
        }
        let more = found.len() > most;
        found.truncate(most);
        Near {
            positions: found,
            more,
        }
    }
}

impl Table {
    fn new(hashes: &[u64], (lowest, bits): (u32, u32), radius: u32) -> Self {
        let value = |hash: &u64| value(*hash, lowest, bits);
        let mut starts = vec![0; (1 << bits) + 1];
        hashes.iter().for_each(|hash| starts[value(hash) + 1] += 1);
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let (mut positions, mut sorted) = (vec![0; hashes.len()], vec![0; hashes.len()]);
        for (position, hash) in hashes.iter().enumerate() {
            let slot = &mut next[value(hash)];
            positions[*slot as usize] = position as u32;
            sorted[*slot as usize] = *hash;
            *slot += 1;
        }
        Self {
            lowest,
            bits,
            flips: flips(bits, radius),
            starts,
            positions,
            hashes: sorted,
        }
    }

    /// The hashes, from a position on, whose part is near that of `hash`.
    fn buckets(&self, hash: u64, from: usize) -> impl Iterator<Item = Bucket<'_>> {
        let own = value(hash, self.lowest, self.bits);
        let range = move |flip: &usize| {
            let at = own ^ flip;
            self.starts[at] as usize..self.starts[at + 1] as usize
        };
        let filled = self
            .flips
            .iter()
            .map(range)
            .filter(|range| !range.is_empty());
        filled.map(move |range| {
            let positions = &self.positions[range.clone()];
            let earlier = positions.partition_point(|p| (*p as usize) < from);
            Bucket {
                positions: &positions[earlier..],
                hashes: &self.hashes[range][earlier..],
            }
        })
    }
}

/// The hashes of one value of a part.
struct Bucket<'t> {
    positions: &'t [u32],
    hashes: &'t [u64],
}

impl Bucket<'_> {
    /// Moves on to position `end`, and adds the positions before it whose hashes are near.
    fn take_until(&mut self, end: usize, hash: u64, distance: u32, found: &mut Vec<usize>) {
        let n = self.positions.partition_point(|p| (*p as usize) < end);
        for (position, other) in self.positions[..n].iter().zip(self.hashes) {
            if (other ^ hash).count_ones() <= distance {
                found.push(*position as usize);
            }
        }
        self.positions = &self.positions[n..];
        self.hashes = &self.hashes[n..];
    }
}

/// The bits of a part of a hash.
fn value(hash: u64, lowest: u32, bits: u32) -> usize {
    (hash >> lowest) as usize & ((1 << bits) - 1)
}

/// All patterns of at most `radius` set bits among the lowest `bits`.
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
    use super::*;

    /// Random hashes, half of them with up to ten bits of another one flipped.
    fn hashes(n: usize) -> Vec<u64> {
        let mut rng = random::Rng::stream(5, 5);
        let mut hashes: Vec<u64> = vec![];
        for i in 0..n {
            let mut hash = rng.next_u64();
            if i > 0 && i % 2 == 1 {
                hash = hashes[rng.below(i)];
                (0..rng.below(11)).for_each(|_| hash ^= 1 << rng.below(64));
            }
            hashes.push(hash);
        }
        hashes
    }

    #[test]
    fn all_near_hashes_are_found_and_no_others() {
        let hashes = hashes(600);
        for (distance, parts) in [0, 4, 8, MOST_DISTANT]
            .into_iter()
            .flat_map(|d| [(d, &[13, 13, 13, 13, 12][..]), (d, &[21, 21, 22])])
        {
            let index = HashIndex::of_parts(&hashes, distance, parts);
            for (i, hash) in hashes.iter().enumerate() {
                let near = |j: &usize| (hashes[*j] ^ hash).count_ones() <= distance;
                let expected: Vec<usize> = (i..hashes.len()).filter(near).collect();
                let found = index.near(*hash, i, usize::MAX);
                assert_eq!((found.positions, found.more), (expected, false));
            }
        }
    }

    /// More hashes are alike than are looked at in one step.
    #[test]
    fn the_first_of_many_near_hashes_are_found() {
        let mut rng = random::Rng::stream(6, 6);
        let hashes: Vec<u64> = (0..2 * AT_ONCE).map(|_| 1 << rng.below(64)).collect();
        let index = HashIndex::new(&hashes, 1);
        let near = |j: &usize| hashes[*j].count_ones() <= 1 && (hashes[*j] ^ 1).count_ones() <= 1;
        let expected: Vec<usize> = (77..hashes.len()).filter(near).collect();
        for most in [0, 10, expected.len() - 1, expected.len(), usize::MAX] {
            let found = index.near(1, 77, most);
            let first = expected.len().min(most);
            assert_eq!(found.positions, expected[..first], "{most}");
            assert_eq!(found.more, most < expected.len(), "{most}");
        }
    }

    #[test]
    fn patterns_have_few_bits_and_are_different() {
        for (bits, radius, n) in [(13, 1, 14), (22, 2, 254), (21, 3, 1562), (5, 0, 1)] {
            let mut all = flips(bits, radius);
            assert!(
                all.iter()
                    .all(|flip| flip.count_ones() <= radius && *flip < 1 << bits)
            );
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), n);
        }
    }
}
