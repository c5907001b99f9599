//! The readers under test, one module per format.

mod checkpoint;
mod csv;
mod dicom;
mod folder;
mod hub;
mod ill;
mod mask;
mod picture;
mod run;
mod settings;
mod weights;

use crate::Target;

/// All targets.
pub fn targets() -> &'static [&'static dyn Target] {
    &[
        &picture::PNG,
        &picture::JPEG,
        &picture::Damaged,
        &picture::OTHER,
        &dicom::Dicom,
        &mask::Mask,
        &folder::Folder,
        &csv::Csv,
        &settings::Settings,
        &weights::Safetensors,
        &weights::Torch,
        &weights::DamagedTorch,
        &checkpoint::Crafted,
        &checkpoint::Damaged,
        &run::Run,
        &hub::Hub,
    ]
}

/// The target with this name; `ill` has no format, but fails in every way, to test the supervisor.
pub fn find(name: &str) -> Option<&'static dyn Target> {
    targets()
        .iter()
        .copied()
        .chain([&ill::Ill as &dyn Target])
        .find(|target| target.name() == name)
}
