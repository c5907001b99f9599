//! Which pixels the class scores are based on, by several methods beside the class map; and how far to believe them.

mod judge;
mod methods;
mod section;

use anyhow::Result;
use attribution::HeatMap;
use dataset::Sample;
use inference::Bundle;
use model::engine::{Device, Precision};
use report::{Colormap, ImageGrid, Plane, Tile, heat_map};

use crate::context::{Context, Data};
use crate::measured::Explained;
use crate::pictures::spread;
use crate::scored::Held;
use crate::stages::rules::add;
use methods::Explainer;

/// Images in the report's figure, at most.
const SHOWN: usize = 4;

/// How much of the image a heat map hides in the figure.
const OPACITY: f32 = 0.5;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    // Gradients of inference are computed on the CPU alone.
    let path = context.run.file(crate::MODEL);
    let trained = Bundle::load(&path, Device::Cpu, Precision::F32)?;
    let rows = spread(&data.splits.test, context.settings.explain.images);
    let held = Held::read(context, &data, &rows)?;
    let explainer = Explainer::new(&trained, context.settings);
    let job = context
        .progress
        .job("explanations", "images", held.len() as u64);
    let mut judged = vec![];
    for (i, sample) in held.samples().iter().enumerate() {
        context.interrupt.check()?;
        let randomized = i < context.settings.explain.randomized;
        let mask = judge::mask(context, &data, sample)?;
        judged.push(explainer.judge(context, sample, mask, randomized)?);
        job.advance(1);
    }
    let patients = crate::scored::patient_ids(&data.manifest, &rows);
    let explained: Explained = judge::summarize(context, &judged, &patients, &explainer.names())?;
    let grid = grid(&data, held.samples(), &judged, &explainer.names())?;
    let section = section::write(context.run, &explained, &grid)?;
    context.section("explain", &section)?;
    add(context, |metrics| metrics.explained = Some(explained))
}

/// The first images with the map of each method but the random one.
fn grid(
    data: &Data,
    samples: &[Sample],
    judged: &[judge::ImageJudged],
    names: &[String],
) -> Result<ImageGrid> {
    let mut tiles = vec![];
    for (sample, judged) in samples.iter().zip(judged).take(SHOWN) {
        let image = grey(sample)?;
        let truth = &data.manifest.classes()[sample.label];
        let predicted = &data.manifest.classes()[judged.predicted];
        tiles.push(Tile {
            image: image.clone().into(),
            caption: format!("{truth}, predicted {predicted}"),
            border: None,
        });
        for (name, map) in names.iter().zip(&judged.maps).take(names.len() - 1) {
            let over = heat_map(&image, &scaled(map)?, Colormap::Viridis, OPACITY)?;
            tiles.push(Tile {
                image: over.into(),
                caption: name.clone(),
                border: None,
            });
        }
    }
    Ok(ImageGrid {
        title: "Test: what the class scores are based on".into(),
        subtitle: "Yellow: the pixels on which the predicted class's score depends most".into(),
        columns: names.len(),
        tiles,
    })
}

fn grey(sample: &Sample) -> Result<Plane> {
    let pixels = sample.image.chunks(sample.channels);
    let grey = pixels.map(|pixel| pixel.iter().sum::<f32>() / pixel.len() as f32);
    let (width, height) = (sample.width as u32, sample.height as u32);
    Ok(Plane::new(width, height, grey.collect())?)
}

/// From 0 at the least value, or at 0 if there are negative ones, to 1 at the largest.
fn scaled(map: &HeatMap) -> Result<Plane> {
    let values = map.values();
    let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let least = values
        .iter()
        .copied()
        .fold(f32::INFINITY, f32::min)
        .max(0.0);
    let range = (top - least).max(f32::MIN_POSITIVE);
    let (height, width) = map.size();
    let scaled = values.iter().map(|v| ((v - least) / range).clamp(0.0, 1.0));
    Ok(Plane::new(width as u32, height as u32, scaled.collect())?)
}
