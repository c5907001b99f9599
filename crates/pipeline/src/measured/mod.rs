//! What stages after the evaluation add to `metrics.json`.

mod novelty;
mod probe;
mod stress;

pub use novelty::{Novelty, NoveltyFigures, NoveltyKind};
pub use probe::{Alone, Probe, TakenAway};
pub use stress::{Change, Strength, Stress};
