//! The state of a run: everything that determines how it continues.

use serde::{Deserialize, Serialize};

use super::buffers::Buffers;
use super::ema::Ema;
use super::event::{Data, EpochRecord};
use super::job::{Job, Outcome, Stopped};
use super::loss::{ClassObjective, same_length};
use super::map_loss::MapObjective;
use super::monitor::{Figures, Mode, Monitor};
use super::optimizer::Optimizer;
use super::schedule::{Moment, Schedule, ScheduleConfig};
use super::stopping::Stopping;
use super::swa::Swa;
use super::{TrainConfig, TrainError};
use formats::checkpoint::Checkpoint;
use model::graph::Graph;
use model::network::{Heads, Network, NetworkError};
use model::store::ParamStore;
use random::Rng;

/// A run in progress.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) objective: ClassObjective,
    pub(super) stopping: Stopping,
    pub(super) ema: Option<Ema>,
    pub(super) swa: Option<Swa>,
    pub(super) schedule: Schedule,
    pub(super) optimizer: Optimizer,
    monitor: Monitor,
    pub(super) best: Option<Best>,
    pub(super) steps: u64,
    pub(super) history: Vec<EpochRecord>,
    pub(super) buffers: Buffers,
}

/// The epoch in `best.safetensors`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) epoch: usize,
    pub(super) value: Option<f64>,
}

impl<'a> Run<'a> {
    /// Checks the job, and sets up the state before the first step.
    pub(super) fn new(
        network: &Network,
        job: &'a Job<'a>,
        data: &dyn Data,
    ) -> Result<Self, TrainError> {
        job.config.check()?;
        check_processes(network, job)?;
        check_classes(network.graph(), job)?;
        let config = job.config;
        let figures = Figures::new(config.task(), job.metrics, data.validation_batches() > 0);
        let monitor = figures.monitor("monitor", &config.monitor, config.mode)?;
        let own = |key, name: &Option<String>, mode| match name {
            Some(name) => figures.monitor(key, name, mode),
            None if mode == Mode::Auto => Ok(monitor.clone()),
            None => figures.monitor(key, &config.monitor, mode),
        };
        let stopping = &config.early_stopping;
        let stopping = Stopping::new(
            stopping.clone(),
            own("early_stopping.monitor", &stopping.monitor, stopping.mode)?,
        );
        let watched = match &config.schedule {
            ScheduleConfig::ReduceOnPlateau(c) => own("schedule.monitor", &c.monitor, c.mode)?,
            _ => monitor.clone(),
        };
        let store = network.store();
        let encoder = encoder(network.graph(), &store, config)?;
        Ok(Run {
            job,
            objective: ClassObjective {
                loss: config.loss,
                weights: job.class_weights.clone(),
                label_smoothing: config.label_smoothing,
            },
            stopping,
            schedule: Schedule::new(config.schedule.clone(), config.optimizer.lr(), watched),
            optimizer: Optimizer::new(config.optimizer.clone(), store.map()).with_encoder(encoder),
            ema: (config.ema > 0.0).then(|| Ema::new(config.ema, store)),
            swa: None,
            monitor,
            best: None,
            steps: 0,
            history: vec![],
            buffers: Buffers::default(),
        })
    }

    /// Freezes the encoder in the epochs that the settings specify.
    pub(super) fn freeze(&mut self, network: &mut Network, epoch: usize) {
        let frozen = self
            .job
            .config
            .freeze
            .is_some_and(|freeze| freeze.at(epoch));
        network.freeze_encoder(frozen);
        self.optimizer.freeze_encoder(frozen);
    }

    pub(super) fn epochs_done(&self) -> usize {
        self.history.len()
    }

    /// Number of steps made since the run started.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn history(&self) -> &[EpochRecord] {
        &self.history
    }

    /// Learning rate of the next step.
    pub(super) fn lr(&self, epoch_steps: usize) -> f64 {
        let epoch_steps = epoch_steps as u64;
        let total_steps = self.job.config.epochs as u64 * epoch_steps;
        self.schedule.lr(Moment {
            step: self.steps,
            epochs_done: self.epochs_done(),
            total_steps,
            epoch_steps,
        })
    }

    /// Seed of the next step's dropout.
    pub(super) fn seed(&self) -> u64 {
        Rng::stream(self.job.seed, self.steps()).next_u64()
    }

    /// The outputs that the loss needs, with or without masks.
    pub(super) fn heads_of(&self, masked: bool) -> Heads {
        let config = self.job.config;
        match (
            config.task().classifies(),
            masked,
            config.map.deep_supervision,
        ) {
            (false, _, false) => Heads::Map,
            (false, _, true) => Heads::Maps,
            (true, false, _) => Heads::Logits,
            (true, true, false) => Heads::LogitsAndMap,
            (true, true, true) => Heads::LogitsAndMaps,
        }
    }

    /// Makes a step with the network's gradients times `scale`.
    pub(super) fn update(
        &mut self,
        network: &mut Network,
        lr: f64,
        scale: f32,
    ) -> Result<(), NetworkError> {
        self.optimizer.step(network, lr, scale)?;
        self.steps += 1;
        if let Some(ema) = &mut self.ema {
            network.read(|store| ema.update(store));
        }
        Ok(())
    }

    /// Counts a step that a device makes.
    pub(super) fn count_step(&mut self) {
        self.steps += 1;
        if let Some(ema) = &mut self.ema {
            ema.count();
        }
    }

    /// Adds an epoch's record; returns whether that epoch is the best so far.
    pub(super) fn end_epoch(&mut self, record: EpochRecord) -> bool {
        self.schedule
            .epoch_end(record.value(&self.schedule.monitor().name));
        self.stopping
            .epoch_end(record.value(&self.stopping.monitor().name));
        let value = record.value(&self.monitor.name).filter(|v| v.is_finite());
        let improved = self
            .best
            .is_none_or(|best| self.monitor.improves(value, best.value, 0.0));
        if improved {
            self.best = Some(Best {
                epoch: record.epoch,
                value,
            });
        }
        self.history.push(record);
        improved
    }

    /// Sets the network's weights to the run's result: those of the best epoch, or of the last.
    pub(super) fn install_result(&self, network: &mut Network) -> Result<(), TrainError> {
        match (self.job.config.restore_best, self.best) {
            (true, Some(best)) => {
                let path = self.job.checkpoints.best();
                let saved = Checkpoint::load(&path)?;
                if saved.meta.epoch != best.epoch || saved.graph != **network.graph() {
                    let problem = format!(
                        "it contains epoch {}, but this run's best epoch is {}",
                        saved.meta.epoch, best.epoch
                    );
                    return Err(TrainError::Resume {
                        path: path.display().to_string(),
                        problem,
                    });
                }
                network.set_store(saved.store);
            }
            _ => self
                .ema
                .iter()
                .for_each(|ema| network.set_store(ema.average().clone())),
        }
        Ok(())
    }

    pub(super) fn into_outcome(self, stopped: Stopped) -> Outcome {
        Outcome {
            best_epoch: self.best.map(|b| b.epoch),
            history: self.history,
            stopped,
        }
    }
}

/// Number of the encoder's values in each trainable group.
fn encoder(
    graph: &Graph,
    store: &ParamStore,
    config: &TrainConfig,
) -> Result<[usize; 2], TrainError> {
    let params = graph.encoder_params();
    if config.freeze.is_some() && params == 0 {
        return Err(TrainError::Config {
            key: "freeze".into(),
            must: "omitted: this network has no encoder that can be frozen",
        });
    }
    if config.optimizer.encoder_lr_scale() != 1.0 && params == 0 {
        return Err(TrainError::Config {
            key: "optimizer.encoder_lr_scale".into(),
            must: "omitted: this network has no encoder",
        });
    }
    let [decayed, plain, _] = store.map().first(params);
    Ok([decayed, plain])
}

/// A process without a chunk would only wait, and a GPU computes a chunk after another.
fn check_processes(network: &Network, job: &Job<'_>) -> Result<(), TrainError> {
    let (processes, chunks) = (job.processes.size(), job.config.chunks);
    if processes > chunks {
        return Err(TrainError::Processes { processes, chunks });
    }
    match job.config.sync_batch_norm && network.resident(|_| ()).is_some() {
        true => Err(TrainError::Config {
            key: "sync_batch_norm".into(),
            must: "false on a GPU",
        }),
        false => Ok(()),
    }
}

fn check_classes(graph: &Graph, job: &Job<'_>) -> Result<(), TrainError> {
    let (classes, config) = (job.meta.classes.len(), job.config);
    let channels = |name| graph.output(name).map(|id| graph.node(id).channels);
    if config.task().classifies() {
        check_scores(channels("logits"), classes)?;
    }
    if let Some(weights) = &job.class_weights {
        same_length("class weights", weights.len(), classes)?;
    }
    if config.map.is_on() {
        check_map(graph, &config.map, channels("map"))?;
    }
    Ok(())
}

fn check_scores(scores: Option<usize>, classes: usize) -> Result<(), TrainError> {
    match scores {
        None => Err(TrainError::Config {
            key: "task".into(),
            must: "\"segment\": this network has no class scores",
        }),
        Some(scores) if scores != classes => Err(TrainError::Classes { scores, classes }),
        Some(_) => Ok(()),
    }
}

/// Checks that the network has a class map with the channels its loss needs. The map's classes need not be the images'
/// classes: masks may have their own.
fn check_map(graph: &Graph, map: &MapObjective, channels: Option<usize>) -> Result<(), TrainError> {
    let refuse = |key: &str, must| {
        Err(TrainError::Config {
            key: key.into(),
            must,
        })
    };
    let Some(channels) = channels else {
        return refuse("map.loss", "\"none\": this network has no class map");
    };
    if map.class.is_some_and(|class| class >= channels) {
        return refuse("map.class", "the number of a class, counted from 0");
    }
    if map.loss.is_multiclass() && channels == 1 {
        return refuse(
            "map.loss",
            "a loss on one class (\"bce\", \"dice\" …): this network's map has one channel",
        );
    }
    if map.deep_supervision && graph.maps().len() < 2 {
        return refuse(
            "map.deep_supervision",
            "false: this network has only one class map",
        );
    }
    Ok(())
}
