//! What the engine asks of a device: memory, copies, launches. The GPU is one driver; the tests bring another, which runs
//! the same kernels on the host.

mod address;
mod args;
mod beside;
mod dry;
mod error;
mod gpu;
mod nvrtc;
mod recordings;

pub use address::Address;
pub use args::{Arg, Launch, NormParameters, Part, Parts, Patches, Up, Windowed};
pub use dry::Dry;
pub use error::DeviceError;
pub use gpu::Gpu;
pub use nvrtc::{Compiled, compile, cubin};

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
