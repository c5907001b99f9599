//! What is drawn of a prediction: overlay and mask, in memory and as files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dataset::{OVERLAY, OVERLAY_DICOM, PREDICTED_MASK, REPORT_DICOM, SEGMENTATION_DICOM};
use image::RgbImage;
use imaging::{Fit, Frame, ImageFile, encode};
use report::{Plane, overlay};

use super::dicom::{DicomObjects, Results, Segments};
use super::record::{DicomFiles, Prediction};
use super::{Found, Outputs, Predictor};
use crate::names::with_ending;
use crate::pictures::plane;

impl Predictor {
    /// The overlay of an image at its own size; `None` if the network has no map of classes.
    ///
    /// # Errors
    /// The image cannot be fitted into a frame of its own size.
    pub fn overlay(&self, image: &ImageFile, found: &Found) -> Result<Option<RgbImage>> {
        let Some(map) = &found.map else {
            return Ok(None);
        };
        let (height, width) = image.size();
        let map = Plane::new(width as u32, height as u32, map.clone())?;
        let original = plane(&image.framed(Frame {
            height,
            width,
            channels: 1,
            fit: Fit::Stretch,
        })?)?;
        let certainty = self.networks.first().meta().inference.certainty;
        Ok(Some(overlay(&original, &map, certainty)?))
    }

    /// The mask of an image at its own size as a PNG file, in the values of the masks that the network was trained on;
    /// `None` if it was trained on none.
    ///
    /// # Errors
    /// The mask cannot be encoded.
    pub fn mask(&self, found: &Found) -> Result<Option<Vec<u8>>> {
        let Some(segmented) = &found.segmented else {
            return Ok(None);
        };
        let size = (segmented.height, segmented.width);
        let values = self.networks.first().map_values();
        Ok(Some(encode::mask(size, &segmented.labels(), &values)?))
    }

    /// The results of a DICOM image, whose file has these bytes, as DICOM objects.
    ///
    /// # Errors
    /// It is not a DICOM image, or has no identifiers to refer to. No message contains anything about the patient.
    pub fn dicom(
        &self,
        file: (&Path, &[u8]),
        segments: Segments,
        found: &Found,
        overlay: Option<&RgbImage>,
    ) -> Result<DicomObjects> {
        let bundle = self.networks.first();
        let results = Results::of(file, bundle.decoder(), (segments, &self.sha256))?;
        let found = (&found.prediction, found.segmented.as_ref());
        results.objects(bundle, found, overlay)
    }

    /// Writes the results of an image; the prediction then has their paths.
    pub(super) fn written(
        &self,
        image: &ImageFile,
        found: Found,
        (files, dicom): Outputs<'_>,
    ) -> Result<Prediction> {
        let picture = match self.pictures {
            true => self.overlay(image, &found)?,
            false => None,
        };
        let mut prediction = found.prediction.clone();
        if self.pictures {
            prediction.overlay = save_overlay(picture.as_ref(), &files)?;
            let mask = self.save_mask(&found, &files)?;
            let segmentation = prediction.segmentation.as_mut();
            segmentation.into_iter().for_each(|s| s.mask = mask.clone());
        }
        let dicom = dicom.map(|results| {
            let parts = (&found.prediction, found.segmented.as_ref());
            let objects = results.objects(self.networks.first(), parts, picture.as_ref())?;
            save_dicom(&objects, &files)
        });
        prediction.dicom = dicom.transpose()?;
        Ok(prediction)
    }

    fn save_mask(&self, found: &Found, files: &Path) -> Result<Option<PathBuf>> {
        let Some(mask) = self.mask(found)? else {
            return Ok(None);
        };
        save(&mask, files, PREDICTED_MASK).map(Some)
    }
}

fn save_dicom(objects: &DicomObjects, files: &Path) -> Result<DicomFiles> {
    let some = |file: &Option<Vec<u8>>, ending| {
        let saved = file.as_ref().map(|file| save(file, files, ending));
        saved.transpose()
    };
    Ok(DicomFiles {
        segmentation: some(&objects.segmentation, SEGMENTATION_DICOM)?,
        overlay: some(&objects.overlay, OVERLAY_DICOM)?,
        report: Some(save(&objects.report, files, REPORT_DICOM)?),
    })
}

fn save_overlay(picture: Option<&RgbImage>, files: &Path) -> Result<Option<PathBuf>> {
    let Some(picture) = picture else {
        return Ok(None);
    };
    save(&encode::picture(picture)?, files, OVERLAY).map(Some)
}

/// Writes a file, whole or not at all; returns its path.
fn save(bytes: &[u8], files: &Path, ending: &str) -> Result<PathBuf> {
    let path = with_ending(files, ending);
    if let Some(folder) = path.parent() {
        files::create_folder(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    crate::run_dir::write(&path, bytes)?;
    Ok(path)
}
