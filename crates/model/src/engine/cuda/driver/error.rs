//! Why a device operation failed.

/// Why a device operation failed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A library is missing on this machine.
    #[error("{library} was not found: {remedy}")]
    Library {
        /// The library and its file name.
        library: &'static str,
        /// Where to get it.
        remedy: &'static str,
    },
    /// There is a driver but no GPU.
    #[error("the NVIDIA driver finds no GPU: {0}")]
    NoGpu(String),
    /// The kernels do not compile.
    #[error("the kernels do not compile for {arch}:\n{log}")]
    Compile {
        /// Requested architecture.
        arch: String,
        /// The compiler's output.
        log: String,
    },
    /// The engine cannot do this yet.
    #[error("{0}")]
    Unsupported(String),
    /// A launch that no GPU accepts.
    #[error(
        "the kernel {kernel} cannot be launched with a grid of {grid:?}: the batch is too large"
    )]
    Geometry {
        /// Name of the kernel.
        kernel: &'static str,
        /// Blocks along x, y, z.
        grid: [u32; 3],
    },
    /// A call failed.
    #[error("the GPU could not {what}: {why}")]
    Call {
        /// The attempted operation.
        what: String,
        /// The driver's error message.
        why: String,
    },
}
