//! The share of one process in a job that several work on.

use std::fmt;
use std::str::FromStr;

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

    /// Whether a batch of the job belongs to the shard. Batches are assigned in turn, so that shares of a sorted list
    /// take about the same time.
    pub(crate) fn has(self, batch: usize) -> bool {
        batch % self.of == self.index - 1
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
            (1..=of).contains(&index).then_some(Shard { index, of })
        });
        parsed.ok_or_else(|| {
            format!("a shard is given as I/N with I from 1 to N, such as 3/8, not {text:?}")
        })
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
        for wrong in ["0/8", "9/8", "3", "a/8", "3/", "-1/2", "1/0"] {
            let error = wrong.parse::<Shard>().unwrap_err();
            assert!(error.contains("3/8") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn every_batch_belongs_to_one_shard() {
        for of in 1..10 {
            for batch in 0..40 {
                let owners = (1..=of).filter(|&index| Shard { index, of }.has(batch));
                assert_eq!(owners.count(), 1);
            }
        }
    }
}
