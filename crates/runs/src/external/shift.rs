//! How the images differ from those that the model was trained on.

use anyhow::Result;
use dataset::Split;
use metrics::{ks_distance, mean_and_sd, standardized_mean_difference};
use serde::Serialize;

use super::images::Images;
use super::judge::Judged;
use super::known::KnownImages;

/// The training images of the run and the images that are evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct Shift {
    /// Number of training images.
    pub trained_on: usize,
    /// Number of evaluated images.
    pub evaluated: usize,
    /// The share of each class (with two classes, of the positive one), from a 0 or 1 per image.
    pub shares: Vec<Quantity>,
    /// Properties of the images.
    pub properties: Vec<Quantity>,
}

/// A quantity in both sets of images.
#[derive(Clone, Debug, Serialize)]
pub struct Quantity {
    /// Its name.
    pub name: String,
    /// In the training images.
    pub trained_on: Sample,
    /// In the evaluated images.
    pub evaluated: Sample,
    /// Mean of the evaluated images minus that of the training images, in pooled standard deviations; `None` if
    /// neither varies.
    pub standardized_difference: Option<f64>,
    /// Kolmogorov-Smirnov distance of the distributions, from 0 to 1.
    pub ks_distance: f64,
}

/// Mean and standard deviation (with n − 1) over images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Mean.
    pub mean: f64,
    /// Standard deviation; `None` of a single image.
    pub sd: Option<f64>,
}

/// What is compared of an image.
struct Properties<'a> {
    class: &'a str,
    /// In the order of [`NAMES`].
    values: [f64; 5],
}

const NAMES: [&str; 5] = [
    "mean grey value",
    "contrast (standard deviation of the grey values)",
    "width (pixels)",
    "height (pixels)",
    "aspect ratio (width / height)",
];

/// Compares the images with the training split of the run.
///
/// # Errors
/// The run has no training images, or a value in its manifest is not finite.
pub(super) fn measure(known: &KnownImages, images: &Images, judged: &Judged) -> Result<Shift> {
    let training: Vec<Properties> = known
        .of(Split::Train)
        .map(|(_, i)| Properties::new(&i.class, (i.mean, i.std), (i.width, i.height)))
        .collect();
    let classes = &judged.evaluation.classes;
    let here = images.rows.iter().zip(&images.labels);
    let here = here.map(|(row, label)| {
        let r = &images.manifest.rows()[*row];
        let size = (f64::from(r.width), f64::from(r.height));
        Properties::new(&classes[*label], (r.mean, r.std), size)
    });
    let here: Vec<Properties> = here.collect();
    let both = [&training[..], &here[..]];
    let shown = match classes.len() {
        2 => &classes[judged.evaluation.settings.positive..][..1],
        _ => &classes[..],
    };
    let share = |class: &String| {
        let is = |p: &Properties| f64::from(u8::from(p.class == class));
        quantity(class, both, is)
    };
    let property = |(i, name): (usize, &&str)| quantity(name, both, |p| p.values[i]);
    Ok(Shift {
        trained_on: training.len(),
        evaluated: here.len(),
        shares: shown.iter().map(share).collect::<Result<_>>()?,
        properties: NAMES
            .iter()
            .enumerate()
            .map(property)
            .collect::<Result<_>>()?,
    })
}

impl<'a> Properties<'a> {
    fn new(class: &'a str, (mean, std): (f64, f64), (width, height): (f64, f64)) -> Self {
        let values = [mean, std, width, height, width / height];
        Self { class, values }
    }
}

fn quantity(
    name: &str,
    both: [&[Properties<'_>]; 2],
    of: impl Fn(&Properties<'_>) -> f64,
) -> Result<Quantity> {
    let [training, here] = both.map(|set| set.iter().map(&of).collect::<Vec<f64>>());
    Ok(Quantity {
        name: name.to_owned(),
        standardized_difference: standardized_mean_difference(&training, &here)?,
        ks_distance: ks_distance(&training, &here)?,
        trained_on: Sample::of(&training)?,
        evaluated: Sample::of(&here)?,
    })
}

impl Sample {
    fn of(values: &[f64]) -> Result<Self> {
        let (mean, sd) = mean_and_sd(values)?;
        Ok(Sample { mean, sd })
    }
}
