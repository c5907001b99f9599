//! Segmentation over images, with intervals.

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

/// How a segmentation is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentationSettings {
    /// The class that means over classes leave out, since nearly all pixels are it; `None` for none. Default 0.
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

/// A figure's mean over images and its standard deviation between them.
///
/// Displays as `0.912 ± 0.034`; `format!("{spread:.2}")` sets the digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation (of a sample: over `n − 1`); `None` for a single image.
    pub sd: Option<f64>,
    /// Number of images that have the figure.
    pub n: usize,
}

/// One class over all images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassSegmentation {
    /// Its name.
    pub name: String,
    /// Number of images.
    pub n: usize,
    /// Images that have the class neither in truth nor in prediction: each counts as Dice 1 and distance 0.
    pub both_empty: usize,
    /// Images whose prediction lacks the class: Dice 0, no distance.
    pub missed: usize,
    /// Images in which only the prediction has the class: Dice 0, no distance.
    pub invented: usize,
    /// Over images.
    pub dice: Spread,
    /// Over images.
    pub iou: Spread,
    /// Over images.
    pub precision: Spread,
    /// Over images.
    pub recall: Spread,
    /// Over the images that have a distance: all but `missed` and `invented`. `None` if none has.
    pub hd95: Option<Spread>,
    /// Mean Dice with its interval.
    pub mean_dice: Interval,
    /// Mean IoU with its interval.
    pub mean_iou: Interval,
    /// All images' pixels taken as one image: large masks count more.
    pub pooled: MaskScores,
}

/// A segmentation, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentationEvaluation {
    /// Number of images.
    pub n: usize,
    /// Number of groups (patients) that the bootstrap draws; `None` where it draws images.
    pub groups: Option<usize>,
    /// Every class, in order.
    pub classes: Vec<ClassSegmentation>,
    /// Dice, mean over images of the mean over classes (without the background).
    pub mean_dice: Interval,
    /// IoU, likewise.
    pub mean_iou: Interval,
    /// All pixels: row = true class, column = predicted class.
    pub confusion: ConfusionMatrix,
}

/// Judges images together. `groups` has an id an image, such as its patient: the bootstrap then draws whole patients.
///
/// # Errors
/// No image, images of different numbers of classes than names, as many groups as images not given, no class but the
/// background, or impossible bootstrap settings.
pub fn evaluate_segmentation<S: AsRef<str>>(
    class_names: &[S],
    images: &[SegmentedImage],
    groups: Option<&[usize]>,
    settings: &SegmentationSettings,
) -> Result<SegmentationEvaluation> {
    check::not_empty("images", images.len())?;
    for image in images {
        let classes = image.classes.len();
        check::same_length(
            "an image's classes",
            classes,
            "class_names",
            class_names.len(),
        )?;
    }
    let over = Over {
        images,
        resampling: groups.map_or(Resampling::Simple, Resampling::Grouped),
        bootstrap: &settings.bootstrap,
    };
    let judged: Vec<usize> = (0..class_names.len())
        .filter(|class| Some(*class) != settings.background)
        .collect();
    check::not_empty("classes but the background", judged.len())?;
    let mean = |score: fn(&MaskScores) -> f64| {
        over.interval(|image| {
            let scores = judged.iter().map(|c| score(&image.classes[*c].scores));
            scores.sum::<f64>() / judged.len() as f64
        })
    };
    let confusion = pooled(images)?;
    let names = class_names.iter().enumerate();
    let classes = names.map(|(class, name)| over.class(class, name.as_ref(), &confusion));
    Ok(SegmentationEvaluation {
        n: images.len(),
        groups: groups.map(distinct),
        classes: classes.collect::<Result<_>>()?,
        mean_dice: mean(|scores| scores.dice)?,
        mean_iou: mean(|scores| scores.iou)?,
        confusion,
    })
}

/// Images and how they are drawn.
struct Over<'a> {
    images: &'a [SegmentedImage],
    resampling: Resampling<'a>,
    bootstrap: &'a Bootstrap,
}

impl Over<'_> {
    /// The mean of an image's figure, with its interval.
    fn interval(&self, figure: impl Fn(&SegmentedImage) -> f64) -> Result<Interval> {
        let values: Vec<f64> = self.images.iter().map(figure).collect();
        let n = values.len();
        self.bootstrap.interval(n, self.resampling, |sample| {
            Some(sample.iter().map(|i| values[*i]).sum::<f64>() / sample.len() as f64)
        })
    }

    fn class(
        &self,
        class: usize,
        name: &str,
        confusion: &ConfusionMatrix,
    ) -> Result<ClassSegmentation> {
        let images = || self.images.iter().map(|image| &image.classes[class]);
        let count = |state| images().filter(|image| image.hd95 == state).count();
        let spread = |score: fn(&MaskScores) -> f64| {
            let values: Vec<f64> = images().map(|image| score(&image.scores)).collect();
            Spread::of(&values)
        };
        let distances: Vec<f64> = images().filter_map(|image| image.hd95.value()).collect();
        let scores = |image: &SegmentedImage| -> ClassInImage { image.classes[class] };
        let (truth, predicted) = (confusion.support()[class], confusion.predicted()[class]);
        Ok(ClassSegmentation {
            name: name.into(),
            n: self.images.len(),
            both_empty: count(SurfaceDistance::BothEmpty),
            missed: count(SurfaceDistance::Missed),
            invented: count(SurfaceDistance::Invented),
            dice: spread(|scores| scores.dice),
            iou: spread(|scores| scores.iou),
            precision: spread(|scores| scores.precision),
            recall: spread(|scores| scores.recall),
            hd95: (!distances.is_empty()).then(|| Spread::of(&distances)),
            mean_dice: self.interval(|image| scores(image).scores.dice)?,
            mean_iou: self.interval(|image| scores(image).scores.iou)?,
            pooled: overlap(confusion, class, truth, predicted),
        })
    }
}

impl Spread {
    /// Of values, at least one.
    fn of(values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        Self {
            mean,
            sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
            n,
        }
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
