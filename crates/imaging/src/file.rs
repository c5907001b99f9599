//! An image file that is read once, so that its hash, its size and its pixels come from the same bytes.

use std::path::{Path, PathBuf};

use files::sha256;
use image::DynamicImage;

use crate::{Decoder, Frame, Framed, Header, ImagingError, Rect};

/// An image file in memory.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    sha256: String,
    pixels: DynamicImage,
    header: Option<Box<Header>>,
}

impl ImageFile {
    /// Reads and decodes a file.
    ///
    /// # Errors
    /// [`ImagingError::BadImage`] if it cannot be read or decoded.
    pub fn read(path: &Path, decoder: Decoder) -> Result<Self, ImagingError> {
        let bad = |reason| ImagingError::bad_image(path, reason);
        Self::of_bytes(path, &decoder.read(path).map_err(bad)?, decoder)
    }

    /// Decodes a file whose bytes have been read.
    ///
    /// # Errors
    /// As [`ImageFile::read`].
    pub fn of_bytes(path: &Path, bytes: &[u8], decoder: Decoder) -> Result<Self, ImagingError> {
        let bad = |reason| ImagingError::bad_image(path, reason);
        let decoded = decoder.decode(bytes).map_err(bad)?;
        Ok(Self {
            path: path.into(),
            sha256: sha256::hex(bytes),
            pixels: decoded.pixels,
            header: decoded.header,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the file's bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What a DICOM file says about the image; `None` for other formats.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_deref()
    }

    /// Rows and columns of the image in its intended orientation.
    pub fn size(&self) -> (usize, usize) {
        (self.pixels.height() as usize, self.pixels.width() as usize)
    }

    /// Whether it has colours.
    pub fn is_colour(&self) -> bool {
        self.pixels.color().has_color()
    }

    /// Bits of a channel: 8, or 16 for more.
    pub fn bits(&self) -> u8 {
        match self.pixels {
            DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA16(_)
            | DynamicImage::ImageRgb16(_)
            | DynamicImage::ImageRgba16(_) => 16,
            _ => 8,
        }
    }

    pub(crate) fn pixels(&self) -> &DynamicImage {
        &self.pixels
    }

    /// The whole image in a frame, resized exactly as training images are.
    ///
    /// # Errors
    /// [`ImagingError::Setting`] for a frame without pixels or with a number of channels other than 1 or 3.
    pub fn framed(&self, frame: Frame) -> Result<Framed, ImagingError> {
        frame.part(&self.pixels, None, &self.path)
    }

    /// A part of the image in a frame; all of it if `part` is `None`.
    ///
    /// # Errors
    /// As [`ImageFile::framed`], or a part that is not inside the image.
    pub fn framed_part(&self, part: Option<Rect>, frame: Frame) -> Result<Framed, ImagingError> {
        frame.part(&self.pixels, part, &self.path)
    }
}
