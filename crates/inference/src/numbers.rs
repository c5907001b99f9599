//! The number format that a network computes in.

use std::fmt;
use std::path::Path;

use model::engine::{Device, Precision};
use model::network::Network;
use model::quantization::Ranges;

use crate::error::{InferenceError, Result};

/// The number format that a network computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Floating-point factors; maps in memory are f32, or bf16 on a GPU in bf16.
    Float(Precision),
    /// Maps in memory are 8-bit codes and factors are integers, on the CPU, for a network whose run has quantized it.
    Int8,
}

impl Numbers {
    /// Prepares a network that was read from `path` to compute on a device in these numbers.
    pub(crate) fn prepare(
        self,
        path: &Path,
        network: Network,
        ranges: Option<&Ranges>,
        device: Device,
    ) -> Result<Network> {
        match (self, ranges, device) {
            (Numbers::Float(precision), ..) => Ok(network.on(device, precision)?),
            (Numbers::Int8, Some(ranges), Device::Cpu) => Ok(network.quantized(ranges)),
            (Numbers::Int8, None, _) => Err(InferenceError::NotQuantized { path: path.into() }),
            (Numbers::Int8, Some(_), Device::Cuda) => Err(InferenceError::Int8OnGpu),
        }
    }
}

impl From<Precision> for Numbers {
    fn from(precision: Precision) -> Self {
        Numbers::Float(precision)
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Numbers::Float(precision) => precision.fmt(f),
            Numbers::Int8 => f.write_str("int8"),
        }
    }
}
