//! What a run trains.

use serde::{Deserialize, Serialize};

/// What a run trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Class scores, from the images' labels.
    #[default]
    Classify,
    /// The class map, from masks; labels are not used.
    Segment,
    /// Both: the class loss plus `map.weight` times the map loss.
    Both,
}

impl Task {
    /// Whether class scores are trained and evaluated.
    pub fn classifies(self) -> bool {
        self != Task::Segment
    }
}
