//! Guarantees for the pixels of a probability map: which pixels are certain, and from which probability on a mask is found.
//!
//! A threshold chosen by eye on some maps promises nothing. Here it is calibrated on patients that the network was not
//! trained on, and the promise holds for patients to come that are exchangeable with them, whatever the network and the
//! distribution of the images.
//!
//! - [`PixelPrecision`]: the lowest threshold at which the marked pixels are within the mask, with high probability over the
//!   choice of the calibration patients, by Learn then Test (Angelopoulos, Bates, Candès, Jordan & Lei 2021). The share of
//!   marked pixels outside is not monotone in the threshold, so that thresholds are tested from 1 downward, each at the
//!   full level, until the first that cannot be shown to keep the limit (fixed-sequence testing, Bauer 1991).
//! - [`PixelSensitivity`]: the highest threshold at which little of the mask is missed, on average over calibrations and
//!   patients, by conformal risk control (Angelopoulos, Bates, Fisch, Lei & Schuster 2022, arXiv 2208.02814).
//!
//! Both limits are means **over patients**: the loss of a patient is the mean over its images, because images of one
//! patient are not exchangeable with those of others. The limits hold on average, not for each patient.
//!
//! **Images without a mask.** Each marked pixel is outside: the loss of precision is 1 if there are any, and 0 if there
//! are none. Nothing can be missed: the loss of sensitivity is 0. Many healthy patients therefore make the promised
//! sensitivity easier to keep: to promise it for those with a mask, calibrate on the images that have one
//! ([`PixelHistogram::pixels`]). An image without marked pixels has no loss of precision.

mod histogram;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::interval::{Interval, wilson_at};
use crate::normal::normal_quantile;
use crate::risk_bound::hoeffding_bentkus;
use crate::student::t_quantile;

pub use histogram::PixelHistogram;
use histogram::edge;

/// From which probability on pixels are certain to be within the mask.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelPrecision {
    /// A pixel is marked if its probability is at least this.
    pub least_probability: f64,
    /// The share of an image's marked pixels that may be outside the mask, on average over patients.
    pub allowed: f64,
    /// The probability, over the calibration patients, that the limit holds.
    pub level: f64,
    /// The mean share in the calibration.
    pub outside: f64,
    /// p-value of the hypothesis that the limit does not hold; at most 1 − level.
    pub p: f64,
    /// Patients in the calibration.
    pub patients: usize,
    /// Those of them with a marked pixel.
    pub patients_with_marks: usize,
}

/// From which probability on pixels are marked so that little of the mask is missed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelSensitivity {
    /// A pixel is marked if its probability is at least this.
    pub least_probability: f64,
    /// The share of an image's mask that may be missed, on average over patients.
    pub allowed: f64,
    /// The mean share in the calibration.
    pub missed: f64,
    /// Patients in the calibration.
    pub patients: usize,
    /// Those of them with a mask that is not empty.
    pub patients_with_mask: usize,
}

/// How marked pixels agree with the masks of images that the threshold was not calibrated on. A promise is contradicted
/// if the lower end of its interval is above the limit.
///
/// Each interval is of a mean over patients, whose number is its `n`: Wilson's, for the number of patients that would give a
/// share of the same variance, corrected for few patients (Korn & Graubard 1998). If all have the same loss, each counts
/// as one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MarkedPixels {
    /// A pixel is marked if its probability is at least this.
    pub least_probability: f64,
    /// Number of images.
    pub images: usize,
    /// Share of an image's marked pixels that are outside the mask, 0 without marked pixels: what
    /// [`PixelPrecision::allowed`] limits.
    pub outside: Interval,
    /// The same over the images with marked pixels; `None` without any.
    pub outside_if_marked: Option<Interval>,
    /// Share of an image's mask that is not marked, 0 for an empty mask: what [`PixelSensitivity::allowed`] limits.
    pub missed: Interval,
    /// The same over the images whose mask is not empty; `None` without any.
    pub missed_if_mask: Option<Interval>,
}

impl PixelPrecision {
    /// Finds the lowest threshold, among the edges of the bins, at which with probability `level` at most the share
    /// `allowed` of the marked pixels is outside the mask for a patient to come. `None` if it cannot be shown for any
    /// threshold at which a pixel is marked, as with too few patients: without a single error (1 − allowed)^patients must
    /// not exceed 1 − level.
    ///
    /// `groups` has the patient of each image (each image is its own without). p-values are those of Hoeffding and
    /// Bentkus together.
    ///
    /// # Errors
    /// No images, different numbers of bins, a number of groups that is not that of the images, or a share or level
    /// outside 0..1.
    pub fn calibrate(
        images: &[PixelHistogram],
        groups: Option<&[usize]>,
        (allowed, level): (f64, f64),
    ) -> Result<Option<Self>> {
        check::level(allowed)?;
        check::level(level)?;
        let losses = Losses::new(images, groups, outside)?;
        let p = |sum: f64| hoeffding_bentkus(sum, losses.patients, allowed);
        let kept = losses.sums.iter().map(|sum| p(*sum));
        let kept = kept.take_while(|p| *p <= 1.0 - level + 1e-12).count();
        let Some(down) = kept.checked_sub(1) else {
            return Ok(None);
        };
        let marked = |image: &PixelHistogram| image.from_edges()[down] != [0, 0];
        let patients_with_marks = losses.patients_with(images, marked);
        Ok((patients_with_marks > 0).then(|| Self {
            least_probability: losses.threshold(down),
            allowed,
            level,
            outside: losses.mean(down),
            p: p(losses.sums[down]),
            patients: losses.patients,
            patients_with_marks,
        }))
    }

    /// Measures the marked pixels of other images.
    ///
    /// # Errors
    /// As [`PixelPrecision::calibrate`]; also if the threshold is not an edge of the images' bins.
    pub fn evaluate(
        &self,
        images: &[PixelHistogram],
        groups: Option<&[usize]>,
        level: f64,
    ) -> Result<MarkedPixels> {
        MarkedPixels::at(self.least_probability, images, groups, level)
    }
}

impl PixelSensitivity {
    /// Finds the highest threshold, among the edges of the bins, at which at most the share `allowed` of the mask is
    /// expected to be missed for a patient to come: `n / (n + 1) · mean + 1 / (n + 1) ≤ allowed` over n patients. `None`
    /// with fewer than `1 / allowed − 1` patients, of which nothing can be promised.
    ///
    /// `groups` has the patient of each image (each image is its own without).
    ///
    /// # Errors
    /// As [`PixelPrecision::calibrate`].
    pub fn calibrate(
        images: &[PixelHistogram],
        groups: Option<&[usize]>,
        allowed: f64,
    ) -> Result<Option<Self>> {
        check::level(allowed)?;
        let losses = Losses::new(images, groups, missed)?;
        // Sums of thirds and the like must not miss the limit by rounding.
        let limit = allowed * (losses.patients + 1) as f64 - 1.0 + 1e-9;
        let found = losses.sums.iter().position(|sum| *sum <= limit);
        Ok(found.map(|down| Self {
            least_probability: losses.threshold(down),
            allowed,
            missed: losses.mean(down),
            patients: losses.patients,
            patients_with_mask: losses.patients_with(images, |image| image.pixels()[1] > 0),
        }))
    }

    /// Measures the marked pixels of other images.
    ///
    /// # Errors
    /// As [`PixelPrecision::evaluate`].
    pub fn evaluate(
        &self,
        images: &[PixelHistogram],
        groups: Option<&[usize]>,
        level: f64,
    ) -> Result<MarkedPixels> {
        MarkedPixels::at(self.least_probability, images, groups, level)
    }
}

impl MarkedPixels {
    /// Measures the pixels that are marked from a probability on, with intervals of this confidence level.
    ///
    /// # Errors
    /// As [`PixelPrecision::evaluate`].
    pub fn at(
        least_probability: f64,
        images: &[PixelHistogram],
        groups: Option<&[usize]>,
        level: f64,
    ) -> Result<Self> {
        check::level(level)?;
        let bins = check_images(images, groups)?;
        let bin = (least_probability * bins as f64).round() as usize;
        if bin > bins || edge(bin, bins) != least_probability {
            let expected =
                "an edge of the bins, as from a calibration with the same number of bins";
            return Err(check::setting(
                "least_probability",
                least_probability,
                expected,
            ));
        }
        let counts = images.iter().map(|image| {
            let from_edges = image.from_edges();
            (from_edges[bins - bin], from_edges[bins])
        });
        let counts: Vec<([u64; 2], [u64; 2])> = counts.collect();
        let mean = |loss: Loss, all: bool| {
            let losses = counts.iter().map(|(marked, pixels)| loss(*marked, *pixels));
            let losses = losses.map(|loss| loss.or(all.then_some(0.0)));
            mean_over_patients(&losses.collect::<Vec<_>>(), groups, level)
        };
        let defined = |interval: Option<Interval>| {
            interval.ok_or(crate::MetricsError::Empty { what: "images" })
        };
        Ok(Self {
            least_probability,
            images: images.len(),
            outside: defined(mean(outside, true))?,
            outside_if_marked: mean(outside, false),
            missed: defined(mean(missed, true))?,
            missed_if_mask: mean(missed, false),
        })
    }
}

/// The loss of an image with these numbers of marked pixels and of all pixels, each outside and inside the mask; `None` if
/// it is the share of nothing.
type Loss = fn([u64; 2], [u64; 2]) -> Option<f64>;

/// Share of the marked pixels that are outside.
fn outside(marked: [u64; 2], _: [u64; 2]) -> Option<f64> {
    share(marked[0], marked[0] + marked[1])
}

/// Share of the mask that is not marked.
fn missed(marked: [u64; 2], pixels: [u64; 2]) -> Option<f64> {
    share(pixels[1] - marked[1], pixels[1])
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The losses at each threshold, from 1 down to 0.
struct Losses<'a> {
    groups: Option<&'a [usize]>,
    patients: usize,
    /// The sum over patients of their mean losses.
    sums: Vec<f64>,
}

impl<'a> Losses<'a> {
    fn new(images: &[PixelHistogram], groups: Option<&'a [usize]>, loss: Loss) -> Result<Self> {
        let bins = check_images(images, groups)?;
        let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
        (0..images.len()).for_each(|i| *sizes.entry(patient(groups, i)).or_default() += 1);
        let mut sums = vec![0.0; bins + 1];
        for (i, image) in images.iter().enumerate() {
            let own = sizes.get(&patient(groups, i)).copied().unwrap_or(1) as f64;
            let from_edges = image.from_edges();
            let pixels = from_edges[bins];
            for (sum, marked) in sums.iter_mut().zip(&from_edges) {
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
    fn threshold(&self, down: usize) -> f64 {
        let bins = self.sums.len() - 1;
        edge(bins - down, bins)
    }

    fn mean(&self, down: usize) -> f64 {
        self.sums[down] / self.patients as f64
    }

    /// Number of patients with an image that has a property.
    fn patients_with(
        &self,
        images: &[PixelHistogram],
        has: impl Fn(&PixelHistogram) -> bool,
    ) -> usize {
        let having = images.iter().enumerate().filter(|(_, image)| has(image));
        let patients = having.map(|(i, _)| patient(self.groups, i));
        patients.collect::<std::collections::BTreeSet<_>>().len()
    }
}

fn patient(groups: Option<&[usize]>, image: usize) -> usize {
    groups.map_or(image, |groups| groups[image])
}

/// The number of bins, if there are images and all have the same.
fn check_images(images: &[PixelHistogram], groups: Option<&[usize]>) -> Result<usize> {
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
fn mean_over_patients(
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
