//! The interface of a device: memory, copies, launches. The GPU is one driver; the tests provide another, which runs
//! the same kernels on the host.

mod address;
mod args;
mod copies;
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

/// A device with one arena of memory. Copies and launches happen in the order in which they are requested; `upload` and
/// `download` return when the host's slice may be reused.
pub trait Driver: Send {
    /// The device's name.
    fn name(&self) -> String;

    /// Bytes available to an arena: free memory plus what the current arena holds.
    fn available(&self) -> Result<u64, DeviceError>;

    /// Replaces the arena by one of `elements` f32 and returns its address, a multiple of 256. Its contents are lost.
    fn allocate(&mut self, elements: usize) -> Result<Address, DeviceError>;

    /// Copies to the device.
    fn upload(&mut self, to: Address, data: &[f32]) -> Result<(), DeviceError>;

    /// Copies from the device, after everything that was launched before.
    fn download(&mut self, from: Address, data: &mut [f32]) -> Result<(), DeviceError>;

    /// Runs a kernel of [`super::kernels::source`], or stores the launch while launches are recorded.
    fn launch(&mut self, launch: &Launch<'_>) -> Result<(), DeviceError>;

    /// Starts a recording: until [`Driver::recorded`], launches are stored, not run, and nothing may be copied.
    fn record(&mut self) -> Result<(), DeviceError>;

    /// Ends a recording, which is valid until the arena is replaced.
    fn recorded(&mut self) -> Result<Recording, DeviceError>;

    /// Runs the recorded launches.
    fn replay(&mut self, recording: Recording) -> Result<(), DeviceError>;

    /// Copies to the device while launches run, after the earlier uploads of the same slot; launches already queued
    /// must not read or write the destinations.
    fn upload_concurrent(
        &mut self,
        _slot: usize,
        parts: &[(Address, &[f32])],
    ) -> Result<(), DeviceError> {
        parts
            .iter()
            .try_for_each(|(to, data)| self.upload(*to, data))
    }

    /// Makes all later launches wait for a slot's uploads.
    fn await_upload(&mut self, _slot: usize) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Marks the current end of the launches under a slot's number.
    fn mark(&mut self, _slot: usize) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Copies from the device once the launches before a slot's mark are complete; later ones must not write the
    /// source.
    fn download_at(
        &mut self,
        _slot: usize,
        from: Address,
        data: &mut [f32],
    ) -> Result<(), DeviceError> {
        self.download(from, data)
    }

    /// Starts timing each launch, if the device has a clock.
    fn start_clock(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Stops timing and returns the seconds that each launch since [`Driver::start_clock`] took; none without a clock.
    fn stop_clock(&mut self) -> Result<Vec<f64>, DeviceError> {
        Ok(Vec::new())
    }
}

/// Number of a recording that a driver stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording(pub usize);
