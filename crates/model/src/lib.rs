//! The network as a typed graph, the architectures, and the engines that run them.
//!
//! A [`graph::Graph`] is plain data made by [`build`]; a [`plan`] says in which order its steps run and which
//! buffers they share; an [`engine`] executes the plan; [`network::Network`] joins graph, weights and engine and
//! puts the whole pass on dfdx's tape as one operation. Files are the crate `formats`'s, fitting is `train`'s.

// They panic where nobody reads; `terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod build;
pub mod engine;
pub mod graph;
pub mod network;
pub mod plan;
pub mod store;
