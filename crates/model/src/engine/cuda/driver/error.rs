//! Why a device could not do what was asked.

/// Why a device could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A library is not on this machine.
    #[error("{library} was not found: {remedy}")]
    Library {
        /// What it is and how its file is called.
        library: &'static str,
        /// Where it comes from.
        remedy: &'static str,
    },
    /// The driver is there, a GPU is not.
    #[error("the NVIDIA driver finds no GPU: {0}")]
    NoGpu(String),
    /// The kernels do not compile.
    #[error("the kernels do not compile for {arch}:\n{log}")]
    Compile {
        /// Architecture asked for.
        arch: String,
        /// The compiler's words.
        log: String,
    },
    /// The engine cannot do this yet.
    #[error("{0}")]
    Unsupported(String),
    /// A launch that no GPU takes.
    #[error(
        "the kernel {kernel} cannot be launched with a grid of {grid:?}: the batch is too large"
    )]
    Geometry {
        /// Which.
        kernel: &'static str,
        /// Blocks.
        grid: [u32; 3],
    },
    /// The device refused.
    #[error("the GPU could not {what}: {why}")]
    Call {
        /// What was asked.
        what: String,
        /// Its answer.
        why: String,
    },
}
