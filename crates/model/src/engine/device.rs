//! Which engine a network runs on.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cpu::CpuEngine;
use super::cuda::driver::{DeviceError, Driver, Gpu};
use super::cuda::{self, CudaEngine};
use super::{Engine, EngineError, Precision};
use crate::graph::Graph;

/// Where networks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// This machine's processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// A device, and in words which it is and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub device: Device,
    /// For people: `cuda (NVIDIA H100)`, `cpu (no GPU: …)`.
    pub words: String,
}

impl Device {
    /// The names that [`Device::choose`] knows.
    pub const NAMES: [&str; 3] = ["auto", "cpu", "cuda"];

    /// The device of a name, ready to compute in this precision: `cuda` has computed a small network as the CPU does;
    /// `auto` is it where that works, else the CPU. `None` for an unknown name.
    ///
    /// # Errors
    /// Of `cuda` alone: what is missing, in one sentence.
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

    /// Whether its engine computes in this precision: a processor has no TF32, and computes in f32 where it is asked for.
    pub fn has(self, precision: Precision) -> bool {
        self == Device::Cuda || precision != Precision::Tf32
    }

    /// An engine for a graph.
    ///
    /// # Errors
    /// What a GPU lacks; none on the CPU.
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

/// Why it is not the GPU, without the remedy: who runs `auto` may want none.
fn brief(why: &EngineError) -> String {
    match why {
        EngineError::Device(DeviceError::Library { library, .. }) => {
            format!("{library} was not found")
        }
        other => other.to_string(),
    }
}

/// A compiler's log has many lines; the first says enough beside a fallback.
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
    fn the_cpu_is_always_there_and_auto_finds_something() {
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
    fn tf32_is_a_gpu_s() {
        let has = |device: Device| Precision::ALL.map(|precision| device.has(precision));
        assert_eq!(has(Device::Cpu), [true, false, true]);
        assert_eq!(has(Device::Cuda), [true; 3]);
    }
}
