//! Dice of a map's hard masks per image: the value that validation reports.

use serde::{Deserialize, Serialize};

use super::loss::LossError;
use super::map_loss::{MapObjective, Masks, Truth};
use model::engine::Value;

/// Sum of the Dice of images, and the number of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ImageDice {
    sum: f64,
    images: usize,
}

/// Pixel counts of one class in one image.
#[derive(Clone, Copy, Default)]
struct Counts {
    both: u64,
    truth: u64,
    predicted: u64,
}

impl ImageDice {
    /// Computed over the images that have a class other than the background in truth or prediction.
    pub(super) fn new(
        map: &Value,
        masks: &Masks<'_>,
        objective: &MapObjective,
    ) -> Result<Self, LossError> {
        let s = map.shape;
        let truth = Truth::new(masks, (s.n, s.h, s.w), objective.ignore)?;
        let multiclass = objective.loss.is_multiclass();
        let class = objective.marked_class(s.c)?;
        let predict = |pixel: &[f32]| match multiclass {
            true => argmax(pixel),
            false => usize::from(at_least_half(pixel, class)),
        };
        // With a single marked class, the mask is class 1 of 2.
        let classes = if multiclass { s.c } else { 2 };
        let mut dice = Self::default();
        for image in 0..s.n {
            let mut counts = vec![Counts::default(); classes];
            for i in (image * s.h * s.w..(image + 1) * s.h * s.w).filter(|i| truth.known[*i]) {
                let label = match multiclass {
                    true => truth.values[i] as usize,
                    false => usize::from(truth.values[i] >= 0.5),
                };
                count(&mut counts, label, predict(&map.data[i * s.c..][..s.c]));
            }
            if let Some(sum) = mean_dice(&counts[1..]) {
                dice.add(Self { sum, images: 1 });
            }
        }
        Ok(dice)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.images += other.images;
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.images > 0).then(|| self.sum / self.images as f64)
    }
}

/// Labels that are not class numbers, which the loss rejects, are not counted as truth.
fn count(counts: &mut [Counts], label: usize, predicted: usize) {
    if let Some(counts) = counts.get_mut(label) {
        counts.truth += 1;
        counts.both += u64::from(label == predicted);
    }
    counts[predicted].predicted += 1;
}

/// Mean over the classes that occur in truth or prediction; `None` if there are none.
fn mean_dice(counts: &[Counts]) -> Option<f64> {
    let present = counts.iter().filter(|c| c.truth + c.predicted > 0);
    let dice = present.map(|c| 2.0 * c.both as f64 / (c.truth + c.predicted) as f64);
    let (sum, n) = dice.fold((0.0, 0usize), |(sum, n), dice| (sum + dice, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// Index of the largest value, the first in a tie.
fn argmax(x: &[f32]) -> usize {
    (0..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best })
}

/// Whether a class's softmax (its sigmoid if the map has one channel) is at least ½.
fn at_least_half(x: &[f32], class: usize) -> bool {
    let rest = x.iter().enumerate().filter(|(c, _)| *c != class);
    let rest: f32 = rest.map(|(_, v)| (v - x[class]).exp()).sum();
    if x.len() == 1 {
        x[class] >= 0.0
    } else {
        rest <= 1.0
    }
}
