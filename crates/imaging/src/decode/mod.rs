//! Decodes bytes to pixels: the only place where image files are read.
//!
//! Decoding is strict: a file that a viewer would show with a grey lower half is an error here. The orientation in the
//! file's metadata is applied, as in a viewer. Memory is bounded: the number of pixels of a file is checked before
//! memory is allocated for them. Any failure of a decoder on a damaged file, including a panic, becomes an error for
//! that file.

mod bits;
mod grey;
mod guard;
mod jpeg;
mod palette;

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

pub use grey::intensities;
pub(crate) use grey::{to_grey, without_alpha};

use crate::error::ImagingError;

/// Reads image files of up to a maximum number of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoder {
    /// Width × height of the largest image that is read.
    pub max_pixels: u64,
}

impl Default for Decoder {
    /// [`Decoder::DEFAULT_MEGAPIXELS`].
    fn default() -> Self {
        Self::of_megapixels(Self::DEFAULT_MEGAPIXELS)
    }
}

/// An image in its intended orientation.
#[derive(Debug)]
pub struct Decoded {
    /// Its pixels.
    pub pixels: DynamicImage,
    /// Whether the pixels were rotated or mirrored, as requested by the file.
    pub turned: bool,
}

impl Decoder {
    /// 10,000 by 10,000: more than any radiograph, less than a scan of a whole slide.
    pub const DEFAULT_MEGAPIXELS: u64 = 100;

    /// A decoder for images of up to this many millions of pixels.
    pub fn of_megapixels(megapixels: u64) -> Self {
        Self {
            max_pixels: megapixels.saturating_mul(1_000_000),
        }
    }

    /// The pixels of an image file.
    ///
    /// # Errors
    /// [`ImagingError::BadImage`] if it cannot be read or is not a JPEG or PNG.
    pub fn pixels(&self, path: &Path) -> Result<DynamicImage, ImagingError> {
        let decoded = self.read(path).and_then(|bytes| self.decode(&bytes));
        let decoded = decoded.map_err(|reason| ImagingError::bad_image(path, reason))?;
        Ok(decoded.pixels)
    }

    /// The content of a file.
    ///
    /// # Errors
    /// The reason, as a message.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let words = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        };
        let about = std::fs::metadata(path).map_err(words)?;
        if about.is_dir() {
            return Err("this is a folder".to_owned());
        }
        // Opening a named pipe blocks until it has a writer, and a device may never end.
        if !about.is_file() {
            return Err("this is not a regular file".to_owned());
        }
        if about.len() > self.max_bytes() {
            let megabytes = about.len() / 1_000_000;
            return Err(format!(
                "the file has {megabytes} MB, more than any image of {} can have",
                self.limit()
            ));
        }
        std::fs::read(path).map_err(words)
    }

    /// Decodes a JPEG or PNG, whatever its extension.
    ///
    /// # Errors
    /// The reason, as a message.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded, String> {
        guard::contained(|| {
            let decoder = self.checked(bytes)?;
            turned(decoder, |decoder| {
                DynamicImage::from_decoder(decoder).map_err(undecodable)
            })
        })
    }

    /// Like [`Decoder::decode`], but an image with a palette is returned as its indices: in a mask these are the
    /// classes, and the colours are only for display.
    pub(crate) fn decode_indices(&self, bytes: &[u8]) -> Result<DynamicImage, String> {
        let decoded = guard::contained(|| {
            let decoder = self.checked(bytes)?;
            turned(decoder, |decoder| match palette::indices(bytes)? {
                Some(indices) => Ok(indices),
                None => DynamicImage::from_decoder(decoder).map_err(undecodable),
            })
        });
        Ok(decoded?.pixels)
    }

    /// A decoder for a file that is complete and not too large.
    fn checked<'b>(&self, bytes: &'b [u8]) -> Result<impl ImageDecoder + 'b, String> {
        let reader = reader(bytes)?;
        if reader.format() == Some(ImageFormat::Jpeg) {
            jpeg::check(bytes, self.max_pixels)?;
        }
        let mut decoder = reader.into_decoder().map_err(undecodable)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(format!(
                "it is {width}x{height} pixels, more than {}; raise image.max_megapixels to read it",
                self.limit()
            ));
        }
        decoder.set_limits(self.limits()).map_err(undecodable)?;
        Ok(decoder)
    }

    /// What a decoder may allocate.
    fn limits(&self) -> Limits {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(self.max_bytes());
        limits
    }

    /// Four channels of 16 bits per pixel, and room for other content of the file.
    fn max_bytes(&self) -> u64 {
        self.max_pixels.saturating_mul(8).saturating_add(64 << 20)
    }

    fn limit(&self) -> String {
        format!("{} megapixels", self.max_pixels as f64 / 1e6)
    }
}

fn reader(bytes: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let mut reader = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => {
            ImageReader::with_format(Cursor::new(bytes), format)
        }
        _ => return Err("not a JPEG or PNG image".to_owned()),
    };
    // The limits are set once the size is known.
    reader.no_limits();
    Ok(reader)
}

fn undecodable(error: image::ImageError) -> String {
    format!("cannot be decoded: {error}")
}

/// The file's orientation; one that cannot be read is ignored, as in Pillow.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// The pixels in the orientation that the file specifies.
fn turned<D: ImageDecoder>(
    mut decoder: D,
    pixels: impl FnOnce(D) -> Result<DynamicImage, String>,
) -> Result<Decoded, String> {
    let orientation = orientation(&mut decoder);
    let mut image = pixels(decoder)?;
    image.apply_orientation(orientation);
    Ok(Decoded {
        pixels: image,
        turned: orientation != Orientation::NoTransforms,
    })
}

#[cfg(test)]
mod tests;
