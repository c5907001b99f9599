//! The baselines that a network must beat: a threshold on brightness, which uses no anatomy, and the mean of the
//! training masks, which does not depend on the image.

use anyhow::Result;
use dataset::{Manifest, Split};
use imaging::Fit;
use metrics::{SegmentedImage, mask_scores, otsu_threshold};
use rayon::prelude::*;

use super::judge::MaskEvaluator;
use super::{Otsu, SegmentationBaseline, SegmentationBaselines};
use crate::context::{Context, Data};

/// Side of the grid on which training masks are averaged.
const GRID: usize = 128;

pub(super) fn judged(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskEvaluator<'_>,
    rows: &[usize],
    network: &[SegmentedImage],
) -> Result<SegmentationBaselines> {
    let compared = |images: Vec<SegmentedImage>| -> Result<SegmentationBaseline> {
        Ok(SegmentationBaseline {
            test: judge.over(rows, &images)?,
            against: judge.difference(rows, [network, &images])?,
        })
    };
    let mean = MeanMask::of(context, judge, data.splits.rows(Split::Train))?;
    let mean_mask = judge_all(context, judge, rows, "mean mask", |row| {
        let record = &data.manifest.rows()[row];
        Ok(mean.over(record.height as usize, record.width as usize))
    })?;
    let otsu = match judge.classes.len() {
        2 => {
            let (bright, images) = otsu(context, data, judge, rows)?;
            let baseline = compared(images)?;
            Some(Otsu { bright, baseline })
        }
        _ => None,
    };
    Ok(SegmentationBaselines {
        mean_mask: compared(mean_mask)?,
        otsu,
    })
}

/// Scores another segmentation of the same images.
fn judge_all(
    context: &Context<'_>,
    judge: &MaskEvaluator<'_>,
    rows: &[usize],
    name: &str,
    segment: impl Fn(usize) -> Result<Vec<u8>> + Sync,
) -> Result<Vec<SegmentedImage>> {
    let job = context.progress.job(name, "images", rows.len() as u64);
    let one = |&row: &usize| {
        context.interrupt.check()?;
        let truth = judge.truth(row)?.unwrap_or_default();
        let (scores, _) = judge.image(row, &truth, &segment(row)?)?;
        job.advance(1);
        Ok(scores)
    };
    rows.par_iter().map(one).collect()
}

/// The most frequent class at each position of the training masks, all resized to one grid.
struct MeanMask {
    classes: Vec<u8>,
}

impl MeanMask {
    fn of(context: &Context<'_>, judge: &MaskEvaluator<'_>, rows: &[usize]) -> Result<Self> {
        let job = context
            .progress
            .job("training masks", "masks", rows.len() as u64);
        let classes = judge.classes.len();
        let count = |mut counts: Vec<u32>, &row: &usize| -> Result<Vec<u32>> {
            context.interrupt.check()?;
            let record = &judge.data.manifest.rows()[row];
            let (height, width) = (record.height as usize, record.width as usize);
            if let Some(mask) = judge.truth(row)? {
                for (place, at) in places(GRID, GRID, height, width).enumerate() {
                    // Unknown pixels have no class to count.
                    let class = usize::from(mask[at]);
                    if class < classes {
                        counts[place * classes + class] += 1;
                    }
                }
            }
            job.advance(1);
            Ok(counts)
        };
        let none = || vec![0; GRID * GRID * classes];
        let add = |mut a: Vec<u32>, b: Vec<u32>| -> Result<Vec<u32>> {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            Ok(a)
        };
        let counts = rows
            .par_iter()
            .try_fold(none, count)
            .try_reduce(none, add)?;
        let most = |counts: &[u32]| {
            let best = (1..counts.len()).fold(0, |best, class| {
                if counts[class] > counts[best] {
                    class
                } else {
                    best
                }
            });
            best as u8
        };
        Ok(MeanMask {
            classes: counts.chunks(classes.max(1)).map(most).collect(),
        })
    }

    /// The mean mask at an image's size.
    fn over(&self, height: usize, width: usize) -> Vec<u8> {
        places(height, width, GRID, GRID)
            .map(|at| self.classes[at])
            .collect()
    }
}

/// For each pixel of a raster, the index of the pixel of another raster that covers its centre.
fn places(
    height: usize,
    width: usize,
    from_height: usize,
    from_width: usize,
) -> impl Iterator<Item = usize> {
    let at = |i: usize, n: usize, from: usize| (2 * i + 1) * from / (2 * n);
    (0..height).flat_map(move |y| {
        (0..width).map(move |x| at(y, height, from_height) * from_width + at(x, width, from_width))
    })
}

/// Otsu's threshold: whether the bright side is class 1, which like everything else is chosen on validation, and the
/// scores of the test images.
fn otsu(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskEvaluator<'_>,
    rows: &[usize],
) -> Result<(bool, Vec<SegmentedImage>)> {
    let validation = data.splits.rows(Split::Val);
    let dice = |bright: bool| -> Result<f64> {
        let one = |&row: &usize| -> Result<Option<f64>> {
            let Some(truth) = judge.truth(row)? else {
                return Ok(None);
            };
            let known = truth.iter().map(|class| *class != Manifest::UNKNOWN_PIXEL);
            let parted = parted(data, row, bright)?;
            let known: Vec<(bool, bool)> = known
                .zip(truth.iter().zip(&parted))
                .filter(|(known, _)| *known)
                .map(|(_, (truth, found))| (*truth == 1, *found == 1))
                .collect();
            let (truth, found): (Vec<bool>, Vec<bool>) = known.into_iter().unzip();
            Ok(mask_scores(&truth, &found)?.dice)
        };
        // Otsu's two parts cover the image, so an image with a true pixel has a Dice either way.
        let all: Result<Vec<Option<f64>>> = validation.par_iter().map(one).collect();
        Ok(all?.into_iter().flatten().sum())
    };
    let bright = dice(true)? >= dice(false)?;
    let images = judge_all(context, judge, rows, "Otsu's threshold", |row| {
        parted(data, row, bright)
    })?;
    Ok((bright, images))
}

/// An image binarized at Otsu's threshold of its own brightness; no pixel is class 1 in an image of a single grey
/// value.
fn parted(data: &Data, row: usize, bright: bool) -> Result<Vec<u8>> {
    let record = &data.manifest.rows()[row];
    let (height, width) = (record.height as usize, record.width as usize);
    let picture = data.grey(record, (height, width), Fit::Stretch)?;
    let bins: Vec<usize> = picture
        .values()
        .iter()
        .map(|v| (v * 255.0).round().clamp(0.0, 255.0) as usize)
        .collect();
    let mut histogram = [0u64; 256];
    bins.iter().for_each(|bin| histogram[*bin] += 1);
    Ok(match otsu_threshold(&histogram) {
        Some(threshold) => bins
            .iter()
            .map(|bin| u8::from((*bin > threshold) == bright))
            .collect(),
        None => vec![0; bins.len()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_nearest_pixels() {
        let found: Vec<usize> = places(2, 2, 4, 4).collect();
        assert_eq!(found, [5, 7, 13, 15]);
        let same: Vec<usize> = places(3, 2, 3, 2).collect();
        assert_eq!(same, [0, 1, 2, 3, 4, 5]);
        let mean = MeanMask {
            classes: (0..GRID * GRID)
                .map(|i| u8::from(i % GRID >= GRID / 2))
                .collect(),
        };
        assert_eq!(mean.over(1, 4), [0, 0, 1, 1]);
    }
}
