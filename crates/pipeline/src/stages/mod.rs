//! The stages: each reads artifacts of the run's folder and of stages before it, and writes its own.
//!
//! A stage also leaves its part of the report as a document (blocks, as JSON) under `sections/`; the `report` stage joins them.
//! So a stage's text and figures are next to the code that computes the numbers.

mod augment_preview;
pub(crate) mod eda;
mod evaluate;
mod evaluate_segmentation;
mod explain;
mod index;
mod novelty;
mod overlays;
mod pixels;
mod probe;
mod quantize;
mod region;
mod report;
mod rules;
mod stress;
pub(crate) mod train;

use anyhow::Result;
use settings::StageId;

use crate::context::Context;

pub use evaluate::{
    Accepted, AtPrevalence, Baselines, Benefit, Calibration, Chosen, FrozenEncoder, Metrics,
    Operating, PriorShiftOnTest, Rule, Sets, Shifted,
};
pub use evaluate_segmentation::{
    Guarantees, Otsu, SegmentationBaseline, SegmentationBaselines, SegmentationMetrics,
};
pub use overlays::{ClassArea, OverlayStatistics, RegionArea};

/// The classifier's results.
const METRICS: &str = "metrics.json";

/// Runs a stage: reads artifacts of the run's folder and writes its own.
///
/// # Errors
/// Any failure of the stage, naming the file; [`terminal::Interrupted`] if the user stopped it.
pub(crate) fn run(stage: StageId, context: &mut Context<'_>) -> Result<()> {
    match stage {
        StageId::Index => index::run(context),
        StageId::Region => region::run(context),
        StageId::Eda => eda::run(context),
        StageId::AugmentPreview => augment_preview::run(context),
        StageId::Train => train::run(context),
        StageId::Evaluate => evaluate::run(context),
        StageId::EvaluateSegmentation => evaluate_segmentation::run(context),
        StageId::Quantize => quantize::run(context),
        StageId::Novelty => novelty::run(context),
        StageId::Stress => stress::run(context),
        StageId::Probe => probe::run(context),
        StageId::Explain => explain::run(context),
        StageId::Overlays => overlays::run(context),
        StageId::Report => report::run(context),
    }
}
