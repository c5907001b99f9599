//! What a training step does on a device beside the network, on the host (`cuda_host`) and on a GPU where there is one,
//! against the dfdx path: losses with their gradients and right answers, clipping, update rules, moving average, and the
//! refusal of steps that are no numbers.
//!
//! Every case runs with blocks and threads in both orders and must give the same bits. Memory is NaN before it is written
//! and between any two places, and must be NaN there afterwards.
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
