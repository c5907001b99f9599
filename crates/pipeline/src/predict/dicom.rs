//! Results as DICOM files, which an archive files with the image that they are of.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use dataset::{OVERLAY_DICOM, SEGMENTATION_DICOM};
use dicom::write::{
    Capture, Network, SegmentPixels, Segmentation, Source, secondary_capture, segmentation,
};
use dicom::{ReadOptions, is_dicom};
use image::RgbImage;
use imaging::Decoder;
use inference::{Bundle, Segmented};

use crate::names::with_ending;

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
    /// The path of the image's results, without their endings.
    files: PathBuf,
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
        files: &Path,
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
            files: files.into(),
        })
    }

    fn network(&self) -> Network<'_> {
        Network {
            program: "eff-unet",
            version: crate::VERSION,
            weights_sha256: self.weights_sha256,
        }
    }

    /// Writes the segmentation; returns its path.
    pub(super) fn segmentation(&self, bundle: &Bundle, found: &Segmented) -> Result<PathBuf> {
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
        self.save(SEGMENTATION_DICOM, file)
    }

    /// Writes the overlay; returns its path.
    pub(super) fn overlay(&self, bundle: &Bundle, picture: &RgbImage) -> Result<PathBuf> {
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
        self.save(OVERLAY_DICOM, file)
    }

    fn save(&self, ending: &str, file: Result<Vec<u8>, String>) -> Result<PathBuf> {
        let path = with_ending(&self.files, ending);
        let file = file
            .map_err(|reason| anyhow!(reason))
            .with_context(|| format!("{}", path.display()))?;
        crate::run_dir::write(&path, &file)?;
        Ok(path)
    }
}
