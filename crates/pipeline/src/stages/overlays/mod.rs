//! Where the class map lights up: overlays of right and wrong cases alike, and whether the light lies in the lungs.
//!
//! A pixel's value is the softmax of its class scores (see [`crate::trained`]), for the positive class, at temperature
//! 1: the article paints every pixel of at least 0.97 green. The map has seen no pixel labels unless the settings say
//! so; what it then shows is where the evidence for the answer lies, not an outline of a finding.

mod cases;
mod section;
mod statistics;

use anyhow::{Result, bail};
use inference::Bundle;
use metrics::Interval;
use serde::{Deserialize, Serialize};

use super::Metrics;
use crate::context::{Context, Data};
use crate::scoring;
use statistics::ImageStatistics;

/// `overlays.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverlayStatistics {
    /// Pixels of at least this are green.
    pub certainty: f32,
    /// The class of pixels that is painted: the positive class of the images, or what masks have taught.
    pub class: String,
    /// By true class.
    pub classes: Vec<ClassArea>,
}

/// Green pixels in the images of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassArea {
    /// True class.
    pub class: String,
    /// Test images of it.
    pub n: usize,
    /// Images with any green pixel.
    pub with_green: usize,
    /// Their share, with an interval by patient as all that follow; none without an image.
    pub with_green_share: Option<Interval>,
    /// Mean over images of the green share of the image.
    pub mean_share: Option<Interval>,
    /// Median of the same.
    pub median_share: Option<Interval>,
    /// By region, over the images that have its mask.
    pub regions: Vec<RegionArea>,
}

/// How much of the green lies in a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionArea {
    /// `lungs`, `opacity`.
    pub region: String,
    /// Images with a mask of it that is not empty and with green pixels.
    pub n: usize,
    /// Share of all their green pixels that lie inside.
    pub green_inside: Option<Interval>,
    /// Share of all their pixels that lie inside: what green spread blindly would have.
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
            "this network has no class map that training reaches; leave the stage \"overlays\" out"
        );
    }
    let images = measure(context, &data, &metrics, &trained)?;
    let shown = trained.map_classes()[trained.shown()].clone();
    let statistics = statistics::summarize(context.settings, &data, shown, &images)?;
    context.run.write_json("overlays.json", &statistics)?;
    let chosen = cases::choose(&images, &data, context.settings.overlays.examples);
    let drawn = cases::draw(context, &data, &trained, &chosen)?;
    context.section("overlays", &section::write(context, &statistics, drawn)?)
}

/// One pass over the test split; only counts are kept, for maps of a large split would not fit in memory.
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
        true,
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
                let size = (batch.height, batch.width);
                found.push(statistics::image(
                    settings,
                    data,
                    batch.rows[i],
                    answer,
                    map,
                    size,
                )?);
            }
            Ok(())
        },
    )?;
    Ok(found)
}
