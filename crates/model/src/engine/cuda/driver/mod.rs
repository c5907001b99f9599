//! What the engine asks of a device: memory, copies, launches. The GPU is one driver; the tests bring another, which runs
//! the same kernels on the host.

mod args;
mod beside;
mod dry;
mod gpu;
mod nvrtc;
mod recordings;

pub use args::{Arg, Launch, NormParameters, Part, Parts, Patches, Up, Windowed};
pub use dry::Dry;
pub use gpu::Gpu;
pub use nvrtc::{Compiled, compile, cubin};

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

/// An address in a device's memory, in bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub u64);

impl Address {
    /// No memory.
    pub const NULL: Address = Address(0);

    /// The address `words` of four bytes further on.
    pub fn plus(self, words: usize) -> Address {
        self.plus_bytes(4 * words)
    }

    /// The address so many bytes further on.
    pub fn plus_bytes(self, bytes: usize) -> Address {
        Address(self.0 + bytes as u64)
    }

    /// Whether 16 bytes can be read from here at once.
    pub fn is_aligned(self) -> bool {
        self.0.is_multiple_of(16)
    }
}

/// A device with one arena of memory. Copies and launches happen in the order in which they are asked for; `upload` and
/// `download` return when the host's slice is free to use.
pub trait Driver: Send {
    /// What the device is called.
    fn name(&self) -> String;

    /// Bytes that an arena can have: what is free, and what the arena already holds.
    fn available(&self) -> Result<u64, DeviceError>;

    /// Replaces the arena by one of so many f32 and returns its address, a multiple of 256. What it held is lost.
    fn allocate(&mut self, elements: usize) -> Result<Address, DeviceError>;

    /// Copies to the device.
    fn upload(&mut self, to: Address, data: &[f32]) -> Result<(), DeviceError>;

    /// Copies from the device, after everything that was launched before.
    fn download(&mut self, from: Address, data: &mut [f32]) -> Result<(), DeviceError>;

    /// Runs a kernel of [`super::kernels::source`], or keeps it while launches are recorded.
    fn launch(&mut self, launch: &Launch<'_>) -> Result<(), DeviceError>;

    /// From here to [`Driver::recorded`] launches are kept, not run; nothing is copied between the two.
    fn record(&mut self) -> Result<(), DeviceError>;

    /// Ends a recording. It holds until the arena is replaced.
    fn recorded(&mut self) -> Result<Recording, DeviceError>;

    /// Runs what was recorded.
    fn replay(&mut self, recording: Recording) -> Result<(), DeviceError>;

    /// Copies to the device while launches run, after the earlier uploads of the same slot; what was launched before must
    /// not read or write the places.
    fn upload_beside(
        &mut self,
        _slot: usize,
        pieces: &[(Address, &[f32])],
    ) -> Result<(), DeviceError> {
        pieces
            .iter()
            .try_for_each(|(to, data)| self.upload(*to, data))
    }

    /// Launches from here on come after a slot's uploads.
    fn await_upload(&mut self, _slot: usize) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Marks the present end of the launches under a slot's number.
    fn mark(&mut self, _slot: usize) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Copies from the device once the launches before a mark are done; those behind it must not write the place.
    fn download_at(
        &mut self,
        _slot: usize,
        from: Address,
        data: &mut [f32],
    ) -> Result<(), DeviceError> {
        self.download(from, data)
    }

    /// Notes the time of each launch from here on, where the device has a clock.
    fn start_clock(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Seconds that each launch since [`Driver::start_clock`] took, which ends it; none without a clock.
    fn stop_clock(&mut self) -> Result<Vec<f64>, DeviceError> {
        Ok(Vec::new())
    }
}

/// Launches that a driver keeps, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording(pub usize);
