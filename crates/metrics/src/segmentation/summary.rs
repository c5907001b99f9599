//! Evaluation of segmentations over images, with intervals.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::image::{ClassInImage, SegmentedImage, overlap};
use super::overlap::MaskScores;
use super::surface::SurfaceDistance;
use crate::bootstrap::{Bootstrap, Resampling};
use crate::check;
use crate::confusion::ConfusionMatrix;
use crate::error::Result;
use crate::interval::Interval;

/// Settings of a segmentation's evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentationSettings {
    /// The class excluded from means over classes, because nearly all pixels belong to it; `None` for none. Default 0.
    pub background: Option<usize>,
    /// Resamples, seed and level of the intervals.
    pub bootstrap: Bootstrap,
}

impl Default for SegmentationSettings {
    fn default() -> Self {
        Self {
            background: Some(0),
            bootstrap: Bootstrap::default(),
        }
    }
}

/// Mean and standard deviation of a metric over images, or over runs.
///
/// Displays as `0.912 ± 0.034`; `format!("{spread:.2}")` sets the digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (divisor `n − 1`); `None` for a single image.
    pub sd: Option<f64>,
    /// Number of images for which the metric is defined.
    pub n: usize,
}

/// One class over all images. Images that have it neither in truth nor in prediction are excluded from all means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassSegmentation {
    /// Name of the class.
    pub name: String,
    /// Number of images that have it in truth or prediction.
    pub n: usize,
    /// Number of images that have it in neither.
    pub absent: usize,
    /// Number of images whose truth has it but whose prediction does not: Dice and IoU are 0, and the distance is the
    /// image's diagonal.
    pub false_negatives: usize,
    /// Number of images in which only the prediction has it: scored in the same way.
    pub false_positives: usize,
    /// Dice over the `n` images. This and the following optional fields are `None` if there are no images to average.
    pub dice: Option<Spread>,
    /// IoU over the `n` images.
    pub iou: Option<Spread>,
    /// Precision over the images whose prediction has the class.
    pub precision: Option<Spread>,
    /// Recall over the images whose truth has the class.
    pub recall: Option<Spread>,
    /// 95th-percentile Hausdorff distance in pixels, over the `n` images.
    pub hd95: Option<Spread>,
    /// The same in millimetres, over those of the `n` images whose spacing is known; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hd95_mm: Option<Spread>,
    /// Mean Dice with its interval.
    pub mean_dice: Option<Interval>,
    /// Mean IoU with its interval.
    pub mean_iou: Option<Interval>,
    /// Mean HD95 with its interval.
    pub mean_hd95: Option<Interval>,
    /// The same in millimetres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_hd95_mm: Option<Interval>,
    /// Scores over the pixels of all images together, so large masks count more.
    pub pooled: MaskScores,
}

/// The evaluation of a segmentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentationEvaluation {
    /// Number of images.
    pub n: usize,
    /// Number of groups (patients) that the bootstrap draws; `None` if it draws images.
    pub groups: Option<usize>,
    /// All classes, in order.
    pub classes: Vec<ClassSegmentation>,
    /// Number of images without any evaluated class in truth or prediction: they are excluded from all means.
    pub empty: usize,
    /// Mean Dice over the other images, where an image's Dice is the mean over the classes (without the background)
    /// that occur in its truth or prediction. `None` if all images are empty.
    pub mean_dice: Option<Interval>,
    /// Mean IoU, computed in the same way.
    pub mean_iou: Option<Interval>,
    /// Confusion matrix of all pixels: row = true class, column = predicted class.
    pub confusion: ConfusionMatrix,
}

/// Difference between two segmentations of the same images, first minus second. An interval that contains 0 shows no
/// significant difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SegmentationComparison {
    /// Difference of the mean Dice; `None` if all images are empty for one of the two.
    pub dice: Option<Interval>,
    /// Difference of the mean IoU, likewise.
    pub iou: Option<Interval>,
}

/// Evaluates images together. With `groups` (one id per image, such as its patient) the bootstrap draws whole groups.
///
/// # Errors
/// No images, an image whose number of classes is not the number of names, a number of groups that is not that of the
/// images, no class other than the background, or invalid bootstrap settings.
pub fn evaluate_segmentation<S: AsRef<str>>(
    class_names: &[S],
    images: &[SegmentedImage],
    groups: Option<&[usize]>,
    settings: &SegmentationSettings,
) -> Result<SegmentationEvaluation> {
    let over = Over::new(images, class_names.len(), groups, settings)?;
    let judged = settings.judged(class_names.len())?;
    let mean = |score: fn(&MaskScores) -> Option<f64>| {
        over.interval(|image| image.mean_over(&judged, score))
    };
    let confusion = pooled(images)?;
    let names = class_names.iter().enumerate();
    let classes = names.map(|(class, name)| over.class(class, name.as_ref(), &confusion));
    let has_none = |image: &&SegmentedImage| image.mean_over(&judged, |s| s.dice).is_none();
    Ok(SegmentationEvaluation {
        n: images.len(),
        groups: groups.map(distinct),
        classes: classes.collect::<Result<_>>()?,
        empty: images.iter().filter(has_none).count(),
        mean_dice: mean(|scores| scores.dice)?,
        mean_iou: mean(|scores| scores.iou)?,
        confusion,
    })
}

/// Compares two segmentations of the same images by the difference of their means over images, as
/// [`evaluate_segmentation`] defines them. The bootstrap draws the same images (or groups) for both, so the effect of
/// images that are hard for both cancels.
///
/// # Errors
/// As [`evaluate_segmentation`] for each; also if their numbers of images differ.
pub fn compare_segmentations(
    [first, second]: [&[SegmentedImage]; 2],
    groups: Option<&[usize]>,
    settings: &SegmentationSettings,
) -> Result<SegmentationComparison> {
    check::same_length("second", second.len(), "first", first.len())?;
    let classes = first.first().map_or(0, |image| image.classes.len());
    let over = Over::new(first, classes, groups, settings)?;
    Over::new(second, classes, groups, settings)?;
    let judged = settings.judged(classes)?;
    let difference = |score: fn(&MaskScores) -> Option<f64>| {
        let of = |images: &[SegmentedImage]| -> Vec<Option<f64>> {
            let scores = images.iter().map(|image| image.mean_over(&judged, score));
            scores.collect()
        };
        let (a, b) = (of(first), of(second));
        if a.iter().all(Option::is_none) || b.iter().all(Option::is_none) {
            return Ok(None);
        }
        let difference = |sample: &[usize]| Some(mean(&a, sample)? - mean(&b, sample)?);
        over.resampled(groups, first.len(), difference).map(Some)
    };
    Ok(SegmentationComparison {
        dice: difference(|scores| scores.dice)?,
        iou: difference(|scores| scores.iou)?,
    })
}

/// The mean of those of the sampled values that are defined; `None` if there are none.
fn mean(values: &[Option<f64>], sample: &[usize]) -> Option<f64> {
    let defined: Vec<f64> = sample.iter().filter_map(|i| values[*i]).collect();
    (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
}

impl SegmentationSettings {
    /// The classes that means over classes include.
    fn judged(&self, classes: usize) -> Result<Vec<usize>> {
        let judged: Vec<usize> = (0..classes)
            .filter(|class| Some(*class) != self.background)
            .collect();
        check::not_empty("classes other than the background", judged.len())?;
        Ok(judged)
    }
}

impl SegmentedImage {
    /// The mean of a score over those of `classes` for which it is defined; `None` if there are none.
    pub fn mean_over(
        &self,
        classes: &[usize],
        score: impl Fn(&MaskScores) -> Option<f64>,
    ) -> Option<f64> {
        let scores = classes.iter().filter_map(|class| self.classes.get(*class));
        let scores: Vec<f64> = scores.filter_map(|class| score(&class.scores)).collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

/// The images, and how the bootstrap draws them.
struct Over<'a> {
    images: &'a [SegmentedImage],
    groups: Option<&'a [usize]>,
    bootstrap: &'a Bootstrap,
}

impl<'a> Over<'a> {
    fn new(
        images: &'a [SegmentedImage],
        classes: usize,
        groups: Option<&'a [usize]>,
        settings: &'a SegmentationSettings,
    ) -> Result<Self> {
        check::not_empty("images", images.len())?;
        for image in images {
            let own = image.classes.len();
            check::same_length("an image's classes", own, "class_names", classes)?;
        }
        if let Some(groups) = groups {
            check::same_length("groups", groups.len(), "images", images.len())?;
        }
        Ok(Over {
            images,
            groups,
            bootstrap: &settings.bootstrap,
        })
    }

    /// The interval of a statistic over `n` images, drawn as whole groups where there are any.
    fn resampled(
        &self,
        groups: Option<&[usize]>,
        n: usize,
        statistic: impl FnMut(&[usize]) -> Option<f64>,
    ) -> Result<Interval> {
        let resampling = groups.map_or(Resampling::Simple, Resampling::Grouped);
        self.bootstrap.interval(n, resampling, statistic)
    }

    /// The mean of a metric over the images for which it is defined, with its interval; `None` if there are none.
    fn interval(
        &self,
        figure: impl Fn(&SegmentedImage) -> Option<f64>,
    ) -> Result<Option<Interval>> {
        let values = self.images.iter().map(figure).enumerate();
        let (with, values): (Vec<usize>, Vec<f64>) =
            values.filter_map(|(i, v)| Some((i, v?))).unzip();
        if values.is_empty() {
            return Ok(None);
        }
        let groups: Option<Vec<usize>> = self
            .groups
            .map(|groups| with.iter().map(|i| groups[*i]).collect());
        let mean = |sample: &[usize]| {
            Some(sample.iter().map(|i| values[*i]).sum::<f64>() / sample.len() as f64)
        };
        self.resampled(groups.as_deref(), values.len(), mean)
            .map(Some)
    }

    fn class(
        &self,
        class: usize,
        name: &str,
        confusion: &ConfusionMatrix,
    ) -> Result<ClassSegmentation> {
        let images = || self.images.iter().map(|image| &image.classes[class]);
        let count = |is: fn(SurfaceDistance) -> bool| images().filter(|i| is(i.hd95)).count();
        let spread = |figure: fn(&ClassInImage) -> Option<f64>| {
            let values: Vec<f64> = images().filter_map(figure).collect();
            Spread::of(&values)
        };
        let mean = |figure: fn(&ClassInImage) -> Option<f64>| {
            self.interval(|image| figure(&image.classes[class]))
        };
        let (truth, predicted) = (confusion.support()[class], confusion.predicted()[class]);
        let absent = count(|distance| distance == SurfaceDistance::BothEmpty);
        Ok(ClassSegmentation {
            name: name.into(),
            n: self.images.len() - absent,
            absent,
            false_negatives: count(|distance| {
                matches!(distance, SurfaceDistance::FalseNegative { .. })
            }),
            false_positives: count(|distance| {
                matches!(distance, SurfaceDistance::FalsePositive { .. })
            }),
            dice: spread(|image| image.scores.dice),
            iou: spread(|image| image.scores.iou),
            precision: spread(|image| image.scores.precision),
            recall: spread(|image| image.scores.recall),
            hd95: spread(|image| image.hd95.counted()),
            hd95_mm: spread(|image| image.hd95_mm?.counted()),
            mean_dice: mean(|image| image.scores.dice)?,
            mean_iou: mean(|image| image.scores.iou)?,
            mean_hd95: mean(|image| image.hd95.counted())?,
            mean_hd95_mm: mean(|image| image.hd95_mm?.counted())?,
            pooled: overlap(confusion, class, truth, predicted),
        })
    }
}

impl Spread {
    /// Mean and standard deviation of the values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        Some(Self {
            mean,
            sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
            n,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, mean) = (f.precision().unwrap_or(3), self.mean);
        match self.sd {
            Some(sd) => write!(f, "{mean:.digits$} ± {sd:.digits$}"),
            None => write!(f, "{mean:.digits$}"),
        }
    }
}

fn pooled(images: &[SegmentedImage]) -> Result<ConfusionMatrix> {
    let mut all = images[0].confusion.clone();
    for image in &images[1..] {
        all.add(&image.confusion)?;
    }
    Ok(all)
}

fn distinct(groups: &[usize]) -> usize {
    let mut ids = groups.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}
