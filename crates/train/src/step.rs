//! One pass over the training batches: forward, backward and update, on the host with dfdx or on a device that makes
//! whole training steps.

use std::time::{Duration, Instant};

use dfdx::prelude::{AsArray, Backward, Cpu, Gradients, OwnedTape, PutTape, TryAdd, TryMul};
use dfdx::shapes::HasShape;

use super::clip::{clip_factor, sum_of_squares};
use super::event::{Batch, Data, Observer, Phase};
use super::loss::{Loss, LossError};
use super::on_device::OnDevice;
use super::run::Run;
use super::tally::{Done, Place, Scores, Sums, hits, images};
use super::{BatchError, TrainError};
use model::network::{Heads, Network, Taped};
use model::store::Group;

type Grads = Gradients<f32, Cpu>;
type TapedLoss = Loss<OwnedTape<f32, Cpu>>;

/// Totals of an epoch's training.
#[derive(Default)]
pub(super) struct Trained {
    pub(super) sums: Sums,
    pub(super) steps: usize,
    pub(super) grad_norm_sum: f64,
    pub(super) lr: f64,
    /// Time spent waiting for batches that were not ready.
    pub(super) waited: Duration,
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
        self.sums.add(done.images, &done.scores);
        self.steps += 1;
        self.grad_norm_sum += done.norm;
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
        let (mut trained, mut interrupted) = (Trained::default(), false);
        let mut queue = data.train(epoch).enumerate();
        while let Some((i, batch)) = trained.waiting(|| queue.next()) {
            interrupted = observer.interrupted();
            if interrupted {
                break;
            }
            let place = Place {
                phase: Phase::Train,
                epoch,
                batch: i + 1,
                batches,
            };
            let batch = place.loaded(batch)?;
            let lr = self.lr(batches);
            let done = match &mut device {
                Some(device) => device.step(self, network, &batch, lr, place)?,
                None => Some(self.step(network, &batch, lr, place)?),
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

    /// Makes one step on the host: forward, backward, update.
    fn step(
        &mut self,
        network: &mut Network,
        batch: &Batch,
        lr: f64,
        place: Place,
    ) -> Result<Done, TrainError> {
        let (heads, name) = (self.heads(batch), &batch.name);
        let taped = network
            .forward(images(batch), self.seed(), heads)
            .map_err(|e| place.error(name, e))?;
        let (scores, loss) = self.loss(taped, batch).map_err(|e| place.error(name, e))?;
        place.finite("loss", loss.array().into(), name)?;
        let mut grads = loss
            .try_backward()
            .map_err(|e| place.error(name, LossError::from(e)))?;
        let norm = gradient_norm(network, &mut grads).map_err(|e| place.error(name, e))?;
        place.finite("norm of the gradient", norm, name)?;
        if let Some(factor) = clip_factor(norm, self.job.config.clip_norm) {
            scale(network, &mut grads, factor).map_err(|e| place.error(name, e))?;
        }
        self.update(network, &mut grads, lr)
            .map_err(|e| place.error(name, e))?;
        Ok(Done {
            place,
            images: batch.shape.n,
            lr,
            scores,
            norm,
        })
    }

    /// The outputs that the batch's loss needs.
    fn heads(&self, batch: &Batch) -> Heads {
        self.heads_of(self.job.config.wants_masks() && batch.masks.is_some())
    }

    /// The class loss, the map loss, or the class loss plus the weighted map loss.
    fn loss(&self, taped: Taped, batch: &Batch) -> Result<(Scores, TapedLoss), LossError> {
        let Taped { logits, maps, tape } = taped;
        let mut tape = Some(tape); // for the first output; the others join it where losses are summed
        let mut scores = Scores::default();
        let mut loss = None;
        if let Some(logits) = logits {
            let targets = batch.targets();
            let hits = hits(&logits.as_vec(), logits.shape().1, targets.dominant());
            let logits = logits.put_tape(tape.take().unwrap_or_default());
            let class_loss = self.objective.loss(logits, targets)?;
            scores.class = Some((class_loss.array(), hits));
            loss = Some(class_loss);
        }
        let maps = maps
            .into_iter()
            .map(|map| map.put_tape(tape.take().unwrap_or_default()))
            .collect();
        let map_loss = match batch.masks() {
            Some(masks) => self.job.config.map.mean_loss(maps, &masks)?,
            None => None,
        };
        scores.map_loss = map_loss.as_ref().map(|loss| loss.array());
        let loss = match (loss, map_loss) {
            (Some(loss), Some(map)) => loss.try_add(map.try_mul(self.job.config.map.weight)?)?,
            (Some(loss), None) | (None, Some(loss)) => loss,
            (None, None) => return Err(LossError::NoTruth),
        };
        Ok((scores, loss))
    }
}

fn gradient_norm(network: &Network, grads: &mut Grads) -> Result<f64, BatchError> {
    let mut squares = 0.0;
    for group in Group::TRAINABLE {
        squares += sum_of_squares(network.gradient(grads, group)?);
    }
    Ok(squares.sqrt())
}

fn scale(network: &Network, grads: &mut Grads, factor: f32) -> Result<(), BatchError> {
    for group in Group::TRAINABLE {
        network
            .gradient(grads, group)?
            .iter_mut()
            .for_each(|g| *g *= factor);
    }
    Ok(())
}
