//! Everything that a training step does on a device outside the network, on the host (`cuda_host`) and on a GPU if
//! there is one, compared with the host: losses with their gradients and hits, clipping, update rules, moving
//! average, and the rejection of steps that are not finite.
//!
//! On the host every case runs with blocks and threads in both orders and must give identical bits. Memory is filled
//! with NaN before it is written; the gaps between allocations must still be NaN afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod batch;
mod class_losses;
#[path = "../../../model/tests/cuda_host/mod.rs"]
mod cuda_host;
mod device;
mod in_double;
mod launches;
mod map_losses;
mod state;
mod updates;
