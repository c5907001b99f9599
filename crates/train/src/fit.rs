//! The run from its first epoch to its end.

use std::time::Instant;

use super::event::{Data, EpochRecord, Metric, Observer};
use super::run::Run;
use super::{TrainConfig, TrainError};
use formats::checkpoint::{CheckpointDir, Meta};
use model::network::Network;

/// What a run is to do.
#[derive(Clone)]
pub struct Job<'a> {
    /// Settings.
    pub config: &'a TrainConfig,
    /// Where dropout and drop path are drawn from.
    pub seed: u64,
    /// One factor a class ([`ClassWeights::resolve`](super::loss::ClassWeights::resolve)); `None` for all alike.
    pub class_weights: Option<Vec<f32>>,
    /// Figures computed on the validation images besides loss and accuracy.
    pub metrics: &'a [Metric<'a>],
    /// Classes and preprocessing, which checkpoints carry; epoch and figures are filled in.
    pub meta: &'a Meta,
    /// Where checkpoints go.
    pub checkpoints: &'a CheckpointDir,
    /// Go on from the last checkpoint if there is one; else begin anew, and remove what lies there.
    pub resume: bool,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// All epochs, those before a resume included.
    pub history: Vec<EpochRecord>,
    /// The epoch in `best.safetensors`, from 1; `None` before the first is complete.
    pub best_epoch: Option<usize>,
    /// Why it ended.
    pub stopped: Stopped,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All epochs done.
    Completed,
    /// No improvement for too long.
    EarlyStopped,
    /// The observer asked; the last complete epoch's checkpoint is kept.
    Interrupted,
}

/// Trains `network`, which afterwards has the weights of the best epoch (or the last's, as configured), or those of
/// the moment if the run was interrupted.
///
/// At each epoch's end `best.safetensors` (if it is the best) and then `last.safetensors` are written; a kill between
/// the two is harmless, since the resumed run repeats the epoch and writes the same again.
///
/// # Errors
/// See [`TrainError`]. The last complete epoch's checkpoint stays in all cases.
pub fn fit(
    network: &mut Network,
    job: &Job<'_>,
    data: &mut dyn Data,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let mut run = Run::new(network, job, data)?;
    let stopped = epochs(&mut run, network, data, observer)?;
    if stopped != Stopped::Interrupted {
        run.install_result(network)?;
    }
    Ok(run.into_outcome(stopped))
}

fn epochs(
    run: &mut Run<'_>,
    network: &mut Network,
    data: &mut dyn Data,
    observer: &mut dyn Observer,
) -> Result<Stopped, TrainError> {
    loop {
        if run.stopping.is_over() {
            return Ok(Stopped::EarlyStopped);
        }
        if run.epochs_done() >= run.job.config.epochs {
            return Ok(Stopped::Completed);
        }
        match epoch(run, network, data, observer)? {
            Some(record) => {
                run.end_epoch(network, record)?;
                run.history()
                    .last()
                    .into_iter()
                    .for_each(|record| observer.epoch(record));
            }
            None => return Ok(Stopped::Interrupted),
        }
    }
}

/// Trains and validates once; `None` if it was interrupted.
fn epoch(
    run: &mut Run<'_>,
    network: &mut Network,
    data: &mut dyn Data,
    observer: &mut dyn Observer,
) -> Result<Option<EpochRecord>, TrainError> {
    let start = Instant::now();
    let Some(trained) = run.train(network, data, observer)? else {
        return Ok(None);
    };
    let train_seconds = start.elapsed().as_secs_f64();
    let Some((validation, metrics)) = run.validate(network, data, observer)? else {
        return Ok(None);
    };
    Ok(Some(EpochRecord {
        epoch: run.epochs_done() + 1,
        lr: trained.lr,
        train: trained.sums.means(),
        validation,
        metrics,
        grad_norm: trained.grad_norm_sum / trained.steps as f64,
        seconds: start.elapsed().as_secs_f64(),
        images_per_second: trained.sums.images as f64 / train_seconds.max(1e-9),
        waited: trained.waited.as_secs_f64(),
    }))
}
