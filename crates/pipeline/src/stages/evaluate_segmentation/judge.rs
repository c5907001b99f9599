//! Evaluates one image, and all images together.

use anyhow::Result;
use inference::Segmented;
use metrics::{
    Bootstrap, LabelMaps, SegmentationComparison, SegmentationEvaluation, SegmentationSettings,
    SegmentedImage, compare_segmentations, evaluate_segmentation,
};

use crate::context::Data;
use crate::scored::patient_ids;
use settings::Settings;

/// What the evaluations of all images share.
pub(super) struct MaskEvaluator<'a> {
    pub(super) data: &'a Data,
    settings: &'a Settings,
    /// Classes of a pixel.
    pub(super) classes: Vec<String>,
    /// The class of the images that binary masks mark, where the map has the images' classes.
    marked: Option<usize>,
}

/// The true class of an unknown pixel, which is not counted.
const UNKNOWN: usize = dataset::Manifest::UNKNOWN_PIXEL as usize;

impl<'a> MaskEvaluator<'a> {
    /// Evaluates in the masks' classes, which the map has too unless the masks mark one class of the images.
    pub(super) fn new(settings: &'a Settings, data: &'a Data) -> Self {
        let images = data.manifest.classes().len();
        let map = &settings.train.map;
        let of_images = settings.spec(images).map_classes.is_none();
        MaskEvaluator {
            data,
            settings,
            classes: data.manifest.pixel_classes().unwrap_or_default(),
            marked: of_images.then(|| map.class.unwrap_or(images.saturating_sub(1))),
        }
    }

    /// The map's prediction in the masks' classes: where the masks mark one class of the images, 1 for that class and 0
    /// for any other.
    pub(super) fn predicted(&self, found: &Segmented) -> Vec<u8> {
        let labels = found.labels();
        match self.marked {
            None => labels,
            Some(class) => labels
                .into_iter()
                .map(|label| u8::from(usize::from(label) == class))
                .collect(),
        }
    }

    /// The probability that a pixel is not background or, where the masks mark one class of the images, is of this one.
    pub(super) fn probability(&self, pixel: &[f32]) -> f64 {
        let of = |class: usize| f64::from(pixel.get(class).copied().unwrap_or(0.0));
        match self.marked {
            Some(class) => of(class),
            None => 1.0 - of(0),
        }
    }

    /// Whether a true class is not background; `None` where it is unknown.
    pub(super) fn inside(&self, truth: u8) -> Option<bool> {
        (usize::from(truth) != UNKNOWN).then_some(truth > 0)
    }

    /// The value that each class has in a mask file.
    pub(super) fn values(&self) -> Vec<u16> {
        let coding = self.data.manifest.mask_coding();
        let stored = |class: u8| coding.map_or(class.into(), |coding| coding.stored(class));
        (0..).take(self.classes.len()).map(stored).collect()
    }

    /// The true classes of an image's pixels; `None` where it has no mask, or one without a known pixel.
    pub(super) fn truth(&self, row: usize) -> Result<Option<Vec<u8>>> {
        let record = &self.data.manifest.rows()[row];
        let truth = self.data.manifest.true_pixels(record)?;
        let known = |mask: &Vec<u8>| mask.iter().any(|class| usize::from(*class) != UNKNOWN);
        Ok(truth.filter(known))
    }

    /// An image's scores; also with all classes except the background merged, where there are several.
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
                spacing: record.spacing.map(|s| [s.rows_mm, s.columns_mm]),
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

    /// All images together; intervals resample whole patients.
    pub(super) fn over(
        &self,
        rows: &[usize],
        images: &[SegmentedImage],
    ) -> Result<SegmentationEvaluation> {
        self.evaluated(&self.classes, rows, images)
    }

    /// As [`MaskEvaluator::over`], for images with all classes except the background merged.
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
        let patients = patient_ids(&self.data.manifest, rows);
        Ok(evaluate_segmentation(
            classes,
            images,
            Some(&patients),
            &self.statistics(),
        )?)
    }

    /// The difference between two segmentations of the same images, first minus second.
    pub(super) fn difference(
        &self,
        rows: &[usize],
        images: [&[SegmentedImage]; 2],
    ) -> Result<SegmentationComparison> {
        let patients = patient_ids(&self.data.manifest, rows);
        Ok(compare_segmentations(
            images,
            Some(&patients),
            &self.statistics(),
        )?)
    }

    fn statistics(&self) -> SegmentationSettings {
        SegmentationSettings {
            background: Some(0),
            bootstrap: Bootstrap {
                resamples: self.settings.evaluate.bootstrap,
                seed: self.settings.seed,
                level: self.settings.evaluate.confidence,
            },
        }
    }
}

/// Merges all classes except the background; unknown pixels stay unknown.
fn marked(labels: &[u8]) -> Vec<u8> {
    let merged = labels.iter().map(|class| match usize::from(*class) {
        UNKNOWN => *class,
        _ => u8::from(*class > 0),
    });
    merged.collect()
}

/// Mean Dice of an image over the classes, except the background, that it has in truth or prediction; `None` where it
/// has none.
pub(super) fn dice(image: &SegmentedImage) -> Option<f64> {
    let classes: Vec<usize> = (1..image.classes.len()).collect();
    image.mean_over(&classes, |scores| scores.dice)
}

#[cfg(test)]
mod tests {
    #[test]
    fn marked_is_all_but_background_and_unknown() {
        assert_eq!(super::marked(&[0, 1, 3, 255]), [0, 1, 1, 255]);
    }
}
