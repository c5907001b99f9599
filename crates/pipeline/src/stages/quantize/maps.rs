//! Maps in int8 beside those in f32.

use anyhow::Result;
use dataset::{Batch, Loader, Split};
use inference::{Bundle, Input};
use metrics::mask_scores;
use model::graph::Hwc;

use crate::context::{Context, Data};
use crate::measured::MapLoss;
use crate::pictures::spread;

/// Images whose maps are compared, at most.
const IMAGES: usize = 200;

/// The maps of both networks on images of a split; `None` if none of them has a mask.
pub(super) fn compared(
    context: &Context<'_>,
    data: &Data,
    networks: [&Bundle; 2],
    split: Split,
) -> Result<Option<MapLoss>> {
    let rows = spread(data.splits.rows(split), IMAGES);
    let loader = Loader::new(&data.manifest, rows, context.loader_config(false))?;
    let words = format!("maps, {split}");
    let job = context.progress.job(&words, "images", loader.len() as u64);
    let mut sums = Sums::default();
    for batch in loader.epoch(0) {
        context.interrupt.check()?;
        let batch = batch?;
        let input = Input {
            data: &batch.images,
            n: batch.len,
            shape: Hwc {
                h: batch.height,
                w: batch.width,
                c: batch.channels,
            },
        };
        let mirror = networks[0].meta().inference.mirror;
        let maps = [
            networks[0].maps(input, mirror)?,
            networks[1].maps(input, mirror)?,
        ];
        sums.add(&batch, &maps, networks[0].map_classes().len());
        job.advance(batch.len as u64);
    }
    Ok(sums.mean())
}

#[derive(Default)]
struct Sums {
    images: usize,
    /// Images with a Dice.
    marked: usize,
    dice: [f64; 2],
    pixels: usize,
    changed: usize,
}

impl Sums {
    /// Adds the images of a batch that have a mask; their maps are probabilities, `[n, h, w, classes]`.
    fn add(&mut self, batch: &Batch, maps: &[Vec<f32>; 2], classes: usize) {
        let pixels = batch.height * batch.width;
        let Some(masks) = &batch.masks else {
            return;
        };
        for (i, truth) in masks.chunks(pixels).enumerate() {
            if !batch.has_mask[i] {
                continue;
            }
            let own = |map: &Vec<f32>| {
                let image = &map[i * pixels * classes..(i + 1) * pixels * classes];
                image.chunks(classes).map(most_probable).collect()
            };
            let predicted: [Vec<usize>; 2] = maps.each_ref().map(own);
            // An image without any mark has no Dice, unless one of the networks marks something.
            let found = predicted.each_ref().map(|own| dice(truth, own));
            if found.iter().any(Option::is_some) {
                for (sum, dice) in self.dice.iter_mut().zip(found) {
                    *sum += dice.unwrap_or(1.0);
                }
                self.marked += 1;
            }
            let pairs = predicted[0].iter().zip(&predicted[1]);
            self.changed += pairs.filter(|(a, b)| a != b).count();
            self.pixels += pixels;
            self.images += 1;
        }
    }

    fn mean(&self) -> Option<MapLoss> {
        (self.marked > 0).then(|| MapLoss {
            images: self.images,
            dice: self.dice.map(|sum| sum / self.marked as f64),
            changed: self.changed as f64 / self.pixels as f64,
        })
    }
}

fn most_probable(probabilities: &[f32]) -> usize {
    let each = probabilities.iter().enumerate();
    let best = each.max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}

/// Dice of everything but the background, class 0, over the pixels whose class is known (not NaN); `None` where neither
/// mask has any.
fn dice(truth: &[f32], predicted: &[usize]) -> Option<f64> {
    let known = truth.iter().zip(predicted);
    let known = known.filter(|(truth, _)| !truth.is_nan());
    let pairs = known.map(|(truth, predicted)| (*truth > 0.0, *predicted > 0));
    let (truth, predicted): (Vec<bool>, Vec<bool>) = pairs.unzip();
    // The only error is that no pixel is known.
    mask_scores(&truth, &predicted).ok()?.dice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_counts_known_pixels() {
        assert_eq!(dice(&[1.0, 2.0, 0.0, f32::NAN], &[1, 1, 1, 1]), Some(0.8));
        assert_eq!(dice(&[0.0, 0.0], &[0, 0]), None);
        assert_eq!(dice(&[0.0, 1.0], &[1, 0]), Some(0.0));
    }

    #[test]
    fn ties_and_order_of_probabilities() {
        assert_eq!(most_probable(&[0.2, 0.5, 0.3]), 1);
        assert_eq!(most_probable(&[0.9, 0.1]), 0);
    }
}
