//! An image file that is read once: its hash, its size and its pixels come from the same bytes.

use std::path::{Path, PathBuf};

use files::sha256;
use image::DynamicImage;

use crate::{Decoder, Frame, Framed, ImagingError};

/// An image file in memory.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    sha256: String,
    pixels: DynamicImage,
}

impl ImageFile {
    /// Reads and decodes a file.
    ///
    /// # Errors
    /// [`ImagingError::BadImage`] where it cannot be read or decoded.
    pub fn read(path: &Path, decoder: Decoder) -> Result<Self, ImagingError> {
        let bad = |reason| ImagingError::bad_image(path, reason);
        let bytes = decoder.read(path).map_err(bad)?;
        Ok(Self {
            path: path.into(),
            sha256: sha256::hex(&bytes),
            pixels: decoder.decode(&bytes).map_err(bad)?.pixels,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the file's bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Rows and columns as the image is to be seen.
    pub fn size(&self) -> (usize, usize) {
        (self.pixels.height() as usize, self.pixels.width() as usize)
    }

    /// All of the image in a frame, resized exactly as training images are.
    ///
    /// # Errors
    /// [`ImagingError::Setting`] for a frame without pixels or of other than 1 or 3 channels.
    pub fn framed(&self, frame: Frame) -> Result<Framed, ImagingError> {
        frame.whole(&self.pixels, &self.path)
    }
}
