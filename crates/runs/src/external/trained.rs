//! The trained model, and what is known of the run that trained it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use inference::Ensemble;
use pipeline::stages::Metrics;
use pipeline::{RESOLVED, RunDir};
use settings::Settings;

use super::known::KnownImages;

/// Where the model is.
pub(super) struct Source {
    /// The checkpoint.
    pub(super) checkpoint: PathBuf,
    /// The folder of the run, if the checkpoint is in it.
    run: Option<RunDir>,
}

impl Source {
    /// Finds the checkpoint of a run's folder, or the run that a checkpoint belongs to.
    pub(super) fn find(model: &Path) -> Result<Self> {
        let checkpoint = pipeline::find_checkpoint(model)?;
        let folder = checkpoint.parent().map(|folder| match folder.as_os_str() {
            name if name.is_empty() => Path::new("."),
            _ => folder,
        });
        let run = folder.and_then(|folder| RunDir::open(folder).ok());
        let run = run.filter(|run| run.file(RESOLVED).is_file());
        Ok(Self { checkpoint, run })
    }

    /// The settings of the run.
    pub(super) fn resolved(&self) -> Option<PathBuf> {
        self.run.as_ref().map(|run| run.file(RESOLVED))
    }
}

/// A model that is ready to run.
pub(super) struct Trained {
    /// One network, or several that predict together.
    pub(super) networks: Ensemble,
    /// SHA-256 of the checkpoint.
    pub(super) sha256: String,
    /// The images of the run, with their splits.
    pub(super) known: Option<KnownImages>,
    /// The results of the run on its own test split.
    pub(super) metrics: Option<Metrics>,
}

impl Trained {
    pub(super) fn load(source: Source, settings: &Settings) -> Result<Self> {
        let path = &source.checkpoint;
        let networks = Ensemble::load(path, settings.device.device, settings.precision)?;
        if !networks.first().classifies() {
            bail!(
                "{} only segments: an evaluation on other data needs class scores",
                path.display()
            );
        }
        let run = source.run.as_ref();
        let has = |name: &str| run.filter(|run| run.file(name).is_file());
        let known = has("manifest.csv").map(|run| KnownImages::read(&run.file("manifest.csv")));
        let metrics = has("metrics.json").map(|run| run.read_json("metrics.json"));
        Ok(Self {
            networks,
            sha256: pipeline::hash::of_file(path)?,
            known: known.transpose()?,
            metrics: metrics.transpose()?,
        })
    }

    /// The model's classes.
    pub(super) fn classes(&self) -> &[String] {
        &self.networks.first().meta().classes
    }

    /// "network", or "ensemble" if there are several.
    pub(super) fn noun(&self) -> &'static str {
        match self.networks.members().count() {
            1 => "network",
            _ => "ensemble",
        }
    }
}
