//! The training loop, from the first epoch to the end of the run.

use std::time::Instant;

use super::TrainError;
use super::event::{Data, EpochRecord, Observer};
use super::job::{Job, Outcome, Stopped};
use super::run::Run;
use super::together::agree;
use model::network::Network;

/// Trains `network`. Afterwards it has the weights of the best epoch (or of the last, as configured), or its current
/// weights if the run was interrupted.
///
/// At the end of each epoch `best.safetensors` (if the epoch is the best so far) and then `last.safetensors` are
/// written. Killing the process between the two is harmless: the resumed run repeats the epoch and writes the same
/// files again.
///
/// # Errors
/// See [`TrainError`]. The last complete epoch's checkpoint is kept in all cases.
pub fn fit(
    network: &mut Network,
    job: &Job<'_>,
    data: &mut dyn Data,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let mut run = Run::new(network, job, data)?;
    let begun = run.begin(network).map(Some);
    agree(job.processes, begun)?;
    observer.begun(run.history());
    let stopped = epochs(&mut run, network, data, observer);
    network.freeze_encoder(false);
    let stopped = stopped?;
    if stopped != Stopped::Interrupted {
        // Not before rank 0 has written the file that all read.
        agree(job.processes, Ok(Some(())))?;
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
                let improved = run.end_epoch(record);
                if run.job.processes.rank() == 0 {
                    run.save(network, improved)?;
                }
                run.history()
                    .last()
                    .into_iter()
                    .for_each(|record| observer.epoch(record));
            }
            None => return Ok(Stopped::Interrupted),
        }
    }
}

/// Trains and validates for one epoch; `None` if interrupted.
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
    if !run.average(network, data, observer)? {
        return Ok(None);
    }
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
        met: trained.spent.met.as_secs_f64(),
        summed: trained.spent.summed.as_secs_f64(),
    }))
}
