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
mod losses;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::interval::Interval;
use crate::risk_bound::hoeffding_bentkus;

pub use histogram::PixelHistogram;
use histogram::edge;
use losses::{Loss, Losses, check_images, mean_over_patients, missed, outside};

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
        let marked = |image: &PixelHistogram| image.reaching()[down] != [0, 0];
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
            let reaching = image.reaching();
            (reaching[bins - bin], reaching[bins])
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
