//! The network as a typed graph, the architectures, the engines that run them, and training on dfdx.
//!
//! A [`graph::Graph`] is plain data made by [`build`]; a [`plan`] says in which order its steps run and which
//! buffers they share; an [`engine`] executes the plan; [`network::Network`] joins graph, weights and engine and
//! puts the whole pass on dfdx's tape as one operation; [`weights`] moves values to and from files in timm's and
//! segmentation_models.pytorch's names; [`train`] fits.

// They panic where nobody reads; `pipeline::terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod build;
pub mod checkpoint;
pub mod engine;
pub mod graph;
pub mod network;
pub mod plan;
pub mod rng;
pub mod store;
pub mod train;
pub mod weights;
