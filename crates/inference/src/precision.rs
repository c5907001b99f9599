//! The precision of inference.

use std::fmt;
use std::path::Path;

use model::engine::{Device, Precision};
use model::network::Network;
use model::quantization::Ranges;

use crate::error::{InferenceError, Result};

/// The precision of inference: those that networks are trained in, and int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InferencePrecision {
    /// Floating-point factors; maps in memory are f32, or bf16 on a GPU in bf16.
    Float(Precision),
    /// Maps in memory are 8-bit codes and factors are integers, on the CPU, for a network whose run has quantized it.
    Int8,
}

impl InferencePrecision {
    /// Prepares a network that was read from `path` to compute on a device in this precision.
    pub(crate) fn prepare(
        self,
        path: &Path,
        network: Network,
        ranges: Option<&Ranges>,
        device: Device,
    ) -> Result<Network> {
        match (self, ranges, device) {
            (InferencePrecision::Float(precision), ..) => Ok(network.on(device, precision)?),
            (InferencePrecision::Int8, Some(ranges), Device::Cpu) => Ok(network.quantized(ranges)),
            (InferencePrecision::Int8, None, _) => {
                Err(InferenceError::NotQuantized { path: path.into() })
            }
            (InferencePrecision::Int8, Some(_), Device::Cuda) => Err(InferenceError::Int8OnGpu),
        }
    }
}

impl From<Precision> for InferencePrecision {
    fn from(precision: Precision) -> Self {
        InferencePrecision::Float(precision)
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
