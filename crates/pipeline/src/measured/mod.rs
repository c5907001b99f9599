//! What stages after the evaluation add to `metrics.json`.

mod explained;
mod novelty;
mod probe;
mod quantized;
mod stress;

pub use explained::{AtRandom, Explained, MethodJudged};
pub use novelty::{Novelty, NoveltyFigures, NoveltyKind};
pub use probe::{Alone, Probe, TakenAway};
pub use quantized::{ClassLoss, MapLoss, Quantized};
pub use stress::{Change, Strength, Stress};
