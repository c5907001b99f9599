//! The network as a typed graph, the architectures, and the engines that run them.
//!
//! A [`graph::Graph`] is plain data made by [`build`]; a [`plan`] defines the order of its steps and the buffers that
//! they share; an [`engine`] executes the plan; [`network::Network`] combines graph, weights and engine and records the
//! whole pass on dfdx's tape as one operation. Files are handled by the crate `formats`, training by `train`.

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod build;
pub mod engine;
pub mod graph;
pub mod network;
pub mod plan;
pub mod store;
