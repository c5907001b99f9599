//! Masks: the meaning of their pixel values, and their representation in memory as one class per pixel.

mod coding;
mod file;

pub use coding::{Marks, MaskCoding, PixelValue};
pub use file::Mask;

/// The class of a pixel that is ignored.
pub const UNKNOWN: u8 = 255;
