//! Masks: what their pixel values mean, and one class a pixel in memory.

mod coding;
mod file;

pub use coding::{Marks, MaskCoding, PixelValue};
pub use file::Mask;

/// The class of a pixel that counts nowhere.
pub const UNKNOWN: u8 = 255;
