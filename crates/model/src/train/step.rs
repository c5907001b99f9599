//! One pass over the training batches: forward, backward, update.

use dfdx::prelude::{AsArray, Backward, Cpu, Gradients, OwnedTape, PutTape, TryAdd, TryMul};
use dfdx::shapes::HasShape;

use super::clip::{clip_factor, sum_of_squares};
use super::event::{Batch, Data, Observer, Phase};
use super::loss::{Loss, LossError};
use super::run::Run;
use super::tally::{Place, Scores, Sums, hits, images};
use super::{BatchError, TrainError};
use crate::network::{Heads, Network, Taped};
use crate::rng::Rng;
use crate::store::Group;

type Grads = Gradients<f32, Cpu>;

/// What an epoch's training sums up.
#[derive(Default)]
pub(super) struct Trained {
    pub(super) sums: Sums,
    pub(super) steps: usize,
    pub(super) grad_norm_sum: f64,
    pub(super) lr: f64,
}

impl Run<'_> {
    /// Steps through an epoch's batches; `None` if it was interrupted.
    pub(super) fn train(
        &mut self,
        network: &mut Network,
        data: &mut dyn Data,
        observer: &mut dyn Observer,
    ) -> Result<Option<Trained>, TrainError> {
        let epoch = self.epochs_done() + 1;
        let batches = data.train_batches();
        let mut trained = Trained::default();
        for (i, batch) in data.train(epoch).enumerate() {
            if observer.interrupted() {
                return Ok(None);
            }
            let place = Place {
                phase: Phase::Train,
                epoch,
                batch: i + 1,
                batches,
            };
            let batch = place.loaded(batch)?;
            trained.lr = self.lr(batches);
            let (scores, norm) = self.step(network, &batch, trained.lr, place)?;
            trained.sums.add(&batch, &scores);
            trained.steps += 1;
            trained.grad_norm_sum += norm;
            observer.batch(&trained.sums.event(place, trained.lr));
        }
        match trained.steps {
            0 => Err(TrainError::Empty { epoch }),
            _ => Ok(Some(trained)),
        }
    }

    /// Forward, backward, update; the gradients' norm before clipping is returned.
    fn step(
        &mut self,
        network: &mut Network,
        batch: &Batch,
        lr: f64,
        place: Place,
    ) -> Result<(Scores, f64), TrainError> {
        let seed = Rng::new(self.job.seed, self.steps()).next_u64();
        let masked = self.job.config.wants_masks() && batch.masks.is_some();
        let heads = if masked {
            Heads::LogitsAndMap
        } else {
            Heads::Logits
        };
        let taped = network
            .forward(images(batch), seed, heads)
            .map_err(|e| place.error(batch, e))?;
        let (scores, loss) = self.loss(taped, batch).map_err(|e| place.error(batch, e))?;
        place.finite("loss", loss.array().into(), batch)?;
        let mut grads = loss
            .try_backward()
            .map_err(|e| place.error(batch, LossError::from(e)))?;
        let norm = gradient_norm(network, &mut grads).map_err(|e| place.error(batch, e))?;
        place.finite("norm of the gradient", norm, batch)?;
        if let Some(factor) = clip_factor(norm, self.job.config.clip_norm) {
            scale(network, &mut grads, factor).map_err(|e| place.error(batch, e))?;
        }
        self.update(network, &mut grads, lr)
            .map_err(|e| place.error(batch, e))?;
        Ok((scores, norm))
    }

    /// Class loss plus weighted map loss.
    fn loss(
        &self,
        taped: Taped,
        batch: &Batch,
    ) -> Result<(Scores, Loss<OwnedTape<f32, Cpu>>), LossError> {
        let hits = hits(
            &taped.logits.as_vec(),
            taped.logits.shape().1,
            &batch.labels,
        );
        let loss = self
            .objective
            .loss(taped.logits.put_tape(taped.tape), &batch.labels)?;
        let mut scores = Scores {
            loss: loss.array(),
            hits,
            map_loss: None,
        };
        let map = &self.job.config.map;
        let (Some(values), Some(masks)) = (taped.map, &batch.masks) else {
            return Ok((scores, loss));
        };
        let Some(map_loss) = map.loss(values.put_tape(OwnedTape::default()), masks)? else {
            return Ok((scores, loss));
        };
        scores.map_loss = Some(map_loss.array());
        let loss = loss.try_add(map_loss.try_mul(map.weight)?)?;
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
