//! Counts green pixels: per class, and inside lungs and opacities where masks of them exist.

use std::path::PathBuf;

use anyhow::Result;
use imaging::{Decoder, Frame, Tones};
use metrics::{Bootstrap, Interval, Resampling, proportion};
use report::Plane;

use super::{ClassArea, OverlayStatistics, RegionArea};
use crate::context::Data;
use crate::pictures::plane;
use crate::scored::patient_ids;
use settings::Settings;

/// One test image.
#[derive(Clone, Debug)]
pub(super) struct ImageStatistics {
    pub(super) row: usize,
    pub(super) label: usize,
    pub(super) predicted: usize,
    pub(super) probabilities: Vec<f64>,
    /// Number of green pixels, then of all pixels.
    pub(super) green: usize,
    pub(super) pixels: usize,
    /// Per region of the settings: its pixels and the green ones among them; `None` without a mask.
    pub(super) regions: Vec<Option<(usize, usize)>>,
}

pub(super) fn image(
    settings: &Settings,
    data: &Data,
    row: usize,
    (predicted, probabilities): (usize, Vec<f64>),
    map: &[f32],
    (height, width): (usize, usize),
) -> Result<ImageStatistics> {
    let is_green = |p: &f32| *p >= settings.overlays.certainty;
    let inside = |mask: Plane| {
        let set: Vec<bool> = mask.values().iter().map(|v| *v >= 0.5).collect();
        let green = set
            .iter()
            .zip(map)
            .filter(|(set, p)| **set && is_green(p))
            .count();
        (set.iter().filter(|s| **s).count(), green)
    };
    let regions = (0..settings.data.regions.len())
        .map(|i| Ok(region_mask(settings, data, row, i, (height, width))?.map(inside)));
    Ok(ImageStatistics {
        row,
        label: data.manifest.rows()[row].class,
        predicted,
        probabilities,
        green: map.iter().filter(|p| is_green(p)).count(),
        pixels: map.len(),
        regions: regions.collect::<Result<_>>()?,
    })
}

/// The file with an image's mask of a region; `None` where it has none.
pub(in crate::stages) fn region_file(
    settings: &Settings,
    data: &Data,
    row: usize,
    region: usize,
) -> Option<PathBuf> {
    let (_, folder) = settings.data.regions.get(region)?;
    let path = &data.manifest.rows()[row].path;
    let stem = path
        .rsplit_once('.')
        .map_or(path.as_str(), |(stem, _)| stem);
    let file = folder.join(format!("{stem}.png"));
    file.is_file().then_some(file)
}

/// The mask of a region at the map's size; `None` where the image has none.
pub(in crate::stages) fn region_mask(
    settings: &Settings,
    data: &Data,
    row: usize,
    region: usize,
    (height, width): (usize, usize),
) -> Result<Option<Plane>> {
    let Some(file) = region_file(settings, data, row, region) else {
        return Ok(None);
    };
    let frame = Frame {
        height,
        width,
        channels: 1,
        fit: settings.image.fit,
    };
    let decoder = Decoder {
        tones: Tones::default(),
        ..data.manifest.decoder()
    };
    let mask = plane(&decoder.framed(&file, frame)?)?;
    // Masks are stored as 0/1 or as 0/255: half of the largest value separates both.
    let half = 0.5 * mask.values().iter().fold(0.0_f32, |a, b| a.max(*b));
    let (w, h) = mask.dimensions();
    let values = mask
        .values()
        .iter()
        .map(|v| if half > 0.0 && *v >= half { 1.0 } else { 0.0 })
        .collect();
    Ok(Some(Plane::new(w, h, values)?))
}

pub(super) fn summarize(
    settings: &Settings,
    data: &Data,
    shown: String,
    images: &[ImageStatistics],
) -> Result<OverlayStatistics> {
    let classes = data.manifest.classes();
    let class = |(label, name): (usize, &String)| {
        let of_class: Vec<&ImageStatistics> = images.iter().filter(|i| i.label == label).collect();
        class_area(settings, data, name, &of_class)
    };
    Ok(OverlayStatistics {
        certainty: settings.overlays.certainty,
        class: shown,
        classes: classes
            .iter()
            .enumerate()
            .map(class)
            .collect::<Result<_>>()?,
    })
}

fn class_area(
    settings: &Settings,
    data: &Data,
    name: &str,
    images: &[&ImageStatistics],
) -> Result<ClassArea> {
    let shares: Vec<f64> = images
        .iter()
        .map(|i| i.green as f64 / i.pixels.max(1) as f64)
        .collect();
    let rows: Vec<usize> = images.iter().map(|i| i.row).collect();
    let patients = patient_ids(&data.manifest, &rows);
    let over_images = |statistic: fn(&[f64]) -> Option<f64>| {
        resampled(settings, &patients, |sample| {
            let drawn: Vec<f64> = sample.iter().map(|i| shares[*i]).collect();
            statistic(&drawn)
        })
    };
    let green: Vec<bool> = images.iter().map(|i| i.green > 0).collect();
    let region = |(index, (name, _)): (usize, &(String, _))| {
        region_area(settings, data, name, (images, index))
    };
    Ok(ClassArea {
        class: name.into(),
        n: images.len(),
        with_green: green.iter().filter(|any| **any).count(),
        with_green_share: (!green.is_empty())
            .then(|| proportion(&green, Some(&patients), settings.evaluate.confidence))
            .transpose()?,
        mean_share: over_images(|s| Some(s.iter().sum::<f64>() / s.len() as f64))?,
        median_share: over_images(metrics::median)?,
        regions: settings
            .data
            .regions
            .iter()
            .enumerate()
            .map(region)
            .collect::<Result<_>>()?,
    })
}

fn region_area(
    settings: &Settings,
    data: &Data,
    name: &str,
    (images, index): (&[&ImageStatistics], usize),
) -> Result<RegionArea> {
    let with_mask = images
        .iter()
        .filter_map(|i| Some((i, i.regions.get(index).copied().flatten()?)));
    let counted: Vec<_> = with_mask
        .filter(|(i, (size, _))| *size > 0 && i.green > 0)
        .collect();
    let rows: Vec<usize> = counted.iter().map(|(i, _)| i.row).collect();
    let patients = patient_ids(&data.manifest, &rows);
    let share = |of: fn(&ImageStatistics, (usize, usize)) -> (usize, usize)| {
        let images: Vec<_> = counted.iter().map(|(i, region)| of(i, *region)).collect();
        resampled(settings, &patients, |sample| pooled_share(&images, sample))
    };
    Ok(RegionArea {
        region: name.into(),
        n: counted.len(),
        green_inside: share(|image, (_, inside)| (inside, image.green))?,
        area: share(|image, (size, _)| (size, image.pixels))?,
        covered: share(|_, (size, inside)| (inside, size))?,
    })
}

/// Parts over wholes, each summed over a sample of images; each whole is above 0.
fn pooled_share(images: &[(usize, usize)], sample: &[usize]) -> Option<f64> {
    let drawn = || sample.iter().map(|i| images[*i]);
    let part: usize = drawn().map(|(part, _)| part).sum();
    let whole: usize = drawn().map(|(_, whole)| whole).sum();
    Some(part as f64 / whole as f64)
}

/// A statistic of a sample of images with its interval over patients (one id per image); `None` without images.
fn resampled(
    settings: &Settings,
    patients: &[usize],
    statistic: impl FnMut(&[usize]) -> Option<f64>,
) -> Result<Option<Interval>> {
    if patients.is_empty() {
        return Ok(None);
    }
    let bootstrap = Bootstrap {
        resamples: settings.evaluate.bootstrap,
        seed: settings.seed,
        level: settings.evaluate.confidence,
    };
    let grouped = Resampling::Grouped(patients);
    Ok(Some(bootstrap.interval(
        patients.len(),
        grouped,
        statistic,
    )?))
}
