//! Decoded samples, as they are stored.

use crate::layout::Photometric;

/// Samples in their containers, pixel by pixel, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Samples {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

impl Samples {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::U8(samples) => samples.len(),
            Self::U16(samples) => samples.len(),
            Self::U32(samples) => samples.len(),
        }
    }

    /// Maps each sample's container.
    pub(crate) fn map<T>(&self, of: impl Fn(u32) -> T) -> Vec<T> {
        match self {
            Self::U8(samples) => samples.iter().map(|&s| of(s.into())).collect(),
            Self::U16(samples) => samples.iter().map(|&s| of(s.into())).collect(),
            Self::U32(samples) => samples.iter().map(|&s| of(s)).collect(),
        }
    }
}

/// A decoded frame.
pub(crate) struct Frame {
    pub(crate) samples: Samples,
    /// What the samples mean, where the compressed stream says otherwise than the header.
    pub(crate) photometric: Photometric,
}
