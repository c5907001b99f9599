//! What a run teaches.

use serde::{Deserialize, Serialize};

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
