//! The monitored quantity of an epoch, and which of two values is better.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::event::Metric;
use super::task::Task;

/// Direction of improvement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Determined by the quantity: lower for losses, higher for accuracy, as declared for a metric.
    #[default]
    Auto,
    /// Lower is better.
    Min,
    /// Higher is better.
    Max,
}

/// A monitored quantity by name (`val_loss`), with its direction resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// Name as in [`EpochRecord::value`](super::EpochRecord::value).
    pub name: String,
    /// Whether higher is better.
    pub rises: bool,
}

impl Monitor {
    /// Whether `value` beats `best` by more than `min_delta`. A value that is not finite (an AUC of one class) never
    /// does; the first finite value always does.
    pub fn improves(&self, value: Option<f64>, best: Option<f64>, min_delta: f64) -> bool {
        match (value.filter(|v| v.is_finite()), best) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(best)) if self.rises => value > best + min_delta,
            (Some(value), Some(best)) => value < best - min_delta,
        }
    }
}

/// The quantities that this run records for each epoch, and whether higher is better.
pub(super) struct Figures(Vec<(String, bool)>);

impl Figures {
    /// For a run that trains `task` and, if it is `validated`, also computes `metrics`.
    pub(super) fn new(task: Task, metrics: &[Metric<'_>], validated: bool) -> Self {
        let mut own = vec![("loss", false)];
        if task.classifies() {
            own.push(("accuracy", true));
        }
        if task != Task::Classify {
            own.push(("map_loss", false));
        }
        let named = |prefix: &str, (name, rises): (&str, bool)| (format!("{prefix}{name}"), rises);
        let mut all: Vec<_> = own.iter().map(|figure| named("", *figure)).collect();
        if validated {
            all.extend(own.iter().map(|figure| named("val_", *figure)));
            if task != Task::Classify {
                all.push(named("val_", ("dice", true)));
            }
            if task.classifies() {
                let metrics = metrics.iter().map(|m| named("val_", (m.name, m.rises)));
                all.extend(metrics);
            }
        }
        Figures(all)
    }

    pub(super) fn monitor(
        &self,
        key: &'static str,
        name: &str,
        mode: Mode,
    ) -> Result<Monitor, TrainError> {
        let known = || {
            self.0
                .iter()
                .map(|(n, _)| n.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let found = self.0.iter().find(|(n, _)| n == name);
        let (_, rises) = found.ok_or_else(|| TrainError::Monitor {
            key,
            name: name.into(),
            known: known(),
        })?;
        let rises = match mode {
            Mode::Auto => *rises,
            Mode::Min => false,
            Mode::Max => true,
        };
        Ok(Monitor {
            name: name.into(),
            rises,
        })
    }
}
