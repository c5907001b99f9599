//! The percentile bootstrap for arbitrary statistics.

use std::ops::Range;

use random::{Rng, finalize, hash};

use crate::check;
use crate::error::{MetricsError, Result};
use crate::interval::Interval;

/// Settings of the percentile bootstrap (Efron): number of resamples, seed and confidence level.
///
/// Resample `r` is a function of (seed, r) alone. **A resample on which the statistic is undefined**, such as an AUC
/// without positives, is redrawn from its own stream, up to 100 draws: the interval is then conditional on samples for
/// which the statistic is defined. Percentiles are interpolated linearly (NumPy's default).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Number of resamples; 2000 is enough for a stable second digit of a 95 % interval.
    pub resamples: usize,
    /// The same seed gives the same interval, bit for bit.
    pub seed: u64,
    /// Confidence level, such as 0.95.
    pub level: f64,
}

/// The units drawn with replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampling<'a> {
    /// Individual examples.
    Simple,
    /// Examples within each stratum (one id per example), so that stratum sizes do not change.
    Stratified(&'a [usize]),
    /// Whole groups (one id per example), such as patients with several images each: images of one patient are not
    /// independent, and drawing them individually would make the interval too narrow.
    Grouped(&'a [usize]),
}

/// Maximum number of draws of one resample.
const MAX_DRAWS: usize = 100;

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 2000,
            seed: 0,
            level: 0.95,
        }
    }
}

impl Bootstrap {
    /// The random stream of resample number `resample`: each has its own, so that neither the order of work nor the
    /// number of threads changes a result.
    pub(crate) fn stream(&self, resample: u64) -> Rng {
        Rng::from_state(hash(self.seed, &[]) ^ finalize(resample))
    }

    /// The interval of `statistic` over `n` examples. The statistic receives the indices of the drawn examples (with
    /// repeats), first `0..n` for the estimate, and returns `None` if it is undefined.
    ///
    /// # Errors
    /// No examples, a number of ids other than `n`, no resamples, a level outside 0..1, or a statistic that is
    /// undefined on the data or on 100 draws of one resample.
    pub fn interval(
        &self,
        n: usize,
        resampling: Resampling<'_>,
        mut statistic: impl FnMut(&[usize]) -> Option<f64>,
    ) -> Result<Interval> {
        let intervals = self.intervals(n, resampling, |sample| {
            statistic(sample).map(|value| vec![value])
        })?;
        intervals.into_iter().next().ok_or(UNDEFINED_ON_DATA)
    }

    /// The intervals of several statistics on the same resamples, in the order in which `statistics` returns them. It
    /// must return the same number of values each time, or `None` if one is undefined.
    ///
    /// # Errors
    /// As [`Bootstrap::interval`].
    pub fn intervals(
        &self,
        n: usize,
        resampling: Resampling<'_>,
        mut statistics: impl FnMut(&[usize]) -> Option<Vec<f64>>,
    ) -> Result<Vec<Interval>> {
        self.check()?;
        let sampler = Sampler::new(n, resampling)?;
        let mut sample: Vec<usize> = (0..n).collect();
        let estimates = statistics(&sample).ok_or(UNDEFINED_ON_DATA)?;
        let mut values = vec![Vec::with_capacity(self.resamples); estimates.len()];
        for resample in 0..self.resamples as u64 {
            let mut rng = self.stream(resample);
            let drawn = (0..MAX_DRAWS).find_map(|_| {
                sampler.draw(&mut rng, &mut sample);
                statistics(&sample).filter(|drawn| drawn.len() == estimates.len())
            });
            let drawn = drawn.ok_or(UNDEFINED_ON_RESAMPLES)?;
            values
                .iter_mut()
                .zip(drawn)
                .for_each(|(values, value)| values.push(value));
        }
        let pairs = estimates.into_iter().zip(values);
        Ok(pairs
            .map(|(estimate, values)| self.percentiles(n, estimate, values))
            .collect())
    }

    /// Errors unless the level is in 0..1 and the number of resamples in 1..=1,000,000.
    pub(crate) fn check(&self) -> Result<()> {
        check::level(self.level)?;
        check::count_in(
            "resamples",
            self.resamples,
            1_000_000,
            "1 to 1,000,000; 2000 is usual",
        )
    }

    fn percentiles(&self, n: usize, estimate: f64, mut values: Vec<f64>) -> Interval {
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        let (low, high) = (quantile(&values, tail), quantile(&values, 1.0 - tail));
        Interval {
            estimate,
            low,
            high,
            level: self.level,
            n,
        }
    }
}

const UNDEFINED_ON_DATA: MetricsError = MetricsError::StatisticUndefined {
    place: "on the data",
};
const UNDEFINED_ON_RESAMPLES: MetricsError = MetricsError::StatisticUndefined {
    place: "on 100 draws of one resample",
};

/// Draws units (examples or groups of examples) with replacement within strata.
struct Sampler {
    /// Example indices, unit after unit.
    members: Vec<usize>,
    /// Each unit's range in `members`.
    units: Vec<Range<usize>>,
    /// Each stratum's range in `units`.
    strata: Vec<Range<usize>>,
}

impl Sampler {
    fn new(n: usize, resampling: Resampling<'_>) -> Result<Self> {
        check::not_empty("examples", n)?;
        let singles: Vec<Range<usize>> = (0..n).map(|i| i..i + 1).collect();
        Ok(match resampling {
            Resampling::Simple => Self {
                members: (0..n).collect(),
                units: singles,
                strata: std::iter::once(0..n).collect(),
            },
            Resampling::Stratified(ids) => {
                let (members, strata) = sorted_runs("strata", n, ids)?;
                Self {
                    members,
                    units: singles,
                    strata,
                }
            }
            Resampling::Grouped(ids) => {
                let (members, units) = sorted_runs("groups", n, ids)?;
                let strata = std::iter::once(0..units.len()).collect();
                Self {
                    members,
                    units,
                    strata,
                }
            }
        })
    }

    fn draw(&self, rng: &mut Rng, sample: &mut Vec<usize>) {
        sample.clear();
        for stratum in &self.strata {
            for _ in stratum.clone() {
                let unit = &self.units[stratum.start + rng.below(stratum.len())];
                sample.extend_from_slice(&self.members[unit.clone()]);
            }
        }
    }
}

/// Example indices sorted by id, and the range of each id in them.
fn sorted_runs(
    what: &'static str,
    n: usize,
    ids: &[usize],
) -> Result<(Vec<usize>, Vec<Range<usize>>)> {
    check::same_length(what, ids.len(), "labels", n)?;
    let mut members: Vec<usize> = (0..n).collect();
    members.sort_by_key(|i| ids[*i]);
    let mut start = 0;
    let runs = members.chunk_by(|a, b| ids[*a] == ids[*b]).map(|run| {
        let range = start..start + run.len();
        start = range.end;
        range
    });
    let runs = runs.collect();
    Ok((members, runs))
}

/// The median of the values; for an even number, the mean of the two middle ones. `None` if there are no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| quantile(&sorted, 0.5))
}

/// Linear interpolation between order statistics; `sorted` is not empty, `0 <= q <= 1`.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_interpolates_as_numpy() {
        let check = |q, expected: f64| {
            assert!((quantile(&[1.0, 2.0, 4.0, 8.0], q) - expected).abs() < 1e-15)
        };
        [
            (0.0, 1.0),
            (0.025, 1.075),
            (0.5, 3.0),
            (0.975, 7.7),
            (1.0, 8.0),
        ]
        .into_iter()
        .for_each(|(q, expected)| check(q, expected));
    }

    #[test]
    fn the_median_of_an_even_number_of_values_is_a_mean_of_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn strata_keep_their_sizes_and_groups_stay_whole() {
        let ids = [7, 3, 7, 7, 3, 9];
        let mut sample = Vec::new();
        for stream in 0..50 {
            let mut rng = Rng::stream(1, stream);
            Sampler::new(6, Resampling::Stratified(&ids))
                .unwrap()
                .draw(&mut rng, &mut sample);
            let drawn = |id| sample.iter().filter(|i| ids[**i] == id).count();
            assert_eq!([drawn(3), drawn(7), drawn(9)], [2, 3, 1]);

            Sampler::new(6, Resampling::Grouped(&ids))
                .unwrap()
                .draw(&mut rng, &mut sample);
            let drawn = |i| sample.iter().filter(|j| **j == i).count();
            assert_eq!(
                [drawn(0), drawn(0), drawn(1)],
                [drawn(2), drawn(3), drawn(4)]
            );
            assert_eq!(drawn(0) + drawn(1) + drawn(5), 3);
        }
    }
}
