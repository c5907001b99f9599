//! Comparison of a mean in a group with that in the rest, with patients as the units.

use std::collections::BTreeMap;

use crate::interval::Interval;

/// Images over which a figure is averaged (such as those of a class), in the group and in the rest; neither is empty.
pub(super) struct Stratum {
    pub(super) group: Vec<usize>,
    pub(super) rest: Vec<usize>,
}

/// Sums over patients of what each contributes to the means of group and rest, minus what is expected if the two do not
/// differ: squares, and products of both.
pub(super) struct Contributions {
    group: f64,
    rest: f64,
    both: f64,
}

impl Contributions {
    /// Of the mean over strata of the means of `values`; `share` is the weight of each stratum.
    pub(super) fn new(strata: &[Stratum], share: f64, values: &[f64], patients: &[usize]) -> Self {
        let mut sums: BTreeMap<usize, [f64; 2]> = BTreeMap::new();
        for Stratum { group, rest } in strata {
            let n = (group.len() + rest.len()) as f64;
            let mean = group.iter().chain(rest).map(|i| values[*i]).sum::<f64>() / n;
            for (side, images) in [group, rest].into_iter().enumerate() {
                for i in images {
                    let own = sums.entry(patients[*i]).or_default();
                    own[side] += share * (values[*i] - mean) / images.len() as f64;
                }
            }
        }
        let g = sums.len() as f64;
        let sum = |of: fn(&[f64; 2]) -> f64| g / (g - 1.0) * sums.values().map(of).sum::<f64>();
        Self {
            group: sum(|own| own[0] * own[0]),
            rest: sum(|own| own[1] * own[1]),
            both: sum(|own| own[0] * own[1]),
        }
    }

    /// The variance of the difference if the two do not differ.
    pub(super) fn variance(&self) -> f64 {
        (self.group + self.rest - 2.0 * self.both).max(0.0)
    }

    /// The correlation of the two means, which is 0 if no patient has images in both.
    pub(super) fn correlation(&self) -> f64 {
        let spread = (self.group * self.rest).sqrt();
        if spread > 0.0 {
            (self.both / spread).clamp(-1.0, 1.0)
        } else {
            0.0
        }
    }
}

/// The variance of the difference of the means of `values` in group and rest, if both have the same variance and the same
/// correlation of two images of a patient: those of the whole stratum (Donner & Donald 1987).
pub(super) fn common_variance(stratum: &Stratum, values: &[f64], patients: &[usize]) -> f64 {
    let [a, b] = [&stratum.group, &stratum.rest].map(|images| images.len() as f64);
    let group = stratum.group.iter().map(|i| (*i, 1.0 / a));
    let weighted: Vec<(usize, f64)> = group
        .chain(stratum.rest.iter().map(|i| (*i, -1.0 / b)))
        .collect();
    let n = a + b;
    let mean = weighted.iter().map(|(i, _)| values[*i]).sum::<f64>() / n;
    // Per patient: sum of deviations, number of images, sum of weights.
    let mut sums: BTreeMap<usize, [f64; 3]> = BTreeMap::new();
    let (mut squares, mut alone) = (0.0, 0.0);
    for (i, weight) in weighted {
        let deviation = values[i] - mean;
        let own = sums.entry(patients[i]).or_default();
        let terms = own.iter_mut().zip([deviation, 1.0, weight]);
        terms.for_each(|(sum, term)| *sum += term);
        squares += deviation * deviation;
        alone += weight * weight;
    }
    let sum = |of: fn(&[f64; 3]) -> f64| sums.values().map(of).sum::<f64>();
    let variance = squares / (n - 1.0);
    let pairs = sum(|own| own[1] * (own[1] - 1.0));
    let products = sum(|own| own[0] * own[0]) - squares;
    let correlation = if pairs > 0.0 && variance > 0.0 {
        (products / pairs / variance).clamp(0.0, 1.0)
    } else {
        0.0
    };
    variance * ((1.0 - correlation) * alone + correlation * sum(|own| own[2] * own[2]))
}

/// The interval of `a − b` from their intervals and their correlation (method of variance estimates recovery, Zou &
/// Donner 2008).
pub(super) fn difference(a: &Interval, b: &Interval, correlation: f64) -> Interval {
    let estimate = a.estimate - b.estimate;
    let far = |x: f64, y: f64| (x * x + y * y - 2.0 * correlation * x * y).max(0.0).sqrt();
    Interval {
        estimate,
        low: estimate - far(a.estimate - a.low, b.high - b.estimate),
        high: estimate + far(a.high - a.estimate, b.estimate - b.low),
        level: a.level,
        n: a.n + b.n,
    }
}

/// The interval of the mean of independent figures, by the same method; `None` without any.
pub(super) fn mean(parts: &[Interval]) -> Option<Interval> {
    let first = parts.first()?;
    let k = parts.len() as f64;
    let estimate = parts.iter().map(|part| part.estimate).sum::<f64>() / k;
    let far = |of: fn(&Interval) -> f64| {
        let squares = parts.iter().map(|part| (of(part) / k).powi(2));
        squares.sum::<f64>().sqrt()
    };
    Some(Interval {
        estimate,
        low: estimate - far(|part| part.estimate - part.low),
        high: estimate + far(|part| part.high - part.estimate),
        level: first.level,
        n: parts.iter().map(|part| part.n).sum(),
    })
}

/// Holm's adjusted p-values (1979), in the order of `p`.
pub(super) fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, i) in order.into_iter().enumerate() {
        largest = largest.max((p.len() - rank) as f64 * p[i]).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}
