//! `[train]`: all settings of a run, read with serde, unknown keys refused, and checked as a whole before it begins.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::loss::{ClassLoss, ClassWeights};
use super::map_loss::MapObjective;
use super::monitor::Mode;
use super::optimizer::OptimizerConfig;
use super::schedule::ScheduleConfig;
use super::stopping::StoppingConfig;
use super::task::Task;

/// Settings of a training run. The defaults are the article's: cross-entropy, Adam at 1e-4, at most 40 epochs, the
/// rate reduced on a plateau, early stopping, the best epoch kept.
///
/// ```
/// use train::TrainConfig;
/// let config: TrainConfig = serde_json::from_str(r#"{
///     "epochs": 8,
///     "class_weights": "balanced",
///     "optimizer": { "name": "adamw", "lr": 3e-4 },
///     "schedule": { "name": "cosine", "warmup_epochs": 0.5 }
/// }"#).unwrap();
/// config.check().unwrap();
/// assert_eq!(config.optimizer.lr(), 3e-4);
/// assert!(serde_json::from_str::<TrainConfig>(r#"{ "epoch": 8 }"#).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Epochs at most. Default 40.
    pub epochs: usize,
    /// Images a step; read by whoever makes the batches. Default 8.
    pub batch_size: usize,
    /// What is taught: `classify`, `segment` (the map alone, by masks) or `both`. Left out: `both` where `map.loss`
    /// is on, else `classify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Loss of the class scores: `cross_entropy` or `softmax_bce` (for two classes the same). Default
    /// `cross_entropy`.
    pub loss: ClassLoss,
    /// How much each class counts in training: `none`, `balanced` or a list. Validation always counts images alike.
    /// Default `none`.
    pub class_weights: ClassWeights,
    /// Share of the label spread over all classes, 0 to below 1. Default 0.
    pub label_smoothing: f32,
    /// `[train.map]`: supervision of the class map by masks.
    pub map: MapObjective,
    /// `[train.optimizer]`: update rule and learning rate.
    pub optimizer: OptimizerConfig,
    /// Norm above which all gradients together are scaled down; 0 for never. Default 0.
    pub clip_norm: f64,
    /// Decay of the weights' moving average, which then is what is validated and kept; 0 for none. Default 0.
    pub ema: f64,
    /// Figure that decides which epoch is best: `val_loss`, `val_accuracy`, `loss`, `accuracy`, or `val_` and the
    /// name of a metric (`val_auc`); where masks teach, also `val_map_loss`, `val_dice`, `map_loss`. Where only they
    /// do, `val_loss` is the map's, and there is no accuracy. Default `val_loss`.
    pub monitor: String,
    /// Direction of `monitor`: `auto`, `min`, `max`. Default `auto`.
    pub mode: Mode,
    /// Whether the network has the best epoch's weights after the run, rather than the last's. Default true.
    pub restore_best: bool,
    /// `[train.schedule]`: the learning rate over time.
    pub schedule: ScheduleConfig,
    /// `[train.early_stopping]`.
    pub early_stopping: StoppingConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            task: None,
            epochs: 40,
            batch_size: 8,
            loss: ClassLoss::default(),
            class_weights: ClassWeights::default(),
            label_smoothing: 0.0,
            map: MapObjective::default(),
            optimizer: OptimizerConfig::default(),
            clip_norm: 0.0,
            ema: 0.0,
            monitor: "val_loss".into(),
            mode: Mode::Auto,
            restore_best: true,
            schedule: ScheduleConfig::default(),
            early_stopping: StoppingConfig::default(),
        }
    }
}

const MOST_EPOCHS: usize = 100_000;
const MOST_BATCH: usize = 4096;

/// A key, whether its value is good, and what it must be.
type Check = (bool, &'static str, &'static str);

impl TrainConfig {
    /// Refuses impossible values.
    ///
    /// # Errors
    /// The first key with such a value, and what it must be.
    pub fn check(&self) -> Result<(), TrainError> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        let below_1 = "at least 0 and less than 1";
        let map = &self.map;
        let checks = [
            (
                (1..=MOST_EPOCHS).contains(&self.epochs),
                "epochs",
                "from 1 to 100,000",
            ),
            (
                (1..=MOST_BATCH).contains(&self.batch_size),
                "batch_size",
                "from 1 to 4,096",
            ),
            (
                share(self.label_smoothing.into()),
                "label_smoothing",
                below_1,
            ),
            (share(self.ema), "ema", below_1),
            (
                self.clip_norm.is_finite() && self.clip_norm >= 0.0,
                "clip_norm",
                "0 (off) or a positive number",
            ),
            (
                self.early_stopping.patience > 0,
                "early_stopping.patience",
                "at least 1 (`enabled = false` turns it off)",
            ),
            (
                self.early_stopping.min_delta >= 0.0,
                "early_stopping.min_delta",
                "0 or a positive number",
            ),
            (
                map.weight.is_finite() && map.weight >= 0.0,
                "map.weight",
                "0 or a positive number",
            ),
            (
                (0.0..=1.0).contains(&map.alpha),
                "map.alpha",
                "between 0 and 1",
            ),
            (
                map.beta.is_finite() && map.beta >= 0.0,
                "map.beta",
                "0 or a positive number",
            ),
            (
                map.gamma.is_finite() && (map.gamma == 0.0 || map.gamma >= 1.0),
                "map.gamma",
                "0 or at least 1",
            ),
        ];
        let own = checks
            .into_iter()
            .chain(self.task_checks())
            .find(|(good, ..)| !good)
            .map(|(_, key, must)| (key.to_string(), must));
        let optimizer = || {
            self.optimizer
                .problem()
                .map(|(key, must)| (format!("optimizer.{key}"), must))
        };
        let schedule = || {
            self.schedule
                .problem()
                .map(|(key, must)| (format!("schedule.{key}"), must))
        };
        match own.or_else(optimizer).or_else(schedule) {
            Some((key, must)) => Err(TrainError::Config { key, must }),
            None => Ok(()),
        }
    }

    /// Settings that the run's task leaves without a meaning: each would be ignored in silence.
    fn task_checks(&self) -> Vec<Check> {
        let map = &self.map;
        let segments_only = self.task() == Task::Segment;
        vec![
            (
                self.task != Some(Task::Classify) || !map.is_on(),
                "task",
                "\"both\" or \"segment\" where map.loss is on: \"classify\" looks at no mask",
            ),
            (
                self.task() == Task::Classify || map.is_on(),
                "map.loss",
                "on where task is \"segment\" or \"both\": the map learns from nothing else",
            ),
            (
                map.is_on() || !map.deep_supervision,
                "map.deep_supervision",
                "false where map.loss is \"none\": there is no loss to average",
            ),
            (
                map.class.is_none() || !map.loss.is_multiclass(),
                "map.class",
                "left out with a loss over all classes: masks then hold the numbers of all of them",
            ),
            (
                !segments_only || map.weight == 1.0,
                "map.weight",
                "1 where task = \"segment\": there is no class loss to weigh against",
            ),
            (
                !segments_only || self.class_weights == ClassWeights::None,
                "class_weights",
                "\"none\" where task = \"segment\", which has no class loss",
            ),
            (
                !segments_only || self.label_smoothing == 0.0,
                "label_smoothing",
                "0 where task = \"segment\", which has no class loss",
            ),
        ]
    }

    /// What the run teaches, settled.
    pub fn task(&self) -> Task {
        let settled = if self.map.is_on() {
            Task::Both
        } else {
            Task::Classify
        };
        self.task.unwrap_or(settled)
    }

    /// Whether training looks at masks.
    pub fn wants_masks(&self) -> bool {
        self.map.is_on()
    }
}
