//! Early stopping (Keras' `EarlyStopping`).

use serde::{Deserialize, Serialize};

use super::monitor::{Mode, Monitor};

/// `[train.early_stopping]`: ends a run that no longer improves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoppingConfig {
    /// Whether to stop early at all. Default true.
    pub enabled: bool,
    /// Monitored quantity; if omitted, that of `[train]`.
    pub monitor: Option<String>,
    /// Direction: `auto`, `min`, `max`. Default `auto`.
    pub mode: Mode,
    /// Number of consecutive epochs without improvement after which the run ends. Default 4: the Eff-UNet paper's run
    /// stopped after epoch 8, with epoch 4 the best.
    pub patience: usize,
    /// Improvements up to this size do not count. Default 0.
    pub min_delta: f64,
}

impl Default for StoppingConfig {
    fn default() -> Self {
        StoppingConfig {
            enabled: true,
            monitor: None,
            mode: Mode::Auto,
            patience: 4,
            min_delta: 0.0,
        }
    }
}

/// Early stopping in progress.
#[derive(Clone, Debug)]
pub struct Stopping {
    config: StoppingConfig,
    monitor: Monitor,
    state: StoppingState,
}

/// State of early stopping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoppingState {
    best: Option<f64>,
    wait: usize,
}

impl Stopping {
    /// Creates early stopping in its initial state.
    pub fn new(config: StoppingConfig, monitor: Monitor) -> Self {
        Stopping {
            config,
            monitor,
            state: StoppingState::default(),
        }
    }

    /// The quantity that [`Stopping::epoch_end`] takes.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Updates the state with the monitored value of an epoch that has ended.
    pub fn epoch_end(&mut self, value: Option<f64>) {
        if self
            .monitor
            .improves(value, self.state.best, self.config.min_delta)
        {
            self.state = StoppingState {
                best: value,
                wait: 0,
            };
        } else {
            self.state.wait += 1;
        }
    }

    /// Whether the run is over.
    pub fn is_over(&self) -> bool {
        self.config.enabled && self.state.wait >= self.config.patience
    }

    /// The state to save in a checkpoint.
    pub fn state(&self) -> &StoppingState {
        &self.state
    }

    /// Resumes from a checkpoint's state.
    pub fn restore(&mut self, state: StoppingState) {
        self.state = state;
    }
}
