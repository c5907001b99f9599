//! The stages: each reads artifacts of the run's folder and of stages before it, and writes its own.
//!
//! A stage also leaves its part of the report as a Markdown file under `sections/`; the `report` stage joins them.
//! So a stage's words and figures stand beside the code that made the numbers.

mod augment_preview;
mod eda;
mod evaluate;
mod evaluate_map;
mod index;
mod report;
mod segment;
mod train;

use std::fmt;

use anyhow::Result;

use crate::context::Context;

pub use evaluate::{Baselines, Calibration, Chosen, Metrics, Rule};
pub use evaluate_map::{Otsu, SegmentationBaselines, SegmentationMetrics};
pub use segment::{ClassArea, RegionArea, SegmentStatistics};

/// What stages hand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Artifact {
    /// `manifest.csv`: the images.
    Manifest,
    /// `splits.csv`: which image is in which split.
    Splits,
    /// `eda.json`: what the data are like.
    Eda,
    /// `figures/augmented.png`.
    AugmentPreview,
    /// `model.safetensors`: the best epoch's checkpoint.
    Model,
    /// `history.csv`: the epochs.
    History,
    /// `predictions.csv`: validation and test, image by image.
    Predictions,
    /// `metrics.json`: the results.
    Metrics,
    /// How scores become an answer: threshold and calibration, written into `model.safetensors`.
    Decision,
    /// `segment.json` and `overlays/`: where the class map lights up.
    Overlays,
    /// `segmentation.json`, `segmentation.csv` and `masks/`: how well the map finds what masks mark.
    Segmentation,
    /// `report.md`.
    Report,
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Artifact::Manifest => "manifest.csv",
            Artifact::Splits => "splits.csv",
            Artifact::Eda => "eda.json",
            Artifact::AugmentPreview => "the augmentation preview",
            Artifact::Model => "model.safetensors",
            Artifact::History => "history.csv",
            Artifact::Predictions => "predictions.csv",
            Artifact::Metrics => "metrics.json",
            Artifact::Decision => "the decision rule in model.safetensors",
            Artifact::Overlays => "the overlays",
            Artifact::Segmentation => "segmentation.json",
            Artifact::Report => "report.md",
        })
    }
}

/// One step of a pipeline.
pub trait Stage: Sync {
    /// Name in `pipeline.stages`.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn about(&self) -> &'static str;
    /// Artifacts that an earlier stage must have made.
    fn reads(&self) -> &'static [Artifact];
    /// Artifacts that it makes.
    fn writes(&self) -> &'static [Artifact];
    /// Does the work.
    ///
    /// # Errors
    /// Whatever went wrong, naming the file; [`terminal::Interrupted`] where the user stopped it.
    fn run(&self, context: &mut Context<'_>) -> Result<()>;
}

/// All stages in their usual order.
pub fn all() -> &'static [&'static dyn Stage] {
    &[
        &index::Index,
        &eda::Eda,
        &augment_preview::AugmentPreview,
        &train::Train,
        &evaluate::Evaluate,
        &evaluate_map::EvaluateMap,
        &segment::Segment,
        &report::Report,
    ]
}

/// The stage of a name.
pub fn find(name: &str) -> Option<&'static dyn Stage> {
    all().iter().copied().find(|stage| stage.name() == name)
}
