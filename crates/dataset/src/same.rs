//! Rows that have the same patient or the same bytes.

use std::hash::{BuildHasher as _, RandomState};

use rayon::prelude::*;

/// For each row the first one of the same patient, and the first one with the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct FirstOfSame {
    pub(crate) patient: Vec<usize>,
    pub(crate) file: Vec<usize>,
}

/// The patient of an image and the hash of its file.
pub(crate) struct Facts<'m> {
    pub(crate) patient: &'m str,
    pub(crate) file: &'m str,
}

impl FirstOfSame {
    pub(crate) fn of<'m>(rows: usize, facts: impl Fn(usize) -> Facts<'m> + Sync) -> Self {
        let state = RandomState::new();
        let hashes = (0..rows).into_par_iter().map(|row| {
            let Facts { patient, file } = facts(row);
            ((state.hash_one(patient), row), (state.hash_one(file), row))
        });
        let (patients, files) = hashes.unzip();
        Self {
            patient: first_equals(patients, |row| facts(row).patient),
            file: first_equals(files, |row| facts(row).file),
        }
    }
}

/// For each index the first one with an equal value, given the values' hashes.
///
/// Sorting hashes finds equal values without a map of millions of strings, whose entries are far apart in memory.
fn first_equals<'m>(mut hashes: Vec<(u64, usize)>, value: impl Fn(usize) -> &'m str) -> Vec<usize> {
    hashes.par_sort_unstable();
    let mut firsts: Vec<usize> = (0..hashes.len()).collect();
    for equal in hashes.chunk_by(|a, b| a.0 == b.0).filter(|c| c.len() > 1) {
        // Different values almost never have the same hash.
        let mut distinct: Vec<usize> = vec![];
        for &(_, i) in equal {
            match distinct.iter().find(|&&first| value(first) == value(i)) {
                Some(&first) => firsts[i] = first,
                None => distinct.push(i),
            }
        }
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::first_equals;

    #[test]
    fn values_with_the_same_hash_are_told_apart() {
        let values = ["a", "b", "a", "c", "b", "c"];
        let hashes = [7, 7, 7, 9, 7, 9].into_iter().zip(0..).collect();
        assert_eq!(first_equals(hashes, |i| values[i]), [0, 1, 0, 3, 1, 3]);
    }
}
