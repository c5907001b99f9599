//! Results as DICOM files, which an archive files with the image that they are of.

use std::path::Path;

use anyhow::{Result, anyhow};
use dicom::write::{
    Capture, Classification, MeasuredSegment, Network, Report, SegmentPixels, Segmentation, Source,
    WrittenSegmentation, report, secondary_capture, segmentation,
};
use dicom::{ReadOptions, is_dicom};
use image::RgbImage;
use imaging::Decoder;
use inference::{Bundle, Segmented};

use super::record::Prediction;

/// How a DICOM segmentation states where a class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// A bit per pixel and class: the most probable class, as in the mask.
    Binary,
    /// The probability of each class, in 255ths.
    Fractional,
}

/// The DICOM results of one image.
pub(super) struct Results<'a> {
    source: Source,
    segments: Segments,
    weights_sha256: &'a str,
}

impl<'a> Results<'a> {
    /// Of an image, from its bytes.
    ///
    /// # Errors
    /// It is not a DICOM image, or has no identifiers to refer to. No message contains anything about the patient.
    pub(super) fn of(
        (image, bytes): (&Path, &[u8]),
        decoder: Decoder,
        (segments, weights_sha256): (Segments, &'a str),
    ) -> Result<Self> {
        let options = ReadOptions {
            frame: decoder.frame,
            max_pixels: decoder.max_pixels,
            ..ReadOptions::default()
        };
        let hint = match is_dicom(bytes) {
            true => "",
            false => "; --dicom-out writes results of DICOM images only",
        };
        let source = Source::of(bytes, &options);
        let source = source.map_err(|reason| anyhow!("{}: {reason}{hint}", image.display()))?;
        Ok(Self {
            source,
            segments,
            weights_sha256,
        })
    }

    fn network(&self) -> Network<'_> {
        Network {
            program: "eff-unet",
            version: crate::VERSION,
            weights_sha256: self.weights_sha256,
        }
    }

    /// All results; the overlay if one was drawn.
    pub(super) fn objects(
        &self,
        bundle: &Bundle,
        (prediction, segmented): (&Prediction, Option<&Segmented>),
        overlay: Option<&RgbImage>,
    ) -> Result<DicomObjects> {
        let segmentation = segmented.map(|found| self.segmentation(bundle, found));
        let segmentation = segmentation.transpose()?;
        let overlay = overlay.map(|picture| self.overlay(bundle, picture));
        Ok(DicomObjects {
            report: self.report(prediction, segmentation.as_ref())?,
            segmentation: segmentation.map(|written| written.file),
            overlay: overlay.transpose()?,
        })
    }

    fn report(
        &self,
        prediction: &Prediction,
        segmentation: Option<&WrittenSegmentation>,
    ) -> Result<Vec<u8>> {
        let probabilities: Vec<(&str, f64)> = prediction
            .probabilities
            .iter()
            .map(|p| (p.class.as_str(), p.probability))
            .collect();
        let classification = prediction.class.as_deref().map(|class| Classification {
            class,
            probabilities: &probabilities,
            threshold: prediction.positive.as_deref().zip(prediction.threshold),
        });
        let shares = prediction
            .segmentation
            .iter()
            .flat_map(|found| &found.shares);
        // Segments are numbered as classes are; the background is none.
        let segments: Vec<MeasuredSegment<'_>> = (0..)
            .zip(shares)
            .skip(1)
            .map(|(number, share)| MeasuredSegment {
                class: &share.class,
                number,
                share: share.share,
                area_mm2: share.area_mm2,
            })
            .collect();
        let content = Report {
            classification,
            segments: &segments,
        };
        let file = report(&self.source, self.network(), &content, segmentation);
        file.map_err(|reason| anyhow!("the report as DICOM: {reason}"))
    }

    fn segmentation(&self, bundle: &Bundle, found: &Segmented) -> Result<WrittenSegmentation> {
        let labels;
        let pixels = match self.segments {
            Segments::Fractional => SegmentPixels::Fractional(&found.probabilities),
            Segments::Binary => {
                labels = found.labels();
                SegmentPixels::Binary(&labels)
            }
        };
        let result = Segmentation {
            classes: bundle.map_classes(),
            pixels,
        };
        let file = segmentation(&self.source, self.network(), &result);
        file.map_err(|reason| anyhow!("the segmentation as DICOM: {reason}"))
    }

    fn overlay(&self, bundle: &Bundle, picture: &RgbImage) -> Result<Vec<u8>> {
        let shown = bundle.map_classes().get(bundle.shown());
        let description = format!(
            "Green: pixels of class {} with a probability of at least {} %",
            shown.map_or("", String::as_str),
            100.0 * bundle.meta().inference.certainty
        );
        let capture = Capture {
            rgb: picture.as_raw(),
            description: &description,
        };
        let file = secondary_capture(&self.source, self.network(), &capture);
        file.map_err(|reason| anyhow!("the overlay as DICOM: {reason}"))
    }
}

/// DICOM files about an image, in memory.
pub struct DicomObjects {
    /// The segmentation, where the network was trained on masks.
    pub segmentation: Option<Vec<u8>>,
    /// The overlay as a secondary capture, where one was drawn.
    pub overlay: Option<Vec<u8>>,
    /// What the network says in numbers, as a structured report.
    pub report: Vec<u8>,
}
