//! The precisions that a network can compute in.

use std::fmt;
use std::str::FromStr;

use kernels::Precision;
use serde::{Deserialize, Serialize};

/// The precision of inference: those that networks are trained in, and int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum InferencePrecision {
    /// Floating-point factors; in bf16 maps in memory are bf16, too, otherwise f32.
    Float(Precision),
    /// Maps in memory are 8-bit codes and factors are integers, on the CPU, for a network whose ranges are known.
    Int8,
}

impl InferencePrecision {
    /// All precisions.
    pub const ALL: [InferencePrecision; 4] = [
        InferencePrecision::Float(Precision::F32),
        InferencePrecision::Float(Precision::Tf32),
        InferencePrecision::Float(Precision::Bf16),
        InferencePrecision::Int8,
    ];

    /// The precision that a network can also be trained in; `None` for int8.
    pub fn float(self) -> Option<Precision> {
        match self {
            InferencePrecision::Float(precision) => Some(precision),
            InferencePrecision::Int8 => None,
        }
    }
}

impl From<Precision> for InferencePrecision {
    fn from(precision: Precision) -> Self {
        InferencePrecision::Float(precision)
    }
}

/// The text is none of `f32`, `tf32`, `bf16` and `int8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one of f32, tf32, bf16, int8")]
pub struct UnknownPrecision;

impl FromStr for InferencePrecision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        let mut all = Self::ALL.into_iter();
        all.find(|precision| precision.to_string() == name)
            .ok_or(UnknownPrecision)
    }
}

impl TryFrom<String> for InferencePrecision {
    type Error = UnknownPrecision;

    fn try_from(name: String) -> Result<Self, UnknownPrecision> {
        name.parse()
    }
}

impl From<InferencePrecision> for String {
    fn from(precision: InferencePrecision) -> Self {
        precision.to_string()
    }
}

impl fmt::Display for InferencePrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InferencePrecision::Float(precision) => precision.fmt(f),
            InferencePrecision::Int8 => f.write_str("int8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_they_are_written() {
        for precision in InferencePrecision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert_eq!("int4".parse::<InferencePrecision>(), Err(UnknownPrecision));
    }
}
