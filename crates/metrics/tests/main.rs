//! The tests of this crate in one program, because each would be linked for itself.

mod behaviour;
mod calibration;
mod label_errors;
mod map_risk;
mod outliers;
mod paired;
mod prior;
mod reference;
mod reliance;
mod segmentation;
mod subgroups;
