//! The learning rate over time.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::monitor::{Mode, Monitor};

/// `[train.schedule]`: `name = "reduce_on_plateau" | "cosine" | "step" | "constant"` and the settings of that schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ScheduleConfig {
    /// Reduces the learning rate when the monitored quantity stops improving (Keras' `ReduceLROnPlateau`).
    ReduceOnPlateau(Plateau),
    /// Linear warm-up, then half a cosine down to `min_lr`, updated every step (Loshchilov and Hutter 2017).
    Cosine(Cosine),
    /// Multiplies the learning rate by a factor every `every` epochs.
    Step(StepDecay),
    /// The optimizer's learning rate throughout.
    Constant(Constant),
}

/// Settings of [`ScheduleConfig::ReduceOnPlateau`], with the same meaning as in Keras.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plateau {
    /// Monitored quantity; if omitted, that of `[train]`.
    pub monitor: Option<String>,
    /// Direction: `auto`, `min`, `max`. Default `auto`.
    pub mode: Mode,
    /// Factor by which the learning rate is multiplied. Default 0.2.
    pub factor: f64,
    /// Number of consecutive epochs without improvement before a reduction. Default 2.
    pub patience: usize,
    /// Improvements up to this size do not count. Default 1e-4.
    pub min_delta: f64,
    /// Number of epochs after a reduction that do not count. Default 0.
    pub cooldown: usize,
    /// Lower bound of the learning rate. Default 1e-6.
    pub min_lr: f64,
}

/// Settings of [`ScheduleConfig::Cosine`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cosine {
    /// Length of the warm-up in epochs; fractions are allowed. Default 0.
    pub warmup_epochs: f64,
    /// Learning rate at the end. Default 0.
    pub min_lr: f64,
}

/// Settings of [`ScheduleConfig::Step`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepDecay {
    /// Epochs between reductions. Default 10.
    pub every: usize,
    /// Factor by which the learning rate is multiplied. Default 0.1.
    pub factor: f64,
}

/// [`ScheduleConfig::Constant`] has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig::ReduceOnPlateau(Plateau::default())
    }
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau {
            monitor: None,
            mode: Mode::Auto,
            factor: 0.2,
            patience: 2,
            min_delta: 1e-4,
            cooldown: 0,
            min_lr: 1e-6,
        }
    }
}

impl Default for Cosine {
    fn default() -> Self {
        Cosine {
            warmup_epochs: 0.0,
            min_lr: 0.0,
        }
    }
}

impl Default for StepDecay {
    fn default() -> Self {
        StepDecay {
            every: 10,
            factor: 0.1,
        }
    }
}

impl ScheduleConfig {
    /// The first setting with an invalid value: its key, and what the value must be.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let shrinks = |f: f64| f > 0.0 && f < 1.0;
        let rate = |lr: f64| lr.is_finite() && lr >= 0.0;
        let checks = match self {
            ScheduleConfig::ReduceOnPlateau(c) => vec![
                (shrinks(c.factor), "factor", "more than 0 and less than 1"),
                (c.patience > 0, "patience", "at least 1"),
                (rate(c.min_lr), "min_lr", "0 or a positive number"),
                (rate(c.min_delta), "min_delta", "0 or a positive number"),
            ],
            ScheduleConfig::Cosine(c) => vec![
                (
                    rate(c.warmup_epochs),
                    "warmup_epochs",
                    "0 or a positive number",
                ),
                (rate(c.min_lr), "min_lr", "0 or a positive number"),
            ],
            ScheduleConfig::Step(c) => vec![
                (c.every > 0, "every", "at least 1"),
                (
                    c.factor > 0.0 && c.factor <= 1.0,
                    "factor",
                    "more than 0 and at most 1",
                ),
            ],
            ScheduleConfig::Constant(_) => vec![],
        };
        checks
            .into_iter()
            .find(|(good, ..)| !good)
            .map(|(_, key, must)| (key, must))
    }
}

/// Position in a run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Number of steps made since the run started.
    pub step: u64,
    /// Number of completed epochs.
    pub epochs_done: usize,
    /// Number of steps in the whole run.
    pub total_steps: u64,
    /// Number of steps per epoch.
    pub epoch_steps: u64,
}

/// A schedule in progress.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    base_lr: f64,
    monitor: Monitor,
    state: PlateauState,
}

/// State of a plateau schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlateauState {
    /// The current learning rate, once it has been reduced.
    lr: Option<f64>,
    best: Option<f64>,
    wait: usize,
    cooldown: usize,
}

impl Schedule {
    /// Creates a schedule in its initial state.
    pub fn new(config: ScheduleConfig, base_lr: f64, monitor: Monitor) -> Self {
        Schedule {
            config,
            base_lr,
            monitor,
            state: PlateauState::default(),
        }
    }

    /// The learning rate of the next step.
    pub fn lr(&self, now: Moment) -> f64 {
        match &self.config {
            ScheduleConfig::Constant(_) => self.base_lr,
            ScheduleConfig::ReduceOnPlateau(_) => self.state.lr.unwrap_or(self.base_lr),
            ScheduleConfig::Step(c) => {
                let times = i32::try_from(now.epochs_done / c.every).unwrap_or(i32::MAX);
                self.base_lr * c.factor.powi(times)
            }
            ScheduleConfig::Cosine(c) => cosine(c, self.base_lr, now),
        }
    }

    /// The quantity that [`Schedule::epoch_end`] takes.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Updates the schedule with the monitored value of an epoch that has ended (Keras'
    /// `ReduceLROnPlateau.on_epoch_end`).
    pub fn epoch_end(&mut self, value: Option<f64>) {
        let ScheduleConfig::ReduceOnPlateau(c) = &self.config else {
            return;
        };
        let state = &mut self.state;
        if state.cooldown > 0 {
            state.cooldown -= 1;
            state.wait = 0;
        }
        if self.monitor.improves(value, state.best, c.min_delta) {
            state.best = value;
            state.wait = 0;
        } else if state.cooldown == 0 {
            state.wait += 1;
            let lr = state.lr.unwrap_or(self.base_lr);
            if state.wait >= c.patience && lr > c.min_lr {
                state.lr = Some((lr * c.factor).max(c.min_lr));
                state.cooldown = c.cooldown;
                state.wait = 0;
            }
        }
    }

    /// The state to save in a checkpoint.
    pub fn state(&self) -> &PlateauState {
        &self.state
    }

    /// Resumes from a checkpoint's state.
    pub fn restore(&mut self, state: PlateauState) {
        self.state = state;
    }
}

/// Warm-up reaches the full learning rate at its last step; the cosine's last step comes just before `min_lr`.
fn cosine(c: &Cosine, base_lr: f64, now: Moment) -> f64 {
    let warmup = (c.warmup_epochs * now.epoch_steps as f64).round();
    let step = now.step as f64;
    if step < warmup {
        return base_lr * (step + 1.0) / warmup;
    }
    let rest = (now.total_steps as f64 - warmup).max(1.0);
    let done = ((step - warmup) / rest).min(1.0);
    c.min_lr + (base_lr - c.min_lr) * 0.5 * (1.0 + (PI * done).cos())
}
