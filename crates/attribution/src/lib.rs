//! Attributions: which pixels of an image a network's class score is based on, and figures that judge the answer.
//!
//! A [`Method`] turns a [`Network`](model::network::Network), one normalized [`Image`] and a [`Target`] (a class, or one
//! class against another) into a [`HeatMap`] of the image's size:
//!
//! | method | what it needs | what its values are |
//! | --- | --- | --- |
//! | [`GradCam`], [`GradCamPlusPlus`] | one gradient at a feature map | weighted features, not negative, as coarse as they |
//! | [`IntegratedGradients`] | a gradient at the image per step | shares of the score, which add up to it |
//! | [`Occlusion`] | a forward pass per window | by how much the score falls |
//!
//! A heat map looks convincing whether or not it is right, so [`judge`] has what tells: deletion and insertion curves,
//! the pointing games where a mask is known, the sanity check by randomized weights, and agreement between methods.
//!
//! The gradients are those of inference ([`Network::sensitivities`](model::network::Network::sensitivities)), on the CPU.
//! This crate depends on no files, settings or images of its own; one call is one image, so progress and interruption
//! are left to the caller.
//!
//! ```
//! use attribution::judge::Deletion;
//! use attribution::{HeatMap, Image, Method, Target};
//! use model::build::{ModelSpec, build};
//! use model::graph::Hwc;
//! use model::network::Network;
//!
//! let spec = ModelSpec { encoder: Some("efficientnet_lite0".into()), ..ModelSpec::default() };
//! let network = Network::new(build(&spec)?, 1);
//! let shape = Hwc { h: 64, w: 64, c: 3 };
//! let pixels = vec![0.5; shape.len()];
//! let image = Image::new(&pixels, shape)?;
//! let method = Method::named("grad_cam").ok_or("no such method")?;
//! let map = method.map(&network, image, Target::Class(1))?;
//! assert_eq!(map.size(), (64, 64));
//!
//! let deletion = Deletion { steps: 8, ..Deletion::default() };
//! let found = deletion.curve(&network, image, Target::Class(1), &map)?;
//! let chance = deletion.curve(&network, image, Target::Class(1), &HeatMap::random(64, 64, 0))?;
//! println!("area {:.3}, of a random order {:.3}", found.area, chance.area);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod judge;

mod blur;
mod cam;
mod error;
mod heat_map;
mod image;
mod integrated_gradients;
mod method;
mod occlusion;
mod quadrature;
mod scoring;
mod target;

pub use cam::{GradCam, GradCamPlusPlus};
pub use error::{AttributionError, Result};
pub use heat_map::HeatMap;
pub use image::{Baseline, Image};
pub use integrated_gradients::{Integrated, IntegratedGradients};
pub use method::Method;
pub use occlusion::Occlusion;
pub use target::Target;
