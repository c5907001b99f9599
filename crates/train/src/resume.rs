//! Saves a run's state to a checkpoint, and restores it.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ema::Ema;
use super::event::EpochRecord;
use super::job::Job;
use super::run::{Best, Run};
use super::schedule::PlateauState;
use super::stopping::StoppingState;
use super::swa::Swa;
use super::{TrainConfig, TrainError};
use formats::checkpoint::{self, Checkpoint, CheckpointError, Meta, Parts, Training};
use model::graph::Graph;
use model::network::Network;
use model::store::{Group, ParamStore};

/// A run's state other than weights and moments.
#[derive(Serialize, Deserialize)]
struct Progress {
    seed: u64,
    config: TrainConfig,
    class_weights: Option<Vec<f32>>,
    steps: u64,
    optimizer_steps: u64,
    /// Those that changed the encoder, if not all did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoder_steps: Option<u64>,
    ema_updates: u64,
    /// Number of epochs in the average over the last ones, while it is incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    swa_count: Option<u64>,
    best: Option<Best>,
    plateau: PlateauState,
    stopping: StoppingState,
    history: Vec<EpochRecord>,
}

impl Run<'_> {
    /// Resumes from the job's last checkpoint, or removes existing checkpoints.
    pub(super) fn begin(&mut self, network: &mut Network) -> Result<(), TrainError> {
        let checkpoints = self.job.checkpoints;
        if self.job.resume && checkpoints.last().exists() {
            return self.resume(network);
        }
        if self.job.processes.rank() > 0 {
            return Ok(());
        }
        remove(&checkpoints.last())?;
        Ok(remove(&checkpoints.best())?)
    }

    /// Writes `best` first: a run killed before `last` is written repeats the epoch, and writes the same `best` again.
    pub(super) fn save(&self, network: &Network, improved: bool) -> Result<(), CheckpointError> {
        let raw = network.store();
        let store = self.ema.as_ref().map_or(&raw, Ema::average);
        let (graph, meta) = (network.graph().as_ref(), self.meta());
        let parts = Parts {
            graph,
            store,
            meta: &meta,
            region: None,
            novelty: None,
            ensemble: None,
        };
        if improved {
            checkpoint::save(&self.job.checkpoints.best(), &parts, None)?;
        }
        let path = self.job.checkpoints.last();
        let progress = serde_json::to_value(self.progress()).map_err(|e| CheckpointError::Io {
            action: "write",
            path: path.clone(),
            source: io::Error::other(e),
        })?;
        let mut buffers: Vec<_> = self
            .optimizer
            .state()
            .map(|(name, values)| (name, Cow::Borrowed(values)))
            .collect();
        if self.ema.is_some() {
            buffers
                .extend(Group::ALL.map(|group| (raw_name(group), Cow::Borrowed(raw.group(group)))));
        }
        if let Some(swa) = self.incomplete_average() {
            let of = |group| Cow::Borrowed(swa.average().group(group));
            buffers.extend(Group::TRAINABLE.map(|group| (average_name(group), of(group))));
        }
        checkpoint::save(&path, &parts, Some(Training { progress, buffers }))
    }

    /// The average over the last epochs, if a later epoch continues it.
    fn incomplete_average(&self) -> Option<&Swa> {
        let goes_on = self.epochs_done() < self.job.config.epochs;
        self.swa.as_ref().filter(|_| goes_on)
    }

    fn meta(&self) -> Meta {
        let mut meta = self.job.meta.clone();
        if let Some(record) = self.history.last() {
            meta.epoch = record.epoch;
            meta.metrics = record
                .values()
                .into_iter()
                .filter(|(_, v)| v.is_finite())
                .collect();
        }
        meta
    }

    fn progress(&self) -> Progress {
        Progress {
            seed: self.job.seed,
            config: self.job.config.clone(),
            class_weights: self.job.class_weights.clone(),
            steps: self.steps,
            optimizer_steps: self.optimizer.steps(),
            encoder_steps: Some(self.optimizer.encoder_steps())
                .filter(|steps| *steps != self.optimizer.steps()),
            ema_updates: self.ema.as_ref().map_or(0, Ema::updates),
            swa_count: self.incomplete_average().map(Swa::count),
            best: self.best,
            plateau: self.schedule.state().clone(),
            stopping: self.stopping.state().clone(),
            history: self.history.clone(),
        }
    }

    fn resume(&mut self, network: &mut Network) -> Result<(), TrainError> {
        let path = self.job.checkpoints.last();
        let refuse = |problem: String| TrainError::Resume {
            path: path.display().to_string(),
            problem,
        };
        let (saved, training) = checkpoint::load(&path)?;
        let mut training =
            training.ok_or_else(|| refuse("it contains no training state".into()))?;
        let progress: Progress = serde_json::from_value(training.progress.take())
            .map_err(|e| refuse(format!("its training state cannot be read ({e})")))?;
        if let Some(problem) = difference(&saved, &progress, network.graph(), self.job) {
            return Err(refuse(problem));
        }
        let steps = progress.optimizer_steps;
        let steps = (steps, progress.encoder_steps.unwrap_or(steps));
        let restored = self.optimizer.restore(steps, |name| training.take(name));
        restored.map_err(|name| {
            refuse(format!(
                "the optimizer's buffer `{name}` is missing or damaged"
            ))
        })?;
        let damaged = |name| refuse(format!("the buffer `{name}` is missing or damaged"));
        let mut raw = saved.store;
        if let Some(count) = progress.swa_count {
            let mut average = ParamStore::zeros(raw.map().clone());
            fill(&mut average, &mut training, &Group::TRAINABLE, average_name).map_err(damaged)?;
            self.swa = Some(Swa::resumed(count, average));
        }
        if self.ema.is_some() {
            self.ema = Some(Ema::resumed(
                self.job.config.ema,
                progress.ema_updates,
                raw.clone(),
            ));
            fill(&mut raw, &mut training, &Group::ALL, raw_name).map_err(damaged)?;
        }
        network.set_store(raw);
        self.schedule.restore(progress.plateau);
        self.stopping.restore(progress.stopping);
        (self.best, self.steps, self.history) = (progress.best, progress.steps, progress.history);
        Ok(())
    }
}

/// The difference that prevents resuming from a checkpoint, if any. The number of epochs and early stopping may change,
/// but not the number of epochs whose last ones are averaged.
fn difference(
    saved: &Checkpoint,
    progress: &Progress,
    graph: &Graph,
    job: &Job<'_>,
) -> Option<String> {
    let mut config = progress.config.clone();
    if job.config.swa.is_none() {
        config.epochs = job.config.epochs;
    }
    config.early_stopping = job.config.early_stopping.clone();
    let differs = |what: &str| Some(format!("{what} differs from that run's"));
    if saved.graph != *graph {
        return differs("the network");
    }
    if saved.meta.classes != job.meta.classes || saved.meta.preprocessing != job.meta.preprocessing
    {
        return differs("the list of classes or the preprocessing");
    }
    if progress.seed != job.seed {
        return Some(format!(
            "the seed is {}, but that run's seed is {}",
            job.seed, progress.seed
        ));
    }
    if progress.class_weights != job.class_weights {
        return differs("the weighting of the classes");
    }
    (config != *job.config).then(|| {
        format!(
            "the setting train.{} differs from that run's",
            differing_key(&config, job.config)
        )
    })
}

fn differing_key(a: &TrainConfig, b: &TrainConfig) -> String {
    let keys = |config| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (a, b) = (keys(a), keys(b));
    a.into_iter()
        .find(|(key, value)| b.get(key) != Some(value))
        .map(|(key, _)| key)
        .unwrap_or_default()
}

fn remove(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CheckpointError::Io {
            action: "remove",
            path: path.into(),
            source,
        }),
        _ => Ok(()),
    }
}

fn raw_name(group: Group) -> String {
    format!("raw.{}", group as usize)
}

fn average_name(group: Group) -> String {
    format!("swa.{}", group as usize)
}

/// Fills groups from the buffers of these names.
fn fill(
    store: &mut ParamStore,
    training: &mut Training<'_>,
    groups: &[Group],
    name: impl Fn(Group) -> String,
) -> Result<(), String> {
    for group in groups.iter().copied() {
        let name = name(group);
        match training.take(&name) {
            Some(values) if values.len() == store.group(group).len() => {
                *store.group_mut(group) = values
            }
            _ => return Err(name),
        }
    }
    Ok(())
}
