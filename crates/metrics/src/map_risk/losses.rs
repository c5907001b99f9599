//! The losses of images, and their means over patients.

use std::collections::{BTreeMap, BTreeSet};

use super::histogram::{PixelHistogram, edge};
use crate::check;
use crate::error::Result;
use crate::interval::{Interval, wilson_at};
use crate::normal::normal_quantile;
use crate::student::t_quantile;

/// The loss of an image with these numbers of marked pixels and of all pixels, each outside and inside the mask; `None` if
/// it is the share of nothing.
pub(super) type Loss = fn([u64; 2], [u64; 2]) -> Option<f64>;

/// Share of the marked pixels that are outside.
pub(super) fn outside(marked: [u64; 2], _: [u64; 2]) -> Option<f64> {
    share(marked[0], marked[0] + marked[1])
}

/// Share of the mask that is not marked.
pub(super) fn missed(marked: [u64; 2], pixels: [u64; 2]) -> Option<f64> {
    share(pixels[1] - marked[1], pixels[1])
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The losses at each threshold, from 1 down to 0.
pub(super) struct Losses<'a> {
    groups: Option<&'a [usize]>,
    pub(super) patients: usize,
    /// The sum over patients of their mean losses.
    pub(super) sums: Vec<f64>,
}

impl<'a> Losses<'a> {
    pub(super) fn new(
        images: &[PixelHistogram],
        groups: Option<&'a [usize]>,
        loss: Loss,
    ) -> Result<Self> {
        let bins = check_images(images, groups)?;
        let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
        (0..images.len()).for_each(|i| *sizes.entry(patient(groups, i)).or_default() += 1);
        let mut sums = vec![0.0; bins + 1];
        for (i, image) in images.iter().enumerate() {
            let own = sizes.get(&patient(groups, i)).copied().unwrap_or(1) as f64;
            let reaching = image.reaching();
            let pixels = reaching[bins];
            for (sum, marked) in sums.iter_mut().zip(&reaching) {
                *sum += loss(*marked, pixels).unwrap_or(0.0) / own;
            }
        }
        Ok(Self {
            groups,
            patients: sizes.len(),
            sums,
        })
    }

    /// The threshold so many edges below 1.
    pub(super) fn threshold(&self, down: usize) -> f64 {
        let bins = self.sums.len() - 1;
        edge(bins - down, bins)
    }

    pub(super) fn mean(&self, down: usize) -> f64 {
        self.sums[down] / self.patients as f64
    }

    /// Number of patients with an image that has a property.
    pub(super) fn patients_with(
        &self,
        images: &[PixelHistogram],
        has: impl Fn(&PixelHistogram) -> bool,
    ) -> usize {
        let having = images.iter().enumerate().filter(|(_, image)| has(image));
        let patients = having.map(|(i, _)| patient(self.groups, i));
        patients.collect::<BTreeSet<_>>().len()
    }
}

fn patient(groups: Option<&[usize]>, image: usize) -> usize {
    groups.map_or(image, |groups| groups[image])
}

/// The number of bins, if there are images and all have the same.
pub(super) fn check_images(images: &[PixelHistogram], groups: Option<&[usize]>) -> Result<usize> {
    check::not_empty("images", images.len())?;
    if let Some(groups) = groups {
        check::same_length("groups", groups.len(), "images", images.len())?;
    }
    let bins = images.first().map_or(0, PixelHistogram::bins);
    for image in images {
        check::same_length("bins of an image", image.bins(), "the first image", bins)?;
    }
    Ok(bins)
}

/// The mean over patients of their mean losses, over the images that have one; `None` if none has.
pub(super) fn mean_over_patients(
    losses: &[Option<f64>],
    groups: Option<&[usize]>,
    level: f64,
) -> Option<Interval> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for (i, loss) in losses.iter().enumerate() {
        if let Some(loss) = loss {
            let (sum, n) = sums.entry(patient(groups, i)).or_default();
            *sum += loss;
            *n += 1.0;
        }
    }
    let values: Vec<f64> = sums.into_values().map(|(sum, n)| sum / n).collect();
    (!values.is_empty()).then(|| mean_of_shares(&values, level))
}

/// The mean of at least one value in 0..=1.
fn mean_of_shares(values: &[f64], level: f64) -> Interval {
    let n = values.len() as f64;
    let mean = (values.iter().sum::<f64>() / n).min(1.0);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let effective = if squares > 0.0 {
        let few = normal_quantile((1.0 + level) / 2.0) / t_quantile(level, values.len() - 1);
        few * few * n * mean * (1.0 - mean) * (n - 1.0) / squares
    } else {
        n
    };
    wilson_at(mean, values.len(), effective, level)
}
