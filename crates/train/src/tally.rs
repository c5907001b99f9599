//! Results of a step, running sums over batches, and the position of a batch in the run.

use std::time::Duration;

use super::event::{Batch, BatchEvent, BoxError, Phase, PhaseRecord};
use super::map_dice::ImageDice;
use super::{BatchError, TrainError};
use model::engine::Images;

/// Sums over images, in f64 and in batch order.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) images: usize,
    labelled: usize,
    loss: f64,
    hits: usize,
    map_images: usize,
    map_loss: f64,
    dice: ImageDice,
}

/// Results of a batch: from its labels if they are used, and from its masks if they are used.
#[derive(Clone, Copy, Default)]
pub(super) struct Scores {
    /// Class loss and number of correct predictions.
    pub(super) class: Option<(f32, usize)>,
    pub(super) map_loss: Option<f32>,
    pub(super) dice: ImageDice,
}

/// Position of a batch in the run.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) phase: Phase,
    pub(super) epoch: usize,
    pub(super) batch: usize,
    pub(super) batches: usize,
}

/// A completed step.
pub(super) struct Done {
    pub(super) place: Place,
    pub(super) lr: f64,
    /// Images and results of each chunk of the batch.
    pub(super) chunks: Vec<(usize, Scores)>,
    /// Norm of the gradients before clipping.
    pub(super) norm: f64,
    /// Time spent with other processes.
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

impl Sums {
    /// Adds the results of a batch of `n` images.
    pub(super) fn add(&mut self, n: usize, scores: &Scores) {
        self.images += n;
        if let Some((loss, hits)) = scores.class {
            self.labelled += n;
            self.loss += f64::from(loss) * n as f64;
            self.hits += hits;
        }
        if let Some(loss) = scores.map_loss {
            self.map_images += n;
            self.map_loss += f64::from(loss) * n as f64;
        }
        self.dice.add(scores.dice);
    }

    pub(super) fn means(&self) -> PhaseRecord {
        let map_loss = (self.map_images > 0).then(|| self.map_loss / self.map_images as f64);
        let loss = match self.labelled {
            0 => map_loss.unwrap_or(f64::NAN),
            n => self.loss / n as f64,
        };
        PhaseRecord {
            loss,
            accuracy: self.hits as f64 / self.labelled as f64,
            map_loss,
            dice: self.dice.mean(),
        }
    }

    pub(super) fn event(&self, place: Place, lr: f64) -> BatchEvent {
        let means = self.means();
        let Place {
            phase,
            epoch,
            batch,
            batches,
        } = place;
        BatchEvent {
            phase,
            epoch,
            batch,
            batches,
            images: self.images,
            loss: means.loss,
            accuracy: means.accuracy,
            dice: means.dice,
            lr,
        }
    }
}

impl Place {
    pub(super) fn loaded(self, batch: Result<Batch, BoxError>) -> Result<Batch, TrainError> {
        let Place {
            phase,
            epoch,
            batch: number,
            ..
        } = self;
        batch.map_err(|source| TrainError::Data {
            phase,
            epoch,
            batch: number,
            source,
        })
    }

    /// An error in the batch of this name.
    pub(super) fn error(self, name: &str, source: impl Into<BatchError>) -> TrainError {
        let Place {
            phase,
            epoch,
            batch: number,
            ..
        } = self;
        TrainError::Batch {
            phase,
            epoch,
            batch: number,
            name: name.into(),
            source: Box::new(source.into()),
        }
    }

    pub(super) fn finite(
        self,
        what: &'static str,
        value: f64,
        name: &str,
    ) -> Result<(), TrainError> {
        let Place {
            epoch,
            batch: number,
            ..
        } = self;
        match value.is_finite() {
            true => Ok(()),
            false => Err(TrainError::NotFinite {
                what,
                value,
                epoch,
                batch: number,
                name: name.into(),
            }),
        }
    }
}

pub(super) fn images(batch: &Batch) -> Images<'_> {
    Images {
        data: &batch.images,
        shape: batch.shape,
    }
}

/// Number of rows whose highest score (the first in a tie) is the label's: the correctly classified images.
pub fn hits(logits: &[f32], classes: usize, labels: &[usize]) -> usize {
    let best =
        |row: &[f32]| (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    logits
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| best(row) == **label)
        .count()
}
