//! Mutations specific to a format: they keep checksums and lengths right, because otherwise a file is refused at once.

pub(crate) mod dicom;
pub(crate) mod jpeg;
pub(crate) mod json;
pub(crate) mod pickle;
pub(crate) mod png;
pub(crate) mod safetensors;
pub(crate) mod text;
pub(crate) mod torch;
