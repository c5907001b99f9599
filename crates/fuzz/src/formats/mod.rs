//! Changes that know a format: they keep the checksum or the length right that would stop everything else.

pub(crate) mod jpeg;
pub(crate) mod json;
pub(crate) mod pickle;
pub(crate) mod png;
pub(crate) mod safetensors;
pub(crate) mod text;
pub(crate) mod torch;
