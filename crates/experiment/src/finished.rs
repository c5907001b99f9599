//! What a finished run left in its folder.

use anyhow::{Context as _, Result};
use dataset::Split;
use pipeline::outputs::{self, Prediction};
use pipeline::stages::Metrics;
use pipeline::{OwnRun, RunDir};
use settings::ExperimentRun;

/// A finished run of the experiment.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    pub(crate) name: String,
    /// From 0.
    pub(crate) setting: usize,
    pub(crate) seed: u64,
    /// From 1.
    pub(crate) fold: Option<usize>,
    pub(crate) metrics: Metrics,
    folder: RunDir,
}

impl FinishedRun {
    /// Reads a run in the experiment's folder.
    pub(crate) fn read(own: &OwnRun, run: &ExperimentRun) -> Result<Self> {
        let folder = RunDir::open(&own.file(&run.name))?;
        Ok(Self {
            metrics: folder
                .read_json("metrics.json")
                .with_context(|| format!("run {} has no results", run.name))?,
            name: run.name.clone(),
            setting: run.setting,
            seed: run.seed,
            fold: run.fold,
            folder,
        })
    }

    pub(crate) fn predictions(&self, split: Split) -> Result<Vec<Prediction>> {
        outputs::predictions(&self.folder, split, &self.metrics.classes)
    }

    /// Columns of `history.csv`, a row per epoch.
    pub(crate) fn history<const N: usize>(&self, columns: [&str; N]) -> Result<Vec<[f64; N]>> {
        outputs::history(&self.folder, columns)
    }
}
