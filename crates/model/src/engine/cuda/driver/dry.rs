//! A driver that does nothing: a pass with it shows what a plan launches and how much memory it needs.

use super::{Address, DeviceError, Driver, Launch, Recording};
use crate::graph::NodeId;

/// Checks and records each launch's geometry.
#[derive(Debug, Default)]
pub struct Dry {
    /// Kernel, grid and node of every launch, in order.
    pub launches: Vec<(&'static str, [u32; 3], NodeId)>,
}

impl Driver for Dry {
    fn name(&self) -> String {
        "no device".into()
    }

    fn available(&self) -> Result<u64, DeviceError> {
        Ok(u64::MAX)
    }

    fn allocate(&mut self, _: usize) -> Result<Address, DeviceError> {
        Ok(Address(256))
    }

    fn upload(&mut self, _: Address, _: &[f32]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn download(&mut self, _: Address, _: &mut [f32]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn launch(&mut self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        launch.check()?;
        self.launches
            .push((launch.kernel, launch.grid, launch.node));
        Ok(())
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn recorded(&mut self) -> Result<Recording, DeviceError> {
        Ok(Recording(0))
    }

    fn replay(&mut self, _: Recording) -> Result<(), DeviceError> {
        Ok(())
    }
}
