//! `[train]`: all settings of a run, read with serde (unknown keys are rejected) and validated as a whole before the
//! run starts.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::freeze::Freeze;
use super::loss::{ClassLoss, ClassWeights};
use super::map_loss::MapObjective;
use super::monitor::Mode;
use super::optimizer::OptimizerConfig;
use super::schedule::ScheduleConfig;
use super::stopping::StoppingConfig;
use super::swa::SwaConfig;
use super::task::Task;

/// Settings of a training run. The defaults follow the Eff-UNet paper: cross-entropy, Adam at 1e-4, at most 40 epochs,
/// the learning rate reduced on a plateau, early stopping, the best epoch kept.
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
    /// Maximum number of epochs. Default 40.
    pub epochs: usize,
    /// Images per step; used by the code that builds the batches. Default 8.
    pub batch_size: usize,
    /// Parts of equal size into which each batch is cut; 1 by default. Batch norm takes its statistics from a chunk, and
    /// so do losses that depend on several images (Dice); gradients are means over the batch, as are the running
    /// statistics. Several processes share a batch's chunks, and the result depends on their number no more than on that
    /// of threads.
    pub chunks: usize,
    /// Whether batch norm takes its statistics from all chunks of a batch instead, on the CPU: a step is then that of the
    /// whole batch, up to rounding and losses that depend on several images. All chunks of a process are in memory at
    /// once, and processes exchange numbers at every norm. Default false.
    pub sync_batch_norm: bool,
    /// What is trained: `classify`, `segment` (the map alone, from masks) or `both`. If omitted: `both` if `map.loss`
    /// is on, otherwise `classify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Loss on the class scores: `cross_entropy` or `softmax_bce` (equal for two classes). Default `cross_entropy`.
    pub loss: ClassLoss,
    /// Weight of each class in the training loss: `none`, `balanced` or a list. Validation always weights all images
    /// equally. Default `none`.
    pub class_weights: ClassWeights,
    /// Label smoothing: share of the label spread over all classes, at least 0 and less than 1. Default 0.
    pub label_smoothing: f32,
    /// `[train.map]`: supervision of the class map with masks.
    pub map: MapObjective,
    /// How long the encoder is frozen: `"encoder"` or `{ encoder_epochs = N }`. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// `[train.optimizer]`: update rule and learning rate.
    pub optimizer: OptimizerConfig,
    /// Global gradient norm above which gradients are scaled down; 0 disables clipping. Default 0.
    pub clip_norm: f64,
    /// Decay of the moving average of the weights; the average is then what is validated and saved. 0 disables it.
    /// Default 0.
    pub ema: f64,
    /// Averages the weights at the ends of the last epochs; the average is what is validated and saved after the last
    /// one. Default: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swa: Option<SwaConfig>,
    /// Quantity that decides which epoch is best: `val_loss`, `val_accuracy`, `loss`, `accuracy`, or `val_` followed by
    /// the name of a metric (`val_auc`); when training with masks, also `val_map_loss`, `val_dice`, `map_loss`. When
    /// training with masks only, `val_loss` is the map's loss and there is no accuracy. Default `val_loss`.
    pub monitor: String,
    /// Direction of `monitor`: `auto`, `min`, `max`. Default `auto`.
    pub mode: Mode,
    /// Whether the network ends the run with the best epoch's weights rather than the last epoch's. Default true.
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
            chunks: 1,
            sync_batch_norm: false,
            loss: ClassLoss::default(),
            class_weights: ClassWeights::default(),
            label_smoothing: 0.0,
            map: MapObjective::default(),
            freeze: None,
            optimizer: OptimizerConfig::default(),
            clip_norm: 0.0,
            ema: 0.0,
            swa: None,
            monitor: "val_loss".into(),
            mode: Mode::Auto,
            restore_best: true,
            schedule: ScheduleConfig::default(),
            early_stopping: StoppingConfig::default(),
        }
    }
}

const MAX_EPOCHS: usize = 100_000;
const MAX_BATCH: usize = 4096;

/// Whether the value is valid, the key, and what the value must be.
type Check = (bool, &'static str, &'static str);

impl TrainConfig {
    /// Rejects invalid values.
    ///
    /// # Errors
    /// The first key with an invalid value, and what that value must be.
    pub fn check(&self) -> Result<(), TrainError> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        let below_1 = "at least 0 and less than 1";
        let map = &self.map;
        let checks = [
            (
                (1..=MAX_EPOCHS).contains(&self.epochs),
                "epochs",
                "from 1 to 100,000",
            ),
            (
                (1..=MAX_BATCH).contains(&self.batch_size),
                "batch_size",
                "from 1 to 4,096",
            ),
            (
                (1..=self.batch_size).contains(&self.chunks),
                "chunks",
                "from 1 to batch_size",
            ),
            (
                self.chunks > 1 || !self.sync_batch_norm,
                "sync_batch_norm",
                "false if chunks = 1: batch norm then takes its statistics from the whole batch anyway",
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
            .chain(self.averaging_checks())
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

    /// Settings that have no effect under the run's task: without these checks they would be ignored silently.
    fn task_checks(&self) -> Vec<Check> {
        let map = &self.map;
        let segments_only = self.task() == Task::Segment;
        vec![
            (
                self.task != Some(Task::Classify) || !map.is_on(),
                "task",
                "\"both\" or \"segment\" if map.loss is on: \"classify\" uses no masks",
            ),
            (
                self.task() == Task::Classify || map.is_on(),
                "map.loss",
                "on if task is \"segment\" or \"both\": nothing else trains the map",
            ),
            (
                map.is_on() || !map.deep_supervision,
                "map.deep_supervision",
                "false if map.loss is \"none\": there is no loss to average",
            ),
            (
                map.class.is_none() || !map.loss.is_multiclass(),
                "map.class",
                "omitted with a loss over all classes: masks then contain class numbers",
            ),
            (
                !segments_only || map.weight == 1.0,
                "map.weight",
                "1 if task = \"segment\": there is no class loss to weight it against",
            ),
            (
                !segments_only || self.class_weights == ClassWeights::None,
                "class_weights",
                "\"none\" if task = \"segment\", which has no class loss",
            ),
            (
                self.freeze != Some(Freeze::Encoder) || self.optimizer.encoder_lr_scale() == 1.0,
                "optimizer.encoder_lr_scale",
                "omitted if freeze = \"encoder\": the encoder is never trained",
            ),
            (
                !segments_only || self.label_smoothing == 0.0,
                "label_smoothing",
                "0 if task = \"segment\", which has no class loss",
            ),
        ]
    }

    /// An average over the last epochs needs to know which they are, and replaces a moving one.
    fn averaging_checks(&self) -> Vec<Check> {
        let Some(swa) = self.swa else {
            return vec![];
        };
        vec![
            (
                (1..=self.epochs).contains(&swa.epochs),
                "swa.epochs",
                "at least 1, and not more than train.epochs",
            ),
            (
                !self.early_stopping.enabled,
                "early_stopping.enabled",
                "false with swa, which averages over the last epochs: it must be known which they are",
            ),
            (
                self.ema == 0.0,
                "ema",
                "0 (off) with swa: only one average can be validated and kept",
            ),
        ]
    }

    /// What the run trains, with the default resolved.
    pub fn task(&self) -> Task {
        let settled = if self.map.is_on() {
            Task::Both
        } else {
            Task::Classify
        };
        self.task.unwrap_or(settled)
    }

    /// Whether training uses masks.
    pub fn wants_masks(&self) -> bool {
        self.map.is_on()
    }
}
