//! A finished figure.

use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use crate::Error;
use crate::error::write;

/// A finished figure in 8-bit RGB, with two pixels per layout unit (a figure 800 units wide has 1600 pixels).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    image: RgbImage,
}

impl Figure {
    /// Wraps an existing image.
    pub fn from_image(image: RgbImage) -> Self {
        Self { image }
    }

    /// The pixels.
    pub fn image(&self) -> &RgbImage {
        &self.image
    }

    /// Encodes the figure as PNG. `path` is used only to name the figure in errors.
    pub fn to_png(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive)
            .write_image(
                self.image.as_raw(),
                self.image.width(),
                self.image.height(),
                ExtendedColorType::Rgb8,
            )
            .map_err(|source| Error::Encode {
                path: path.to_owned(),
                source,
            })?;
        Ok(bytes)
    }

    /// Writes the figure as PNG, atomically. The folder must exist.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write(path, &self.to_png(path)?)
    }
}
