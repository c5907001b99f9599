//! The tables of a pipeline file, one module per table: how it is written in TOML, what it means, and what is refused.

pub(crate) mod augment;
mod csv;
pub(crate) mod data;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod image;
pub(crate) mod model;
pub(crate) mod novelty;
mod one_or_more;
pub(crate) mod overlays;
pub(crate) mod phantom;
pub(crate) mod pipeline;
mod place;
pub(crate) mod probe;
pub(crate) mod quantize;
pub(crate) mod region;
pub(crate) mod report;
pub(crate) mod stress;
pub(crate) mod tracking;
pub(crate) mod train;
pub(crate) mod validation;

/// Tables of a pipeline file.
pub(crate) const NAMES: [&str; 17] = [
    "pipeline", "data", "image", "augment", "model", "train", "evaluate", "novelty", "quantize",
    "stress", "probe", "explain", "overlays", "report", "tracking", "phantom", "demo",
];
