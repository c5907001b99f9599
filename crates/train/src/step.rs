//! One pass over the training batches: forward, backward and update, on the host or on a device that makes
//! whole training steps.

use std::time::{Duration, Instant};

use super::TrainError;
use super::clip::{clip_factor, norm};
use super::event::{Batch, Data, Observer, Phase};
use super::on_device::OnDevice;
use super::pass::Local;
use super::run::Run;
use super::share::{Share, names, share, whole};
use super::tally::{Done, Place, Spent, Sums};
use model::network::Network;

/// Totals of an epoch's training.
#[derive(Default)]
pub(super) struct Trained {
    pub(super) sums: Sums,
    pub(super) steps: usize,
    pub(super) grad_norm_sum: f64,
    pub(super) lr: f64,
    /// Time spent waiting for batches that were not ready.
    pub(super) waited: Duration,
    /// Time spent with other processes.
    pub(super) spent: Spent,
}

impl Trained {
    /// Adds the duration of `next` to the waiting time.
    fn waiting<T>(&mut self, next: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let next = next();
        self.waited += start.elapsed();
        next
    }

    fn add(&mut self, done: &Done, observer: &mut dyn Observer) {
        self.lr = done.lr;
        for (images, scores) in &done.chunks {
            self.sums.add(*images, scores);
        }
        self.steps += 1;
        self.grad_norm_sum += done.norm;
        self.spent.met += done.spent.met;
        self.spent.summed += done.spent.summed;
        observer.batch(&self.sums.event(done.place, done.lr));
    }
}

impl Run<'_> {
    /// Trains on an epoch's batches; `None` if interrupted.
    pub(super) fn train(
        &mut self,
        network: &mut Network,
        data: &mut dyn Data,
        observer: &mut dyn Observer,
    ) -> Result<Option<Trained>, TrainError> {
        let epoch = self.epochs_done() + 1;
        self.freeze(network, epoch);
        let mut device = OnDevice::new(self, network)?;
        let trained = match self.steps_of(epoch, network, data, observer, device.as_mut()) {
            Ok(trained) => trained,
            Err(error) => {
                network.resident(|resident| resident.abandon());
                return Err(error);
            }
        };
        match trained {
            Some(Trained { steps: 0, .. }) => Err(TrainError::Empty { epoch }),
            trained => Ok(trained),
        }
    }

    fn steps_of(
        &mut self,
        epoch: usize,
        network: &mut Network,
        data: &mut dyn Data,
        observer: &mut dyn Observer,
        mut device: Option<&mut OnDevice>,
    ) -> Result<Option<Trained>, TrainError> {
        let batches = data.train_batches();
        let images: Vec<_> = (0..batches).map(|batch| data.train_images(batch)).collect();
        let (mut trained, mut interrupted) = (Trained::default(), false);
        let mut queue = data.train(epoch);
        for (i, images) in images.into_iter().enumerate() {
            let place = Place {
                phase: Phase::Train,
                epoch,
                batch: i + 1,
                batches,
            };
            let lr = self.lr(batches);
            let chunks = self.own_chunks(images);
            let share = trained.waiting(|| share(&chunks, &mut queue, place, observer));
            let done = match &mut device {
                Some(device) => match whole(share?) {
                    Some(batch) => Some(device.step(self, network, &batch, lr, place)?),
                    None => None,
                },
                None => self.step(network, images, share, lr, place)?.map(Some),
            };
            let Some(done) = done else {
                interrupted = true;
                break;
            };
            done.iter().for_each(|done| trained.add(done, observer));
        }
        if let Some(device) = device {
            let done = device.wait(network)?;
            done.iter().for_each(|done| trained.add(done, observer));
            device.end(self, network)?;
        }
        Ok((!interrupted).then_some(trained))
    }

    /// Makes one step on the host: forward, backward, update. `None` if interrupted.
    fn step(
        &mut self,
        network: &mut Network,
        images: usize,
        share: Result<Option<Share>, TrainError>,
        lr: f64,
        place: Place,
    ) -> Result<Option<Done>, TrainError> {
        let name = match &share {
            Ok(Some(share)) => names(share),
            _ => String::new(),
        };
        let local = match self.in_chunks() {
            true => self.together(network, images, share, place)?,
            false => match whole(share?) {
                Some(batch) => Some(self.alone(network, &batch, place)?),
                None => None,
            },
        };
        let Some(local) = local else {
            return Ok(None);
        };
        let norm = network.gradients().map(|gradients| norm(&gradients));
        let norm = norm.map_err(|e| place.error(&name, e))?;
        place.finite("norm of the gradient", norm, &name)?;
        let scale = clip_factor(norm, self.job.config.clip_norm).unwrap_or(1.0);
        self.update(network, lr, scale)
            .map_err(|e| place.error(&name, e))?;
        let Local { chunks, spent } = local;
        Ok(Some(Done {
            place,
            lr,
            chunks,
            norm,
            spent,
        }))
    }

    /// Forward and backward of a whole batch.
    fn alone(&self, network: &Network, batch: &Batch, place: Place) -> Result<Local, TrainError> {
        let scores = self.passed(network, batch, self.seed(), place)?;
        Ok(Local {
            chunks: vec![(batch.shape.n, scores)],
            spent: Spent::default(),
        })
    }
}
