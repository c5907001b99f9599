//! Random augmentation of images and their masks: crop, rotate, flip, zoom, shift, shear, bend, then light and noise.
//!
//! All the geometry is one map, affine and bent by a smooth field where `elastic` is on, so a picture is resampled
//! once however many transforms are on (bilinear for images, nearest for masks, which therefore stay binary, and
//! labels labels), and image and mask always move together. What happens to a sample is a function of (configuration, seed, sample) alone: every random
//! number comes from the crate's own counter-based generator, and sines and powers from its own
//! polynomials, so threads, platforms and library versions never change a run.
//!
//! ```
//! use augment::{AugmentConfig, Augmenter, Factor, Flip, Raster};
//!
//! let config = AugmentConfig {
//!     flip: Some(Flip { horizontal: 0.5, vertical: 0.0 }),
//!     zoom: Some(Factor { min: 0.9, max: 1.1, probability: 1.0 }),
//!     ..AugmentConfig::default()
//! };
//! let augmenter = Augmenter::new(&config)?;
//! let mut image = Raster::new(2, 2, 1, vec![0.0, 0.25, 0.5, 1.0])?;
//! println!("{}", augmenter.draw(7, (2, 2))); // for example: flipped horizontally, zoom ×1.043
//! augmenter.apply(7, &mut image, None);
//! # Ok::<(), augment::AugmentError>(())
//! ```
//!
//! A crop chooses what fills the picture, and the other geometry then moves that. What it brings into view from beyond
//! the crop's edge is the picture itself, and only beyond the picture's edge there is `fill`.
//!
//! The order is fixed: geometry, blur, brightness, contrast, gamma, noise, border, erase. Geometry touches
//! image and mask; the rest touches the image only, since what is hidden or darkened keeps its label.

// They panic where nobody reads; `terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod affine;
mod area;
mod augmenter;
mod blur;
mod check;
mod config;
mod crop;
mod draw;
mod error;
mod fill;
mod math;
mod occlude;
mod photometric;
mod raster;
mod resample;
mod streams;
mod warp;

pub use affine::Affine;
pub use area::{RelativeRect, Shade};
pub use augmenter::Augmenter;
pub use config::{
    AugmentConfig, Blur, Border, Elastic, Erase, Factor, Flip, Noise, RandomResizedCrop, Rotation,
    Shear, Shift,
};
pub use draw::Draw;
pub use error::AugmentError;
pub use fill::Fill;
pub use raster::Raster;
pub use warp::Warp;
