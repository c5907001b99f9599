//! `[segment]`: what the overlays show.

use formats::checkpoint::Inference;
use serde::Deserialize;

use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Segment {
    pub(crate) certainty: f32,
    pub(crate) examples: usize,
}

impl Default for Segment {
    fn default() -> Self {
        Segment {
            certainty: Inference::default().certainty,
            examples: 4,
        }
    }
}

/// What the overlays show.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentSettings {
    /// Pixels whose class map is at least this are green.
    pub certainty: f32,
    /// Cases of each kind in the report.
    pub examples: usize,
}

pub(crate) fn segment(keys: &Keys<'_>, raw: Segment) -> Result<SegmentSettings, ConfigError> {
    keys.within("segment.certainty", raw.certainty, 0.0, 1.0)?;
    keys.within("segment.examples", raw.examples, 1, 50)?;
    Ok(SegmentSettings {
        certainty: raw.certainty,
        examples: raw.examples,
    })
}
