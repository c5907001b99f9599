//! One class number per pixel.

use crate::Error;

/// The classes of an image's pixels: class numbers in row-major order; [`Labels::UNKNOWN`] where the class is unknown.
/// Class 0 is the background, which is not tinted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    width: u32,
    height: u32,
    classes: Vec<u8>,
}

impl Labels {
    /// The value of pixels whose class is unknown.
    pub const UNKNOWN: u8 = 255;

    /// Checks that `classes` has `width · height` entries and that neither side is 0.
    pub fn new(width: u32, height: u32, classes: Vec<u8>) -> Result<Self, Error> {
        let wanted = width as usize * height as usize;
        if wanted == 0 || classes.len() != wanted {
            let expected = format!("{width}×{height} class numbers, at least one");
            return Err(Error::shape("labels", expected, classes.len()));
        }
        Ok(Self {
            width,
            height,
            classes,
        })
    }

    /// Columns and rows.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The class numbers, row by row.
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }
}
