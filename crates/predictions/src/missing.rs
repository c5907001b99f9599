//! What a job lacks, in words.

use std::fmt;

use crate::shard::Shard;

/// Numbers of missing rows that are named per shard.
pub(crate) const NAMED: usize = 5;

/// Shards that are described one by one.
const DESCRIBED: usize = 10;

/// What a job lacks; displayed in a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Images of the job.
    pub images: usize,
    /// Shards of the job.
    pub shards: usize,
    /// The shards that are incomplete; at least one.
    pub missing: Vec<Missing>,
}

/// What a shard lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The shard.
    pub shard: Shard,
    /// Its images.
    pub images: usize,
    /// Those that are missing; none if the process was stopped after the last one.
    pub missing: usize,
    /// The first rows that are missing, counted from 0.
    pub first: Vec<usize>,
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing: usize = self.missing.iter().map(|shard| shard.missing).sum();
        let (shards, images) = (self.shards, self.images);
        let incomplete = self.missing.len();
        writeln!(
            f,
            "{incomplete} of {shards} shards are incomplete, and {missing} of {images} images missing:"
        )?;
        for missing in self.missing.iter().take(DESCRIBED) {
            writeln!(f, "  {missing}")?;
        }
        if incomplete > DESCRIBED {
            writeln!(f, "  and {} more shards", incomplete - DESCRIBED)?;
        }
        write!(f, "shards to predict again: {}", self.numbers())
    }
}

impl Incomplete {
    /// The numbers of the shards as `3,5-7`, which Slurm's `--array` takes.
    fn numbers(&self) -> String {
        let mut runs: Vec<(usize, usize)> = vec![];
        for index in self.missing.iter().map(|missing| missing.shard.index) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == index => *last = index,
                _ => runs.push((index, index)),
            }
        }
        let runs = runs.into_iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        runs.collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shard, images, missing) = (self.shard, self.images, self.missing);
        if missing == 0 {
            return write!(f, "shard {shard}: stopped after its last image");
        }
        let first: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        let more = if missing > first.len() { ", …" } else { "" };
        write!(
            f,
            "shard {shard}: {missing} of {images} images missing, rows {}{more} (counted from 0)",
            first.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_as_slurm_takes_them() {
        let missing = |index| Missing {
            shard: Shard { index, of: 40 },
            images: 1,
            missing: 1,
            first: vec![index],
        };
        let incomplete = |indices: &[usize]| Incomplete {
            images: 40,
            shards: 40,
            missing: indices.iter().copied().map(missing).collect(),
        };
        assert_eq!(incomplete(&[1, 3, 4, 5, 9]).numbers(), "1,3-5,9");
        let many = incomplete(&(1..=40).collect::<Vec<_>>()).to_string();
        assert!(
            many.ends_with("and 30 more shards\nshards to predict again: 1-40"),
            "{many}"
        );
    }
}
