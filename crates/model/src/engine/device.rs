//! The choice of the engine that runs a network.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cpu::CpuEngine;
use super::cuda::driver::{DeviceError, Driver, Gpu};
use super::cuda::{self, CudaEngine};
use super::{Engine, EngineError, Precision};
use crate::graph::Graph;

/// The device that runs networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// This machine's processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// A device, with a description of what it is and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The device.
    pub device: Device,
    /// Description for users: `cuda (NVIDIA H100)`, `cpu (no GPU: …)`.
    pub words: String,
}

impl Device {
    /// The names that [`Device::choose`] accepts.
    pub const NAMES: [&str; 3] = ["auto", "cpu", "cuda"];

    /// The device with this name, ready to compute in this precision: `cuda` has been checked to compute a small
    /// network as the CPU does; `auto` is `cuda` if that works, otherwise the CPU. `None` for an unknown name.
    ///
    /// # Errors
    /// For `cuda` only: what is missing, in one sentence.
    pub fn choose(name: &str, precision: Precision) -> Option<Result<Choice, EngineError>> {
        match name {
            "cpu" => Some(Ok(Choice::cpu("cpu".into()))),
            "cuda" => Some(Choice::cuda(precision)),
            "auto" => Some(Ok(Choice::cuda(precision).unwrap_or_else(|why| {
                Choice::cpu(format!("cpu (cuda: {})", brief(&why)))
            }))),
            _ => None,
        }
    }

    /// Whether its engine computes in this precision: the CPU has no TF32 and computes in f32 if TF32 is requested.
    pub fn has(self, precision: Precision) -> bool {
        self == Device::Cuda || precision != Precision::Tf32
    }

    /// Whether it has instructions that multiply bf16: a processor may not, and then emulates it, more slowly than it
    /// computes in f32.
    pub fn multiplies_bf16(self) -> bool {
        self == Device::Cuda || kernels::multiplies_bf16()
    }

    /// Creates an engine for a graph.
    ///
    /// # Errors
    /// What is missing for the GPU; none on the CPU.
    pub fn engine(
        self,
        graph: Arc<Graph>,
        precision: Precision,
    ) -> Result<Box<dyn Engine>, EngineError> {
        Ok(match self {
            Device::Cpu => Box::new(CpuEngine::new(graph, precision)),
            Device::Cuda => Box::new(CudaEngine::new(graph, precision)?),
        })
    }
}

impl Choice {
    fn cpu(words: String) -> Self {
        Choice {
            device: Device::Cpu,
            words,
        }
    }

    fn cuda(precision: Precision) -> Result<Self, EngineError> {
        let gpu = Gpu::new(precision).map_err(one_line)?;
        let words = format!("cuda ({})", gpu.name());
        cuda::check(precision, Box::new(gpu))?;
        Ok(Choice {
            device: Device::Cuda,
            words,
        })
    }
}

/// Why the GPU is not used, without the remedy: with `auto` the CPU may be intended.
fn brief(why: &EngineError) -> String {
    match why {
        EngineError::Device(DeviceError::Library { library, .. }) => {
            format!("{library} was not found")
        }
        other => other.to_string(),
    }
}

/// Shortens a compiler's log to its first line, which is enough to explain a fallback.
fn one_line(error: DeviceError) -> DeviceError {
    match error {
        DeviceError::Compile { arch, log } => DeviceError::Compile {
            arch,
            log: log.lines().take(1).collect(),
        },
        other => other,
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_always_available_and_auto_chooses_a_device() {
        let cpu = Device::choose("cpu", Precision::Bf16).unwrap().unwrap();
        assert_eq!((cpu.device, cpu.words.as_str()), (Device::Cpu, "cpu"));
        let auto = Device::choose("auto", Precision::F32).unwrap().unwrap();
        assert!(
            auto.words.starts_with(&auto.device.to_string()),
            "{}",
            auto.words
        );
        assert!(Device::choose("gpu", Precision::F32).is_none());
    }

    #[test]
    fn only_the_gpu_has_tf32() {
        let has = |device: Device| Precision::ALL.map(|precision| device.has(precision));
        assert_eq!(has(Device::Cpu), [true, false, true]);
        assert_eq!(has(Device::Cuda), [true; 3]);
    }
}
