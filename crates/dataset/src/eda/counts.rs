//! Numbers of images and patients by split, class, size and format.

use std::collections::BTreeMap;

use polars::prelude::*;
use serde::Serialize;

use super::patients::{self, InSplit, split_place};
use super::split_name;
use crate::groups::group_rows;
use crate::{DatasetError, ImageRecord, Manifest, Split};

/// One split (or the images in none).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitSummary {
    /// "train", "val", "test" or "unassigned".
    pub split: String,
    /// Images in it.
    pub images: usize,
    /// Patients in it.
    pub patients: usize,
    /// Every class, including classes without images.
    pub classes: Vec<ClassCount>,
    /// Largest class over smallest; `None` if a class is empty.
    pub imbalance: Option<f64>,
}

/// One class within a split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassCount {
    /// Its name.
    pub class: String,
    /// Images of it.
    pub images: usize,
    /// Patients with an image of it.
    pub patients: usize,
    /// Share of the split's images, in [0, 1].
    pub share: f64,
}

/// Image sizes in pixels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sizes {
    /// Pixels across.
    pub width: Quantiles,
    /// Pixels down.
    pub height: Quantiles,
    /// Width over height.
    pub aspect: Quantiles,
    /// Number of distinct sizes.
    pub distinct: usize,
    /// The ten most common.
    pub common: Vec<SizeCount>,
}

/// A distribution in seven numbers (linear interpolation between the order statistics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Smallest.
    pub min: f64,
    /// 5 %.
    pub p05: f64,
    /// 25 %.
    pub p25: f64,
    /// 50 %.
    pub median: f64,
    /// 75 %.
    pub p75: f64,
    /// 95 %.
    pub p95: f64,
    /// Largest.
    pub max: f64,
}

/// Number of images of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Images of that size.
    pub images: usize,
}

/// Number of images in one storage format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormatCount {
    /// 1 to 4.
    pub channels: u8,
    /// 8 or 16.
    pub bit_depth: u8,
    /// Images in that format.
    pub images: usize,
}

/// Number of patients with a given number of images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatientSize {
    /// Images of one patient.
    pub images: usize,
    /// Patients with that many.
    pub patients: usize,
}

/// `in_splits` has each patient in each split.
pub(super) fn splits(
    manifest: &Manifest,
    in_splits: &[InSplit],
) -> Result<Vec<SplitSummary>, DatasetError> {
    let images = images_of_classes(manifest)?;
    let patients = patients::in_classes(manifest);
    let mut summaries = vec![];
    for own in in_splits.chunk_by(|a, b| a.split == b.split) {
        let split = own.first().and_then(|own| own.split);
        let classes = |class| {
            let key = (split_place(split), class);
            let images = images.get(&key).copied().unwrap_or_default();
            (images, patients.get(&key).copied().unwrap_or_default())
        };
        summaries.push(summary(manifest, split, own.len(), classes));
    }
    Ok(summaries)
}

/// Number of images by split and class.
fn images_of_classes(manifest: &Manifest) -> Result<BTreeMap<(u32, usize), usize>, DatasetError> {
    let groups = group_rows(manifest.frame(), &["split", "class"])?;
    let group = |group: &Vec<usize>| {
        let record = &manifest.rows()[group[0]];
        ((split_place(record.split), record.class), group.len())
    };
    Ok(groups.iter().map(group).collect())
}

/// `classes` gives the numbers of images and patients of a class.
fn summary(
    manifest: &Manifest,
    split: Option<Split>,
    patients: usize,
    classes: impl Fn(usize) -> (usize, usize),
) -> SplitSummary {
    let counts: Vec<(usize, usize)> = (0..manifest.classes().len()).map(classes).collect();
    let images: usize = counts.iter().map(|(images, _)| images).sum();
    let class_count = |(class, &(count, patients)): (usize, &(usize, usize))| ClassCount {
        class: manifest.classes()[class].clone(),
        images: count,
        patients,
        share: count as f64 / images.max(1) as f64,
    };
    SplitSummary {
        split: split_name(split),
        images,
        patients,
        classes: counts.iter().enumerate().map(class_count).collect(),
        imbalance: imbalance(&counts.iter().map(|(images, _)| *images).collect::<Vec<_>>()),
    }
}

fn imbalance(counts: &[usize]) -> Option<f64> {
    let (min, max) = (counts.iter().min()?, counts.iter().max()?);
    (*min > 0).then(|| *max as f64 / *min as f64)
}

pub(super) fn sizes(manifest: &Manifest) -> Result<Sizes, DatasetError> {
    let rows = manifest.rows();
    let groups = group_rows(manifest.frame(), &["width", "height"])?;
    let aspect = rows
        .iter()
        .map(|r| f64::from(r.width) / f64::from(r.height));
    let mut common: Vec<SizeCount> = groups.iter().map(|group| size_count(rows, group)).collect();
    common.sort_by_key(|size| (std::cmp::Reverse(size.images), size.width, size.height));
    common.truncate(10);
    Ok(Sizes {
        width: column_quantiles(manifest, "width")?,
        height: column_quantiles(manifest, "height")?,
        aspect: quantiles(&Float64Chunked::from_iter_values("aspect".into(), aspect))?,
        distinct: groups.len(),
        common,
    })
}

fn size_count(rows: &[ImageRecord], group: &[usize]) -> SizeCount {
    let record = &rows[group[0]];
    SizeCount {
        width: record.width,
        height: record.height,
        images: group.len(),
    }
}

fn column_quantiles(manifest: &Manifest, name: &str) -> Result<Quantiles, DatasetError> {
    let column = manifest.frame().column(name)?.cast(&DataType::Float64)?;
    quantiles(column.f64()?)
}

fn quantiles(values: &Float64Chunked) -> Result<Quantiles, DatasetError> {
    let at = |q| {
        Ok(values
            .quantile(q, QuantileMethod::Linear)?
            .unwrap_or_default())
    };
    let all: Result<Vec<f64>, DatasetError> = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
        .into_iter()
        .map(at)
        .collect();
    match all?[..] {
        [min, p05, p25, median, p75, p95, max] => Ok(Quantiles {
            min,
            p05,
            p25,
            median,
            p75,
            p95,
            max,
        }),
        _ => Ok(Quantiles::default()),
    }
}

pub(super) fn formats(manifest: &Manifest) -> Result<Vec<FormatCount>, DatasetError> {
    let groups = group_rows(manifest.frame(), &["channels", "bit_depth"])?;
    let count = |group: Vec<usize>| {
        let record = &manifest.rows()[group[0]];
        FormatCount {
            channels: record.channels,
            bit_depth: record.bit_depth,
            images: group.len(),
        }
    };
    let mut formats: Vec<FormatCount> = groups.into_iter().map(count).collect();
    formats.sort_by_key(|f| (std::cmp::Reverse(f.images), f.channels, f.bit_depth));
    Ok(formats)
}

/// `images` has the number of images of each patient.
pub(super) fn images_per_patient(images: &[usize]) -> Vec<PatientSize> {
    let mut sizes = BTreeMap::<usize, usize>::new();
    for images in images {
        *sizes.entry(*images).or_default() += 1;
    }
    sizes
        .into_iter()
        .map(|(images, patients)| PatientSize { images, patients })
        .collect()
}
