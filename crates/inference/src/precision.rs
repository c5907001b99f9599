//! Preparing a network for the precision of inference.

use std::path::Path;

use model::engine::{Device, InferencePrecision};
use model::network::Network;
use model::quantization::Ranges;

use crate::error::{InferenceError, Result};

/// Prepares a network that was read from `path` to compute on a device in this precision.
pub(crate) fn prepare(
    precision: InferencePrecision,
    path: &Path,
    network: Network,
    ranges: Option<&Ranges>,
    device: Device,
) -> Result<Network> {
    match (precision, ranges, device) {
        (InferencePrecision::Float(precision), ..) => Ok(network.on(device, precision)?),
        (InferencePrecision::Int8, Some(ranges), Device::Cpu) => Ok(network.quantized(ranges)),
        (InferencePrecision::Int8, None, _) => {
            Err(InferenceError::NotQuantized { path: path.into() })
        }
        (InferencePrecision::Int8, Some(_), Device::Cuda) => Err(InferenceError::Int8OnGpu),
    }
}
