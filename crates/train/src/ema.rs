//! Moving average of the weights (Polyak 1992), which generalizes better than the weights of the last step.

use model::store::{Group, ParamStore};

/// The moving average of all values, including running statistics.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    updates: u64,
    average: ParamStore,
}

impl Ema {
    /// Starts from the current values.
    pub fn new(decay: f64, start: ParamStore) -> Self {
        Ema::resumed(decay, 0, start)
    }

    /// Resumes from a checkpoint.
    pub fn resumed(decay: f64, updates: u64, average: ParamStore) -> Self {
        Ema {
            decay,
            updates,
            average,
        }
    }

    /// Weight of the new values in the next update: `average += share · (value − average)`. The decay warms up as
    /// `min(decay, (1 + t) / (10 + t))` after `t` updates (TensorFlow's `ExponentialMovingAverage`), so that the random
    /// initial weights are forgotten quickly.
    pub fn share(&self) -> f32 {
        let t = self.updates as f64;
        (1.0 - self.decay.min((1.0 + t) / (10.0 + t))) as f32
    }

    /// Updates the average with the values after a step.
    pub fn update(&mut self, values: &ParamStore) {
        let share = self.share();
        for group in Group::ALL {
            self.average.move_towards(values, group, share);
        }
        self.updates += 1;
    }

    /// Counts an update made on a device; the resulting average is set with [`Ema::set_average`].
    pub fn count(&mut self) {
        self.updates += 1;
    }

    /// Replaces the average with one computed on a device.
    pub fn set_average(&mut self, average: ParamStore) {
        self.average = average;
    }

    /// The average.
    pub fn average(&self) -> &ParamStore {
        &self.average
    }

    /// Number of updates made.
    pub fn updates(&self) -> u64 {
        self.updates
    }
}
