//! The tests of this crate in one program, because each would be linked for itself.

mod baselines;
mod data;
mod dicom;
mod reports;
mod robustness;
mod segmentation;
mod small;
mod tiny;
