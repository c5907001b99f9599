//! Random augmentation of images and their masks: crop, rotation, flips, zoom, shift, shear and elastic deformation,
//! then brightness, contrast, noise and the like.
//!
//! All the geometry is a single map, affine and, with `elastic`, deformed by a smooth field. An image is therefore
//! resampled once however many transforms are on (bilinearly for images; to the nearest pixel for masks, so that binary
//! masks stay binary and labels stay labels), and image and mask always move together. The result for a sample depends
//! on (configuration, seed, sample) alone: every random number comes from a counter-based generator, and sines and
//! powers from the crate's own polynomials, so threads, platforms and library versions never change a run.
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
//! A crop selects the part that fills the image, and the other geometry is then applied to that part. Beyond the crop's
//! edge, this shows the rest of the image; `fill` is used only beyond the image's edge.
//!
//! The order is fixed: geometry, blur, brightness, contrast, gamma, noise, JPEG, border, erase. Geometry changes
//! image and mask; the rest changes the image only, since pixels that are blanked or darkened keep their label.
//!
//! `mixup` and `cutmix` mix the images of a batch afterwards ([`Mixer`]): an [`Augmenter`] ignores them.

// The print macros panic on a closed pipe; use `terminal` to print.
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
mod jpeg;
mod math;
mod mix;
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
    AugmentConfig, Blur, Border, Cutmix, Elastic, Erase, Factor, Flip, Jpeg, Mixup, Noise,
    RandomResizedCrop, Rotation, Shear, Shift,
};
pub use draw::Draw;
pub use error::AugmentError;
pub use fill::Fill;
pub use mix::{BatchKey, BatchShape, Mix, Mixer};
pub use raster::Raster;
pub use warp::Warp;
