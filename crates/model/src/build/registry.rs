//! All architectures, encoders, decoders and heads by name: the rows that the configuration, the command line and the tests read.

use super::entries::{ArchitectureEntry, DecoderEntry, EncoderEntry, HeadEntry};
use super::error::BuildError;
use super::rows::{ARCHITECTURES, DECODERS, ENCODERS, HEADS};

/// All architectures, the one of encoder and decoder first.
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

/// The architecture of a name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_architecture(name: &str) -> Result<&'static ArchitectureEntry, BuildError> {
    find("architecture", &ARCHITECTURES, |a| a.name, name)
}

/// The encoder of a name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_encoder(name: &str) -> Result<&'static EncoderEntry, BuildError> {
    find("encoder", &ENCODERS, |e| e.name, name)
}

/// The decoder of a name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_decoder(name: &str) -> Result<&'static DecoderEntry, BuildError> {
    find("decoder", &DECODERS, |e| e.name, name)
}

/// The head of a name.
///
/// # Errors
/// [`BuildError::Unknown`] with the nearest name.
pub fn find_head(name: &str) -> Result<&'static HeadEntry, BuildError> {
    find("head", &HEADS, |e| e.name, name).map_err(|error| match error {
        // What it was called before it had the name that others use.
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

/// The name most like `name`, case and `-` aside, if any is like it at all.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let plain = name.to_lowercase().replace('-', "_");
    let scored = known.map(|k| (strsim::jaro_winkler(&plain, k), k));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.6).map(|(_, name)| name)
}
