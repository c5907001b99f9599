//! One pass over the training batches: forward, backward and update, on the host with dfdx or on a device that makes
//! whole training steps.

use std::time::{Duration, Instant};

use dfdx::prelude::{AsArray, Backward, Cpu, Gradients, OwnedTape, PutTape, TryAdd, TryMul};
use dfdx::shapes::HasShape;

use super::chunks::Share;
use super::clip::{clip_factor, sum_of_squares};
use super::event::{Batch, Batches, BoxError, Data, Observer, Phase};
use super::loss::{Loss, LossError};
use super::on_device::OnDevice;
use super::run::Run;
use super::tally::{Done, Place, Scores, Sums, hits, images};
use super::{BatchError, TrainError};
use model::network::{Heads, Network, Taped};
use model::store::Group;

/// The gradients of all parameters, as dfdx keeps them.
pub(super) type Grads = Gradients<f32, Cpu>;
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
    /// Time spent with other processes.
    pub(super) spent: Spent,
}

/// Results and gradients of one pass.
pub(super) struct Passed {
    pub(super) scores: Scores,
    pub(super) grads: Grads,
}

/// Results of a step's chunks, and the gradients of the batch.
pub(super) struct Local {
    pub(super) chunks: Vec<(usize, Scores)>,
    pub(super) grads: Grads,
    pub(super) spent: Spent,
}

/// Time that a step in chunks spends on anything but its chunks.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    /// Until all processes have computed theirs.
    pub(super) met: Duration,
    /// Adding up what they computed.
    pub(super) summed: Duration,
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
        let chunks: Vec<_> = (0..batches).map(|batch| data.chunks(batch)).collect();
        let (mut trained, mut interrupted) = (Trained::default(), false);
        let mut queue = data.train(epoch);
        for (i, chunks) in chunks.iter().enumerate() {
            let place = Place {
                phase: Phase::Train,
                epoch,
                batch: i + 1,
                batches,
            };
            let lr = self.lr(batches);
            let share = trained.waiting(|| share(chunks, &mut queue, place, observer));
            let done = match &mut device {
                Some(device) => match whole(share?) {
                    Some(batch) => Some(device.step(self, network, &batch, lr, place)?),
                    None => None,
                },
                None => self.step(network, share, lr, place)?.map(Some),
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
        share: Result<Option<Share>, TrainError>,
        lr: f64,
        place: Place,
    ) -> Result<Option<Done>, TrainError> {
        let name = match &share {
            Ok(Some(share)) => names(share),
            _ => String::new(),
        };
        let local = match self.in_chunks() {
            true => self.together(network, share, place)?,
            false => match whole(share?) {
                Some(batch) => Some(self.alone(network, &batch, place)?),
                None => None,
            },
        };
        let Some(local) = local else {
            return Ok(None);
        };
        let Local {
            chunks,
            mut grads,
            spent,
        } = local;
        let norm = gradient_norm(network, &mut grads).map_err(|e| place.error(&name, e))?;
        place.finite("norm of the gradient", norm, &name)?;
        if let Some(factor) = clip_factor(norm, self.job.config.clip_norm) {
            scale(network, &mut grads, factor).map_err(|e| place.error(&name, e))?;
        }
        self.update(network, &mut grads, lr)
            .map_err(|e| place.error(&name, e))?;
        Ok(Some(Done {
            place,
            lr,
            chunks,
            norm,
            spent,
        }))
    }

    /// The gradients of a whole batch.
    fn alone(&self, network: &Network, batch: &Batch, place: Place) -> Result<Local, TrainError> {
        let Passed { scores, grads } = self.passed(network, batch, self.seed(), place)?;
        let chunks = vec![(batch.shape.n, scores)];
        Ok(Local {
            chunks,
            grads,
            spent: Spent::default(),
        })
    }

    /// Forward and backward of a batch or a chunk of one.
    pub(super) fn passed(
        &self,
        network: &Network,
        batch: &Batch,
        seed: u64,
        place: Place,
    ) -> Result<Passed, TrainError> {
        let (heads, name) = (self.heads(batch), &batch.name);
        let taped = network
            .forward(images(batch), seed, heads)
            .map_err(|e| place.error(name, e))?;
        let (scores, loss) = self.loss(taped, batch).map_err(|e| place.error(name, e))?;
        place.finite("loss", loss.array().into(), name)?;
        let grads = loss
            .try_backward()
            .map_err(|e| place.error(name, LossError::from(e)))?;
        Ok(Passed { scores, grads })
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

/// This process's chunks of the next batch; `None` if interrupted.
pub(super) fn share(
    chunks: &[usize],
    queue: &mut Batches<'_>,
    place: Place,
    observer: &dyn Observer,
) -> Result<Option<Share>, TrainError> {
    let mut share = Share::with_capacity(chunks.len());
    for chunk in chunks {
        let Some(batch) = queue.next() else {
            let missing = BoxError::from("the data end before the epoch does");
            return place.loaded(Err(missing)).map(|_| None);
        };
        share.push((*chunk, place.loaded(batch)?));
    }
    Ok((!observer.interrupted()).then_some(share))
}

/// The only chunk of a batch that is not cut.
fn whole(share: Option<Share>) -> Option<Batch> {
    share?.pop().map(|(_, batch)| batch)
}

fn names(share: &Share) -> String {
    let names: Vec<&str> = share.iter().map(|(_, batch)| batch.name.as_str()).collect();
    names.join(", ")
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
