//! Finds hashes within a Hamming distance of one another.

/// Bits of a part of a hash; the last part has fewer.
const PART: u32 = 13;

/// Number of parts.
const PARTS: usize = 5;

/// The greatest distance that is searched.
pub(crate) const MOST_DISTANT: u32 = 2 * PARTS as u32 - 1;

/// An index of 64-bit hashes (multi-index hashing, Norouzi, Punjani & Fleet 2012).
///
/// Two hashes that differ in at most 9 bits differ in at most one bit in one of five parts. A query therefore looks up
/// each part as it is and with each of its bits flipped: 69 lookups. Of n evenly distributed hashes these find n / 120, of
/// which most are too distant; building costs O(n) time and memory.
pub(crate) struct HashIndex {
    hashes: Vec<u64>,
    /// By part and value, the positions of the hashes in ascending order.
    tables: Vec<Vec<Vec<u32>>>,
}

impl HashIndex {
    /// Of at most 2³² hashes.
    pub(crate) fn new(hashes: Vec<u64>) -> Self {
        let mut tables = vec![vec![vec![]; 1 << PART]; PARTS];
        for (position, hash) in hashes.iter().enumerate() {
            for (part, table) in tables.iter_mut().enumerate() {
                table[value(*hash, part)].push(position as u32);
            }
        }
        Self { hashes, tables }
    }

    /// The positions from `from` on of the hashes that differ from `hash` in at most `distance` bits (at most
    /// [`MOST_DISTANT`]), ascending.
    pub(crate) fn near(&self, hash: u64, distance: u32, from: usize) -> Vec<usize> {
        let mut found = vec![];
        for (part, table) in self.tables.iter().enumerate() {
            let own = value(hash, part);
            let flipped = (0..PART).map(|bit| own ^ (1 << bit));
            for bucket in flipped.chain([own]).map(|value| &table[value]) {
                let later = &bucket[bucket.partition_point(|p| (*p as usize) < from)..];
                let positions = later.iter().map(|position| *position as usize);
                let near = |p: &usize| (self.hashes[*p] ^ hash).count_ones() <= distance;
                found.extend(positions.filter(near));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The bits of a part of a hash.
fn value(hash: u64, part: usize) -> usize {
    (hash >> (PART * part as u32)) as usize & ((1 << PART) - 1)
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
        let index = HashIndex::new(hashes.clone());
        for distance in [0, 4, 8, MOST_DISTANT] {
            for (i, hash) in hashes.iter().enumerate() {
                let near = |j: &usize| (hashes[*j] ^ hash).count_ones() <= distance;
                let expected: Vec<usize> = (i..hashes.len()).filter(near).collect();
                assert_eq!(index.near(*hash, distance, i), expected);
            }
        }
    }
}
