//! One image, and all of them.

use anyhow::Result;
use metrics::{
    Bootstrap, LabelMaps, SegmentationEvaluation, SegmentationSettings, SegmentedImage,
    evaluate_segmentation,
};

use super::super::evaluate::patient_ids;
use crate::config::Settings;
use crate::context::Data;

/// What all judging has in common.
pub(super) struct Judge<'a> {
    pub(super) data: &'a Data,
    settings: &'a Settings,
    /// What a pixel can be.
    pub(super) classes: Vec<String>,
}

/// The true class of a pixel that does not count.
const UNKNOWN: usize = dataset::Manifest::UNKNOWN_PIXEL as usize;

impl<'a> Judge<'a> {
    /// # Errors
    /// Masks of other classes than the network's.
    pub(super) fn new(
        settings: &'a Settings,
        data: &'a Data,
        classes: Vec<String>,
    ) -> Result<Self> {
        // A binary mask of one class of the images, as `train.map.class` says, has that class alone.
        let of_masks = data.manifest.pixel_classes().unwrap_or_default();
        Ok(Judge {
            data,
            settings,
            classes: if of_masks.is_empty() {
                classes
            } else {
                of_masks
            },
        })
    }

    /// The true classes of an image's pixels; none where it has no mask, or one that knows no pixel.
    pub(super) fn truth(&self, row: usize) -> Result<Option<Vec<u8>>> {
        let record = &self.data.manifest.rows()[row];
        let truth = self.data.manifest.true_pixels(record)?;
        let known = |mask: &Vec<u8>| mask.iter().any(|class| usize::from(*class) != UNKNOWN);
        Ok(truth.filter(known))
    }

    /// An image's figures; also with all classes but the background as one, where there are several.
    pub(super) fn image(
        &self,
        row: usize,
        truth: &[u8],
        predicted: &[u8],
    ) -> Result<(SegmentedImage, Option<SegmentedImage>)> {
        let record = &self.data.manifest.rows()[row];
        let judge = |truth: &[u8], predicted: &[u8], classes| {
            SegmentedImage::new(&LabelMaps {
                truth,
                predicted,
                height: record.height as usize,
                width: record.width as usize,
                classes,
                ignore: Some(UNKNOWN),
            })
        };
        let own = judge(truth, predicted, self.classes.len())?;
        let marked = match self.classes.len() {
            0..=2 => None,
            _ => Some(judge(&marked(truth), &marked(predicted), 2)?),
        };
        Ok((own, marked))
    }

    /// All images together; intervals draw whole patients.
    pub(super) fn over(
        &self,
        rows: &[usize],
        images: &[SegmentedImage],
    ) -> Result<SegmentationEvaluation> {
        self.evaluated(&self.classes, rows, images)
    }

    /// As [`Judge::over`] for images of background and anything else.
    pub(super) fn over_marked(
        &self,
        rows: &[usize],
        images: &[SegmentedImage],
    ) -> Result<SegmentationEvaluation> {
        let background = self.classes.first().cloned().unwrap_or_default();
        self.evaluated(&[background, "marked".into()], rows, images)
    }

    fn evaluated(
        &self,
        classes: &[String],
        rows: &[usize],
        images: &[SegmentedImage],
    ) -> Result<SegmentationEvaluation> {
        let settings = SegmentationSettings {
            background: Some(0),
            bootstrap: Bootstrap {
                resamples: self.settings.evaluate.bootstrap,
                seed: self.settings.seed,
                level: self.settings.evaluate.confidence,
            },
        };
        let patients = patient_ids(self.data, rows);
        Ok(evaluate_segmentation(
            classes,
            images,
            Some(&patients),
            &settings,
        )?)
    }
}

/// Background, or anything else.
fn marked(labels: &[u8]) -> Vec<u8> {
    let merged = labels.iter().map(|class| match usize::from(*class) {
        UNKNOWN => *class,
        _ => u8::from(*class > 0),
    });
    merged.collect()
}

/// Dice of an image, mean over its classes but the background.
pub(super) fn dice(image: &SegmentedImage) -> f64 {
    let classes = image.classes.iter().skip(1);
    let sum: f64 = classes.map(|class| class.scores.dice).sum();
    sum / (image.classes.len() - 1).max(1) as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn marked_is_all_but_background_and_unknown() {
        assert_eq!(super::marked(&[0, 1, 3, 255]), [0, 1, 1, 255]);
    }
}
