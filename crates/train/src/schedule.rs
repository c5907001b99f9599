//! The learning rate over time.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::monitor::{Mode, Monitor};

/// `[train.schedule]`: `name = "reduce_on_plateau" | "cosine" | "step" | "constant"` and that one's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ScheduleConfig {
    /// Lower when the monitored figure no longer improves (Keras' `ReduceLROnPlateau`).
    ReduceOnPlateau(Plateau),
    /// Linear warm-up, then half a cosine down to `min_lr`, step by step (Loshchilov and Hutter 2017).
    Cosine(Cosine),
    /// A factor every so many epochs.
    Step(StepDecay),
    /// The optimizer's rate throughout.
    Constant(Constant),
}

/// Settings of [`ScheduleConfig::ReduceOnPlateau`], with Keras' meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plateau {
    /// Figure watched; that of `[train]` if left out.
    pub monitor: Option<String>,
    /// Direction: `auto`, `min`, `max`. Default `auto`.
    pub mode: Mode,
    /// What the rate is multiplied by. Default 0.2.
    pub factor: f64,
    /// Epochs in a row without improvement before it is. Default 2.
    pub patience: usize,
    /// Improvements up to this do not count. Default 1e-4.
    pub min_delta: f64,
    /// Epochs after a reduction that do not count. Default 0.
    pub cooldown: usize,
    /// The rate never falls below this. Default 1e-6.
    pub min_lr: f64,
}

/// Settings of [`ScheduleConfig::Cosine`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cosine {
    /// Length of the warm-up in epochs; fractions are allowed. Default 0.
    pub warmup_epochs: f64,
    /// The rate at the end. Default 0.
    pub min_lr: f64,
}

/// Settings of [`ScheduleConfig::Step`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepDecay {
    /// Epochs between reductions. Default 10.
    pub every: usize,
    /// What the rate is multiplied by. Default 0.1.
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
    /// The first setting with an impossible value: its key and what it must be.
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

/// Where a run stands.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Steps made since the run began.
    pub step: u64,
    /// Epochs completed.
    pub epochs_done: usize,
    /// Steps that the whole run will have.
    pub total_steps: u64,
    /// Steps of one epoch.
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

/// What a plateau schedule remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlateauState {
    /// The rate now, where it was reduced.
    lr: Option<f64>,
    best: Option<f64>,
    wait: usize,
    cooldown: usize,
}

impl Schedule {
    /// At its start.
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

    /// Which figure [`Schedule::epoch_end`] wants.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Takes the monitored figure of an epoch that has ended. Keras' `ReduceLROnPlateau.on_epoch_end`.
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

    /// What a checkpoint must hold.
    pub fn state(&self) -> &PlateauState {
        &self.state
    }

    /// Goes on from a checkpoint.
    pub fn restore(&mut self, state: PlateauState) {
        self.state = state;
    }
}

/// Warm-up reaches the full rate with its last step; the cosine's last step comes just before `min_lr`.
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
