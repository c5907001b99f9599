//! What models that see only a part of each image are given.

use anyhow::Result;
use dataset::{Loader, LoaderConfig, Sample};
use inference::{Bundle, Input};
use rayon::prelude::*;
use report::Plane;
use terminal::Job;

use super::parts::{self, Part};
use crate::context::{Context, Data};
use crate::scored::patient_ids;
use crate::stages::pixels::thumbnail;

/// Side of the thumbnail whose cells are the pixels that linear models of a part see.
const CELLS: usize = 32;

/// Side of the thumbnail that hides everything small.
const COARSE: usize = 16;

/// What a model sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum View {
    /// Size and format of the file.
    File,
    /// Mean, spread and range of the grey values.
    Exposure,
    /// Grey cells of the whole image, very coarse.
    Thumbnail,
    /// Grey cells of a part, or with `true` of everything else.
    Cells(Part, bool),
    /// The trained network's features of an image of which only a part is left, or with `true` everything else.
    Features(Part, bool),
}

impl View {
    /// What it is, in words.
    pub(super) fn words(self, context: &Context<'_>) -> String {
        let of = |part: Part, rest: bool| match rest {
            false => part.name(context),
            true => format!("everything but the {}", part.name(context)),
        };
        match self {
            View::File => "size and format of the file".into(),
            View::Exposure => "mean, spread and range of the grey values".into(),
            View::Thumbnail => format!("{COARSE}×{COARSE} grey cells"),
            View::Cells(part, rest) | View::Features(part, rest) => of(part, rest),
        }
    }

    /// The model, in words.
    pub(super) fn model(self) -> &'static str {
        match self {
            View::Features(..) => "logistic regression on the network's features",
            _ => "logistic regression",
        }
    }
}

/// The images of a split as the views show them.
pub(super) struct Seen {
    /// Inputs of each view, `[n, inputs]`.
    pub(super) views: Vec<Vec<f32>>,
    pub(super) rows: Vec<usize>,
    pub(super) labels: Vec<usize>,
    pub(super) patients: Vec<usize>,
}

/// A network, and which of its outputs are the features.
pub(super) type Network<'a> = (&'a Bundle, Option<&'a str>);

/// Reads some rows once, for all views.
pub(super) fn read(
    context: &Context<'_>,
    data: &Data,
    network: Network<'_>,
    (rows, views): (Vec<usize>, &[View]),
    job: &Job,
) -> Result<Seen> {
    let channels = context.settings.image.channels;
    let config = LoaderConfig {
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
        cache_bytes: 0,
        ..context.loader_config(false)
    };
    let mut seen = Seen {
        views: vec![vec![]; views.len()],
        rows: vec![],
        labels: vec![],
        patients: patient_ids(&data.manifest, &rows),
    };
    let masked = views.iter().any(|view| {
        matches!(
            view,
            View::Cells(Part::Region(_), _) | View::Features(Part::Region(_), _)
        )
    });
    for batch in Loader::new(&data.manifest, rows, config)?.epoch(0) {
        context.interrupt.check()?;
        let batch = batch?;
        let size = (batch.height, batch.width);
        let masks = match masked {
            true => parts::masks(context, data, &batch.rows, size)?.unwrap_or_default(),
            false => vec![],
        };
        let pixels = batch.height * batch.width * batch.channels;
        let samples = batch
            .images
            .chunks(pixels)
            .zip(&batch.rows)
            .zip(&batch.placements);
        let samples: Vec<Sample> = samples
            .map(|((image, row), placement)| Sample {
                image: image.to_vec(),
                mask: None,
                height: batch.height,
                width: batch.width,
                channels: batch.channels,
                label: 0,
                row: *row,
                placement: *placement,
            })
            .collect();
        for (view, x) in views.iter().zip(&mut seen.views) {
            x.extend(inputs(data, network, *view, (&samples, &masks))?);
        }
        job.advance(batch.len as u64);
        seen.rows.extend(batch.rows);
        seen.labels.extend(batch.labels);
    }
    Ok(seen)
}

fn inputs(
    data: &Data,
    (trained, output): Network<'_>,
    view: View,
    (samples, masks): (&[Sample], &[Plane]),
) -> Result<Vec<f32>> {
    let each = |of: &(dyn Fn(&Sample, Option<&Plane>) -> Vec<f32> + Sync)| -> Vec<f32> {
        let numbered = samples.par_iter().enumerate();
        numbered
            .flat_map_iter(|(i, sample)| of(sample, masks.get(i)))
            .collect()
    };
    Ok(match view {
        View::File => samples
            .iter()
            .flat_map(|sample| file(data, sample.row))
            .collect(),
        View::Exposure => samples
            .iter()
            .flat_map(|sample| exposure(data, sample.row))
            .collect(),
        View::Thumbnail => each(&|sample, _| grey_cells(sample, COARSE)),
        View::Cells(part, rest) => each(&|sample, mask| cells(sample, part, rest, mask)),
        View::Features(part, rest) => {
            let left = each(&|sample, mask| {
                let mut sample = sample.clone();
                part.blank(&mut sample, !rest, mask);
                trained.normalized(&sample.image)
            });
            let input = Input {
                data: &left,
                n: samples.len(),
                shape: trained.input_shape(),
            };
            match output {
                Some(output) => trained.features(input, output)?,
                None => vec![],
            }
        }
    })
}

/// Size of the image and of its file, and how it is stored.
fn file(data: &Data, row: usize) -> Vec<f32> {
    let record = &data.manifest.rows()[row];
    let bytes = std::fs::metadata(data.manifest.root().join(&record.path));
    let bytes = bytes.map_or(1, |about| about.len().max(1)) as f32;
    let (width, height) = (record.width.max(1) as f32, record.height.max(1) as f32);
    let ending = parts::ending(&record.path);
    let is = |known: &str| f32::from(u8::from(ending.starts_with(known)));
    vec![
        width.ln(),
        height.ln(),
        (width / height).ln(),
        bytes.ln(),
        (bytes / (width * height)).ln(),
        f32::from(record.channels),
        f32::from(record.bit_depth),
        is("jp"),
        is("png"),
        is("dcm"),
    ]
}

fn exposure(data: &Data, row: usize) -> Vec<f32> {
    let record = &data.manifest.rows()[row];
    let [low, high] = record.range;
    [record.mean, record.std, low, high]
        .map(|v| v as f32)
        .to_vec()
}

/// The mean of each cell over the channels.
fn grey_cells(sample: &Sample, side: usize) -> Vec<f32> {
    let size = (side.min(sample.height), side.min(sample.width));
    let cells = thumbnail(sample, size);
    let mean = |cell: &[f32]| cell.iter().sum::<f32>() / cell.len() as f32;
    cells.chunks(sample.channels).map(mean).collect()
}

/// The cells of a part, or of everything else. A region differs from image to image: it is blanked, and all cells are
/// seen.
fn cells(sample: &Sample, part: Part, rest: bool, region: Option<&Plane>) -> Vec<f32> {
    if let Part::Region(_) = part {
        let mut sample = sample.clone();
        part.blank(&mut sample, !rest, region);
        return grey_cells(&sample, CELLS);
    }
    let (h, w) = (CELLS.min(sample.height), CELLS.min(sample.width));
    let cells = grey_cells(sample, CELLS).into_iter().enumerate();
    let seen = cells.filter(|(i, _)| part.contains((i / w, i % w), (h, w), None) != rest);
    seen.map(|(_, value)| value).collect()
}
