//! Where the class map is high: overlays of correctly and incorrectly classified cases, and how much of the green area
//! is inside the lungs.
//!
//! A pixel's value is the softmax of its class scores (see [`inference::Bundle`]) for the positive class, at a
//! temperature of 1. As in the paper that the pipeline `pneumonia` follows, every pixel of at least 0.97 is coloured
//! green. Unless the settings train the map on masks, it has seen no pixel labels and shows where the evidence for the
//! prediction is, not the outline of a finding.

mod browse;
mod cases;
mod section;
mod statistics;

use std::borrow::Cow;

use anyhow::{Result, bail};
use imaging::{Placement, Rect};
use inference::Bundle;
use metrics::Interval;
use serde::{Deserialize, Serialize};

pub(super) use statistics::{region_file, region_mask};

use super::Metrics;
use crate::context::{Context, Data};
use crate::scoring;
use statistics::ImageStatistics;

/// `overlays.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverlayStatistics {
    /// Pixels of at least this probability are green.
    pub certainty: f32,
    /// The class whose pixels are coloured: the positive class of the images, or a class of the masks if the map was
    /// trained on them.
    pub class: String,
    /// Per true class.
    pub classes: Vec<ClassArea>,
}

/// Green pixels in the images of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassArea {
    /// True class.
    pub class: String,
    /// Number of its test images.
    pub n: usize,
    /// Images with any green pixel.
    pub with_green: usize,
    /// Their share; this and the following intervals resample patients. `None` without images.
    pub with_green_share: Option<Interval>,
    /// Mean over images of the green share of the image.
    pub mean_share: Option<Interval>,
    /// Median of the same.
    pub median_share: Option<Interval>,
    /// Per region, over the images that have its mask.
    pub regions: Vec<RegionArea>,
}

/// How much of the green area is inside a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionArea {
    /// Name of the region, such as `lungs` or `opacity`.
    pub region: String,
    /// Number of images with a non-empty mask of it and with green pixels.
    pub n: usize,
    /// Share of all their green pixels that are inside.
    pub green_inside: Option<Interval>,
    /// Share of all their pixels that are inside: the value expected of green pixels placed at random.
    pub area: Option<Interval>,
    /// Share of the region that is green.
    pub covered: Option<Interval>,
}

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let metrics: Metrics = context.run.read_json("metrics.json")?;
    let trained = scoring::trained(context)?;
    if !trained.has_map() {
        bail!(
            "this network has no trained class map; remove the stage \"overlays\" from pipeline.stages"
        );
    }
    let images = measure(context, &data, &metrics, &trained)?;
    let shown = trained.map_classes()[trained.shown()].clone();
    let statistics = statistics::summarize(context.settings, &data, shown, &images)?;
    context.run.write_json("overlays.json", &statistics)?;
    let chosen = cases::choose(&images, &data, context.settings.overlays.examples);
    let drawn = cases::draw(context, &data, &trained, &chosen)?;
    let browsed = browse::browse(context, &data, &trained, &images)?;
    context.section(
        "overlays",
        &section::write(context, &statistics, drawn, browsed)?,
    )
}

/// One pass over the test split; only counts are kept, because the maps of a large split would not fit in memory.
fn measure(
    context: &mut Context<'_>,
    data: &Data,
    metrics: &Metrics,
    trained: &Bundle,
) -> Result<Vec<ImageStatistics>> {
    let loader = context.loader(data.splits.test.clone())?;
    let job = context
        .progress
        .job("class maps", "images", loader.len() as u64);
    let settings = context.settings;
    let mut found = vec![];
    scoring::each(
        trained,
        &loader,
        scoring::with_map(trained),
        (&job, context.interrupt),
        |batch, scores| {
            let (classes, pixels) = (metrics.classes.len(), batch.height * batch.width);
            for (i, (logits, map)) in scores
                .logits
                .chunks(classes)
                .zip(scores.maps.chunks(pixels))
                .enumerate()
            {
                let answer = (trained.decide(logits), trained.probabilities(logits));
                let (map, size) = over_image(map, &batch.placements[i]);
                found.push(statistics::image(
                    settings,
                    data,
                    batch.rows[i],
                    answer,
                    &map,
                    size,
                )?);
            }
            Ok(())
        },
    )?;
    Ok(found)
}

/// A class map with its rows and columns: the network's own for a whole image; for a region, at the image's own size
/// and NaN outside the region, so that shares refer to the image.
fn over_image<'m>(map: &'m [f32], placement: &Placement) -> (Cow<'m, [f32]>, (usize, usize)) {
    let (height, width) = placement.original;
    match placement.source == Rect::whole(height, width) {
        true => (Cow::Borrowed(map), placement.frame),
        false => (Cow::Owned(placement.restore(map)), placement.original),
    }
}
