//! Forward and backward of a batch, or of a chunk of one, on the host.

use dfdx::prelude::{AsArray, Backward, Cpu, OwnedTape, PutTape, TryAdd, TryMul};
use dfdx::shapes::HasShape;

use super::TrainError;
use super::event::Batch;
use super::loss::{Loss, LossError};
use super::run::Run;
use super::tally::{Place, Scores, Spent, hits, images};
use model::network::{Heads, Network, Taped};

type TapedLoss = Loss<OwnedTape<f32, Cpu>>;

/// Results of a step's chunks, whose gradients the network has.
pub(super) struct Local {
    pub(super) chunks: Vec<(usize, Scores)>,
    pub(super) spent: Spent,
}

impl Run<'_> {
    /// Forward and backward of a batch or a chunk of one; the network has the gradients afterwards.
    pub(super) fn passed(
        &self,
        network: &Network,
        batch: &Batch,
        seed: u64,
        place: Place,
    ) -> Result<Scores, TrainError> {
        let (heads, name) = (self.heads(batch), &batch.name);
        let taped = network
            .forward(images(batch), seed, heads)
            .map_err(|e| place.error(name, e))?;
        self.went_back(taped, batch, None, place)
    }

    /// The loss of a forward pass, and the backward pass from it, times a weight if there is one.
    pub(super) fn went_back(
        &self,
        taped: Taped,
        batch: &Batch,
        weight: Option<f32>,
        place: Place,
    ) -> Result<Scores, TrainError> {
        let name = &batch.name;
        let error = |e: LossError| place.error(name, e);
        let (scores, loss) = self.loss(taped, batch).map_err(error)?;
        place.finite("loss", loss.array().into(), name)?;
        let loss = match weight {
            Some(weight) => loss.try_mul(weight).map_err(|e| error(e.into()))?,
            None => loss,
        };
        loss.try_backward().map_err(|e| error(e.into()))?;
        Ok(scores)
    }

    /// The outputs that the batch's loss needs.
    pub(super) fn heads(&self, batch: &Batch) -> Heads {
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
