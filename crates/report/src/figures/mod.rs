//! The figures, one per file: a struct of plain data, its `draw` method, and the layout.

pub(crate) mod class_distribution;
pub(crate) mod confusion;
pub(crate) mod curves;
pub(crate) mod decision_curve;
mod empty;
pub(crate) mod grid;
pub(crate) mod histogram;
pub(crate) mod overlays;
pub(crate) mod reliability;
pub(crate) mod risk_coverage;
pub(crate) mod roc;
pub(crate) mod segmentation;
pub(crate) mod strengths;
