//! What a run teaches, and which settings go together.

use serde::{Deserialize, Serialize};

use super::TrainConfig;
use super::loss::ClassWeights;

/// What a run teaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Class scores by the images' labels.
    #[default]
    Classify,
    /// The class map by masks; labels are not looked at.
    Segment,
    /// Both: the class loss plus `map.weight` times the map's.
    Both,
}

impl Task {
    /// Whether class scores are trained and judged.
    pub fn classifies(self) -> bool {
        self != Task::Segment
    }
}

/// A key, whether its value is good, and what it must be.
type Check = (bool, &'static str, &'static str);

/// Settings that the run's task leaves without a meaning: each would be ignored in silence.
pub(super) fn checks(config: &TrainConfig) -> Vec<Check> {
    let map = &config.map;
    let segments_only = config.task() == Task::Segment;
    vec![
        (
            config.task != Some(Task::Classify) || !map.is_on(),
            "task",
            "\"both\" or \"segment\" where map.loss is on: \"classify\" looks at no mask",
        ),
        (
            config.task() == Task::Classify || map.is_on(),
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
            !segments_only || config.class_weights == ClassWeights::None,
            "class_weights",
            "\"none\" where task = \"segment\", which has no class loss",
        ),
        (
            !segments_only || config.label_smoothing == 0.0,
            "label_smoothing",
            "0 where task = \"segment\", which has no class loss",
        ),
    ]
}
