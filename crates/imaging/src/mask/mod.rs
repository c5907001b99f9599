//! Masks: the meaning of their pixel values, and their representation in memory as one class per pixel.

mod coding;
mod file;
mod stored;
mod value;

pub use coding::{Channel, Marks, MaskCoding};
pub use file::Mask;
pub use value::PixelValue;

/// The class of a pixel that is ignored.
pub const UNKNOWN: u8 = 255;
