//! The share of one process in a job that several work on.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Largest number of shares: more than schedulers allow in one array of tasks.
pub(crate) const MOST: usize = 100_000;

/// One of `of` shares; `index` counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1 to `of`.
    pub index: usize,
    /// Number of shares.
    pub of: usize,
}

impl Shard {
    /// The whole job.
    pub const ALL: Shard = Shard { index: 1, of: 1 };

    /// The share, if there is one with these numbers.
    pub(crate) fn new(index: usize, of: usize) -> Option<Shard> {
        ((1..=of).contains(&index) && of <= MOST).then_some(Shard { index, of })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(index, of)| {
            let (index, of) = (index.parse().ok()?, of.parse().ok()?);
            Shard::new(index, of)
        });
        parsed.ok_or_else(|| {
            format!(
                "a shard is given as I/N with I from 1 to N, and N at most {MOST}, such as 3/8, not {text:?}"
            )
        })
    }
}

/// How the rows of a job are divided: into batches, which belong to the shards in turn, so that shares of a sorted list
/// take about the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Division {
    /// Rows of the job.
    pub(crate) rows: usize,
    /// Rows in a batch; at least 1.
    pub(crate) batch: usize,
    /// Number of shards; at least 1.
    pub(crate) shards: usize,
}

impl Division {
    /// All shards, in order.
    pub(crate) fn shards(self) -> impl Iterator<Item = Shard> {
        let of = self.shards;
        (1..=of).map(move |index| Shard { index, of })
    }

    /// The row numbers of a shard, by batch.
    pub(crate) fn batches(self, shard: Shard) -> impl Iterator<Item = Range<usize>> {
        let batches = (0..self.rows.div_ceil(self.batch)).skip(shard.index - 1);
        batches.step_by(self.shards).map(move |batch| {
            let first = batch * self.batch;
            first..self.rows.min(first.saturating_add(self.batch))
        })
    }

    /// The number of rows of a shard.
    pub(crate) fn rows_of(self, shard: Shard) -> usize {
        self.batches(shard).map(|rows| rows.len()).sum()
    }

    /// The shard, from 0, that a row belongs to.
    pub(crate) fn owner(self, row: usize) -> usize {
        (row / self.batch) % self.shards
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_as_written() {
        let shard: Shard = "3/8".parse().unwrap();
        assert_eq!((shard.index, shard.of), (3, 8));
        assert_eq!(shard.to_string(), "3/8");
        for wrong in ["0/8", "9/8", "3", "a/8", "3/", "-1/2", "1/0", "1/100001"] {
            let error = wrong.parse::<Shard>().unwrap_err();
            assert!(error.contains("3/8") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn every_row_belongs_to_one_batch_of_one_shard() {
        for (rows, batch, shards) in [(0, 8, 3), (1, 8, 3), (37, 4, 3), (40, 8, 5), (9, 1, 9)] {
            let division = Division {
                rows,
                batch,
                shards,
            };
            let mut owners = vec![vec![]; rows];
            for shard in division.shards() {
                let own: Vec<usize> = division.batches(shard).flatten().collect();
                assert_eq!(own.len(), division.rows_of(shard));
                own.iter()
                    .for_each(|row| owners[*row].push(shard.index - 1));
            }
            for (row, owners) in owners.iter().enumerate() {
                assert_eq!(owners[..], [division.owner(row)], "row {row}");
            }
        }
    }
}
