//! The network as a typed graph, the architectures, and the engines that run them.
//!
//! A [`graph::Graph`] is plain data made by [`build`]; a [`plan`] defines the order of its steps and the buffers that
//! they share; an [`engine`] executes the plan; [`network::Network`] combines graph, weights and engine and records the
//! whole pass on dfdx's tape as one operation. Files are handled by the crate `formats`, training by `train`.
//!
//! A crate of its own because everything that runs a network needs it, and few of these train one or read its files.
//!
//! ```
//! use model::build::{ModelSpec, build};
//! use model::engine::Images;
//! use model::graph::Nhwc;
//! use model::network::Network;
//! let spec = ModelSpec {
//!     encoder: Some("efficientnet_b0".into()),
//!     decoder: Some("unet".into()),
//!     ..ModelSpec::default()
//! };
//! let network = Network::new(build(&spec)?, 1);
//! let shape = Nhwc { n: 1, h: 64, w: 64, c: 3 };
//! let images = Images { data: &vec![0.5; shape.len()], shape };
//! let logits = network.infer(images, &["logits"])?.remove(0);
//! assert_eq!(logits.data.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod build;
pub mod calibration;
pub mod engine;
pub mod graph;
pub mod network;
pub mod plan;
pub mod quantization;
pub mod store;
