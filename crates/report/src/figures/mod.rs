//! The figures, one file each: a struct of plain data, `draw`, and the layout.

pub(crate) mod class_distribution;
pub(crate) mod confusion;
pub(crate) mod curves;
mod empty;
pub(crate) mod grid;
pub(crate) mod histogram;
pub(crate) mod overlays;
pub(crate) mod reliability;
pub(crate) mod roc;
pub(crate) mod segmentation;
