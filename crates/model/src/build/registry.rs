//! All architectures, encoders, decoders and heads by name, for the configuration, the command line and the tests.

use super::entries::{ArchitectureEntry, DecoderEntry, EncoderEntry, HeadEntry};
use super::error::BuildError;
use super::rows::{ARCHITECTURES, DECODERS, ENCODERS, HEADS};

/// All architectures, the encoder-decoder one first.
pub fn architectures() -> &'static [ArchitectureEntry] {
    &ARCHITECTURES
}

/// All encoders.
pub fn encoders() -> &'static [EncoderEntry] {
    &ENCODERS
}

/// All decoders.
pub fn decoders() -> &'static [DecoderEntry] {
    &DECODERS
}

/// All heads.
pub fn heads() -> &'static [HeadEntry] {
    &HEADS
}

/// Finds an architecture by name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_architecture(name: &str) -> Result<&'static ArchitectureEntry, BuildError> {
    find("architecture", &ARCHITECTURES, |a| a.name, name)
}

/// Finds an encoder by name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_encoder(name: &str) -> Result<&'static EncoderEntry, BuildError> {
    find("encoder", &ENCODERS, |e| e.name, name)
}

/// Finds a decoder by name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_decoder(name: &str) -> Result<&'static DecoderEntry, BuildError> {
    find("decoder", &DECODERS, |e| e.name, name)
}

/// Finds a head by name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_head(name: &str) -> Result<&'static HeadEntry, BuildError> {
    find("head", &HEADS, |e| e.name, name).map_err(|error| match error {
        // The former name of the `cam` head.
        BuildError::Unknown { key, known, .. } if name == "article" => BuildError::Unknown {
            key,
            name: name.into(),
            nearest: Some("cam"),
            known,
        },
        other => other,
    })
}

fn find<E>(
    key: &'static str,
    entries: &'static [E],
    name_of: fn(&E) -> &'static str,
    name: &str,
) -> Result<&'static E, BuildError> {
    entries
        .iter()
        .find(|e| name_of(e) == name)
        .ok_or_else(|| BuildError::Unknown {
            key,
            name: name.into(),
            nearest: nearest(name, entries.iter().map(name_of)),
            known: entries.iter().map(name_of).collect::<Vec<_>>().join(", "),
        })
}

/// The known name most similar to `name`, ignoring case and `-`, if any is similar enough.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let plain = name.to_lowercase().replace('-', "_");
    let scored = known.map(|k| (strsim::jaro_winkler(&plain, k), k));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.6).map(|(_, name)| name)
}
