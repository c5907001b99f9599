//! From which probability on a pixel is certain: thresholds with a promise, calibrated on validation masks and measured
//! on test.

use anyhow::Result;
use dataset::Split;
use inference::{Segmented, Segmenter};
use metrics::{MarkedPixels, PixelHistogram, PixelPrecision, PixelSensitivity};
use report::{Align, Document, Table, format};
use serde::{Deserialize, Serialize};

use super::judge::MaskEvaluator;
use crate::context::{Context, Data};
use crate::scored::patient_ids;
use crate::words::{or_dash, percent};

/// Bins of the probabilities: tenths of a percent.
const BINS: usize = 1000;

/// The share of the pixels that may be wrong, or missed, on average over patients.
const ALLOWED: f64 = 0.1;

/// Certainty of the promise on wrong pixels, over the validation patients.
const LEVEL: f64 = 0.9;

/// Thresholds on the map with a promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guarantees {
    /// From this probability on few marked pixels are outside the mask; `None` if no threshold is known to do that.
    pub precision: Option<PixelPrecision>,
    /// From this probability on little of the mask is missed; `None` with too few patients.
    pub sensitivity: Option<PixelSensitivity>,
    /// What was kept on test of the first, of the second, and at the certainty of the overlays.
    pub test: [Option<MarkedPixels>; 3],
}

/// Images with the probabilities of their pixels.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) rows: Vec<usize>,
    pub(super) images: Vec<PixelHistogram>,
}

impl Counted {
    /// Adds an image: the probability that each known pixel is not background, or is of the class that masks mark.
    pub(super) fn add(
        &mut self,
        judge: &MaskEvaluator<'_>,
        row: usize,
        (found, truth): (&Segmented, &[u8]),
    ) -> Result<()> {
        let mut histogram = PixelHistogram::new(BINS)?;
        let pixels = found.probabilities.chunks_exact(found.classes);
        for (pixel, truth) in pixels.zip(truth) {
            if let Some(inside) = judge.inside(*truth) {
                let probability = judge.probability(pixel);
                histogram.add(probability.clamp(0.0, 1.0), inside)?;
            }
        }
        self.rows.push(row);
        self.images.push(histogram);
        Ok(())
    }
}

/// Counts the validation images that have a mask.
pub(super) fn on_validation(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskEvaluator<'_>,
    segmenter: &Segmenter<'_>,
) -> Result<Counted> {
    let rows = data.splits.rows(Split::Val);
    let job = context
        .progress
        .job("segmentation, validation", "images", rows.len() as u64);
    let mut counted = Counted::default();
    for &row in rows {
        context.interrupt.check()?;
        if let Some(truth) = judge.truth(row)? {
            let record = &data.manifest.rows()[row];
            let found = segmenter.segment(&data.manifest.read(record)?)?;
            counted.add(judge, row, (&found, &truth))?;
        }
        job.advance(1);
    }
    Ok(counted)
}

/// Calibrates on validation and measures on test; `None` without validation masks.
pub(super) fn of(
    context: &Context<'_>,
    data: &Data,
    [val, test]: [&Counted; 2],
) -> Result<Option<Guarantees>> {
    if val.images.is_empty() {
        return Ok(None);
    }
    let [seen, new] = [val, test].map(|counted| patient_ids(&data.manifest, &counted.rows));
    let settings = context.settings;
    let level = settings.evaluate.confidence;
    let limits = (ALLOWED, LEVEL);
    let precision = PixelPrecision::calibrate(&val.images, Some(&seen), limits)?;
    let sensitivity = PixelSensitivity::calibrate(&val.images, Some(&seen), ALLOWED)?;
    let at = |threshold| MarkedPixels::at(threshold, &test.images, Some(&new), level);
    // The nearest edge of the bins.
    let certainty = f64::from(settings.overlays.certainty);
    let certainty = (certainty * BINS as f64).round() / BINS as f64;
    Ok(Some(Guarantees {
        test: [
            precision.map(|own| at(own.least_probability)).transpose()?,
            sensitivity
                .map(|own| at(own.least_probability))
                .transpose()?,
            Some(at(certainty)?),
        ],
        precision,
        sensitivity,
    }))
}

/// Writes the part of the report.
pub(super) fn write(section: &mut Document, guarantees: &Guarantees) -> Result<()> {
    section.heading(3, "Certain pixels");
    let precision = match guarantees.precision {
        Some(own) => format!(
            "From a probability of {} on a pixel is *certain*: with {} certainty at most {} of an image's marked pixels are \
             outside the mask, averaged over patients like the {} of validation (Learn then Test, Angelopoulos 2021).",
            format::percent(own.least_probability, 1),
            format::percent(own.level, 0),
            format::percent(own.allowed, 0),
            own.patients
        ),
        None => format!(
            "No probability is known from which at most {} of the marked pixels are outside the mask: too few validation \
             patients, or too many errors.",
            format::percent(ALLOWED, 0)
        ),
    };
    let sensitivity = match guarantees.sensitivity {
        Some(own) => format!(
            " From {} on a pixel is *possible*: at most {} of a mask is missed, averaged over patients and calibrations \
             (conformal risk control, Angelopoulos 2022).",
            format::percent(own.least_probability, 1),
            format::percent(own.allowed, 0)
        ),
        None => String::new(),
    };
    section.paragraph(&format!("{precision}{sensitivity} On the test images:"));
    let mut table = Table::new([
        ("pixels marked", Align::Left),
        ("from", Align::Right),
        ("of the marked pixels outside", Align::Right),
        ("the same where any is marked", Align::Right),
        ("of the mask missed", Align::Right),
        ("the same where there is a mask", Align::Right),
    ]);
    let names = ["certain", "possible", "green in overlays"];
    for (name, found) in names.iter().zip(&guarantees.test) {
        if let Some(found) = found {
            table.row([
                (*name).to_owned(),
                format::percent(found.least_probability, 1),
                percent(&found.outside),
                or_dash(found.outside_if_marked.as_ref(), percent),
                percent(&found.missed),
                or_dash(found.missed_if_mask.as_ref(), percent),
            ])?;
        }
    }
    section.table(&table);
    section.paragraph(&verdict(guarantees));
    Ok(())
}

fn verdict(guarantees: &Guarantees) -> String {
    let [certain, possible, _] = &guarantees.test;
    let over = |kept: Option<metrics::Interval>| kept.is_some_and(|kept| kept.low > ALLOWED);
    let broken = [
        (over(certain.map(|own| own.outside)), "certain"),
        (over(possible.map(|own| own.missed)), "possible"),
    ];
    let broken: Vec<&str> = broken
        .iter()
        .filter(|(broken, _)| *broken)
        .map(|(_, name)| *name)
        .collect();
    match broken.as_slice() {
        [] => "The test images do not contradict these promises.".into(),
        names => format!(
            "**The promise is broken for {} pixels**: the test images are not like the validation images.",
            names.join(" and ")
        ),
    }
}
