//! Brightness of the images of each class: a network can exploit a difference as a shortcut.

use polars::prelude::*;
use rayon::prelude::*;
use serde::Serialize;

use imaging::intensities;
use random::Rng;

use super::EdaConfig;
use crate::groups::group_rows;
use crate::{DatasetError, ImageRecord, Manifest};

/// Grey values of one class, in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassIntensity {
    /// Its name.
    pub class: String,
    /// Mean over its images of an image's mean.
    pub mean: f64,
    /// Standard deviation over its images of an image's mean.
    pub std_of_means: f64,
    /// Mean over its images of an image's standard deviation (contrast).
    pub contrast: f64,
    /// Histogram of the images' means, with equal bins over [0, 1].
    pub mean_histogram: Vec<usize>,
    /// Share of the pixels in each bin, with equal weight for each sampled image; sums to 1.
    pub pixel_histogram: Vec<f64>,
    /// Images that `pixel_histogram` was computed from.
    pub sampled_images: usize,
}

pub(super) fn by_class(
    manifest: &Manifest,
    config: &EdaConfig,
) -> Result<Vec<ClassIntensity>, DatasetError> {
    let mut groups = group_rows(manifest.frame(), &["label"])?;
    groups.sort_by_key(|group| manifest.rows()[group[0]].class);
    groups
        .into_iter()
        .map(|rows| class_intensity(manifest, rows, config))
        .collect()
}

fn class_intensity(
    manifest: &Manifest,
    rows: Vec<usize>,
    config: &EdaConfig,
) -> Result<ClassIntensity, DatasetError> {
    let records: Vec<&ImageRecord> = rows.iter().map(|&row| &manifest.rows()[row]).collect();
    let column = |name: &str, of: fn(&ImageRecord) -> f64| {
        Float64Chunked::from_iter_values(name.into(), records.iter().map(|r| of(r)))
    };
    let means = column("mean", |r| r.mean);
    let sample = sample(&records, config);
    Ok(ClassIntensity {
        class: manifest.classes()[records[0].class].clone(),
        mean: means.mean().unwrap_or_default(),
        std_of_means: means.std(0).unwrap_or_default(),
        contrast: column("std", |r| r.std).mean().unwrap_or_default(),
        mean_histogram: histogram(means.into_no_null_iter(), config.bins),
        pixel_histogram: pixel_histogram(manifest, &sample, config.bins)?,
        sampled_images: sample.len(),
    })
}

fn sample<'m>(records: &[&'m ImageRecord], config: &EdaConfig) -> Vec<&'m ImageRecord> {
    let mut sample = records.to_vec();
    Rng::keyed(config.seed, &[]).shuffle(&mut sample);
    sample.truncate(config.sample_per_class);
    sample
}

fn pixel_histogram(
    manifest: &Manifest,
    sample: &[&ImageRecord],
    bins: usize,
) -> Result<Vec<f64>, DatasetError> {
    let one = |record: &&ImageRecord| {
        let values = pixels(manifest, record)?;
        let n = values.len().max(1) as f64;
        let counts = histogram(values.into_iter().map(f64::from), bins);
        Ok(counts.into_iter().map(|count| count as f64 / n).collect())
    };
    let shares: Result<Vec<Vec<f64>>, DatasetError> = sample.par_iter().map(one).collect();
    let mut pooled = vec![0.0; bins];
    // Summed in the order of the sample, so that threads do not change the last digits.
    for share in shares? {
        pooled
            .iter_mut()
            .zip(share)
            .for_each(|(sum, share)| *sum += share);
    }
    let n = sample.len().max(1) as f64;
    Ok(pooled.into_iter().map(|sum| sum / n).collect())
}

fn pixels(manifest: &Manifest, record: &ImageRecord) -> Result<Vec<f32>, DatasetError> {
    let image = manifest.decoder().pixels(&manifest.image_file(record));
    let image = image.map_err(|error| DatasetError::from(error).vanished())?;
    Ok(intensities(image))
}

fn histogram(values: impl Iterator<Item = f64>, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for value in values {
        counts[((value * bins as f64) as usize).min(bins - 1)] += 1;
    }
    counts
}
