//! Stochastic weight averaging (Izmailov 2018; PyTorch's `AveragedModel`): the equal average of the weights at the ends
//! of a run's last epochs.

use serde::{Deserialize, Serialize};

use model::store::{Group, ParamStore};

/// `[train.swa]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwaConfig {
    /// Number of epochs, the last ones of the run, at whose ends the weights enter the average.
    pub epochs: usize,
}

impl SwaConfig {
    /// Whether the weights at the end of `epoch`, of `epochs`, enter the average.
    pub fn covers(self, epoch: usize, epochs: usize) -> bool {
        epoch + self.epochs > epochs
    }
}

/// The average of the trainable values so far.
#[derive(Clone, Debug)]
pub struct Swa {
    count: u64,
    average: ParamStore,
}

impl Swa {
    /// The average of nothing yet, in the layout of `values`.
    pub fn new(values: &ParamStore) -> Self {
        Swa::resumed(0, ParamStore::zeros(values.map().clone()))
    }

    /// Resumes from a checkpoint.
    pub fn resumed(count: u64, average: ParamStore) -> Self {
        Swa { count, average }
    }

    /// Adds weights to the average.
    pub fn add(&mut self, values: &ParamStore) {
        self.count += 1;
        let share = 1.0 / self.count as f32;
        for group in Group::TRAINABLE {
            self.average.move_towards(values, group, share);
        }
    }

    /// Number of weights in the average.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The average; its running statistics are zeros.
    pub fn average(&self) -> &ParamStore {
        &self.average
    }
}
