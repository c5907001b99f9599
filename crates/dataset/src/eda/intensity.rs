//! Brightness of the images of each class: a network can exploit a difference as a shortcut.

use polars::prelude::*;
use serde::Serialize;

use super::EdaConfig;
use crate::groups::group_rows;
use crate::histogram::bin;
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
    /// Share of the pixels in each bin, with equal weight for each image; sums to 1.
    pub pixel_histogram: Vec<f64>,
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
    Ok(ClassIntensity {
        class: manifest.classes()[records[0].class].clone(),
        mean: means.mean().unwrap_or_default(),
        std_of_means: means.std(0).unwrap_or_default(),
        contrast: column("std", |r| r.std).mean().unwrap_or_default(),
        mean_histogram: histogram(means.into_no_null_iter(), config.bins),
        pixel_histogram: manifest.pixel_shares(records[0].class, config.bins),
    })
}

fn histogram(values: impl Iterator<Item = f64>, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for value in values {
        counts[bin(value, bins)] += 1;
    }
    counts
}
