//! Decodes bytes to pixels: the only place where image files are read.
//!
//! Decoding is strict: a file that a viewer would show with a grey lower half is an error here. The orientation in the
//! file's metadata is applied, as in a viewer. Memory is bounded: the number of pixels of a file is checked before
//! memory is allocated for them. Any failure of a decoder on a damaged file, including a panic, becomes an error for
//! that file.

mod clahe;
mod grey;
mod palette;
mod tiff;
mod tones;
mod webp;

use std::io::Cursor;
use std::path::Path;

use decoding::contained;
use dicom::{Header, ReadOptions, is_dicom};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

pub use grey::intensities;
pub(crate) use grey::{to_grey, without_alpha};
pub use tones::{Equalize, Tones};

use crate::error::ImagingError;

/// Reads image files of up to a maximum number of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoder {
    /// Width × height of the largest image that is read.
    pub max_pixels: u64,
    /// Which frame of a DICOM file with several is read, counted from 1; without a number, only files with one are.
    #[serde(default)]
    pub frame: Option<u32>,
    /// How stored values become grey.
    #[serde(default)]
    pub tones: Tones,
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
    /// What a DICOM file says about its image.
    pub header: Option<Box<Header>>,
}

impl Decoder {
    /// 10,000 by 10,000: more than any radiograph, less than a scan of a whole slide.
    pub const DEFAULT_MEGAPIXELS: u64 = 100;

    /// A decoder for images of up to this many millions of pixels.
    pub fn of_megapixels(megapixels: u64) -> Self {
        Self {
            max_pixels: megapixels.saturating_mul(1_000_000),
            frame: None,
            tones: Tones::default(),
        }
    }

    /// The pixels of an image file.
    ///
    /// # Errors
    /// [`ImagingError::BadImage`] if it cannot be read or is not an image of a known format.
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

    /// Decodes a JPEG, PNG, TIFF, BMP, WebP or DICOM file, whatever its extension, with the decoder's [`Tones`].
    ///
    /// # Errors
    /// The reason, as a message.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded, String> {
        contained(|| {
            let decoded = match format(bytes)? {
                Format::Dicom => self.dicom(bytes)?,
                Format::Image(format) => {
                    let decoded = self.image(bytes, format, Palette::Colours)?;
                    let pixels = self.tones.stretched(decoded.pixels)?;
                    Decoded { pixels, ..decoded }
                }
            };
            let pixels = self.tones.equalized(decoded.pixels);
            Ok(Decoded { pixels, ..decoded })
        })
    }

    /// Like [`Decoder::decode`], but an image with a palette is returned as its indices: in a mask these are the
    /// classes, and the colours are only for display.
    pub(crate) fn decode_indices(&self, bytes: &[u8]) -> Result<DynamicImage, String> {
        self.decode_mask(bytes, Palette::Indices)
    }

    /// Like [`Decoder::decode_indices`], but with the colours of a palette.
    pub(crate) fn decode_displayed(&self, bytes: &[u8]) -> Result<DynamicImage, String> {
        self.decode_mask(bytes, Palette::Colours)
    }

    /// The pixels as stored, whatever the decoder's [`Tones`].
    fn decode_mask(&self, bytes: &[u8], palette: Palette) -> Result<DynamicImage, String> {
        let decoded = contained(|| match format(bytes)? {
            // A window would change the values.
            Format::Dicom => Err("it is a DICOM file; save the mask as a PNG".to_owned()),
            Format::Image(format) => self.image(bytes, format, palette),
        });
        Ok(decoded?.pixels)
    }

    /// A frame of a DICOM file, through the window.
    fn dicom(&self, bytes: &[u8]) -> Result<Decoded, String> {
        let options = ReadOptions {
            frame: self.frame,
            window: self.tones.window,
            max_pixels: self.max_pixels,
        };
        let image = dicom::read(bytes, &options)?;
        Ok(Decoded {
            pixels: image.pixels,
            turned: false,
            header: Some(Box::new(image.header)),
        })
    }

    fn image(
        &self,
        bytes: &[u8],
        format: ImageFormat,
        palette: Palette,
    ) -> Result<Decoded, String> {
        if format == ImageFormat::Tiff {
            tiff::check(bytes)?;
            if let Some((width, height)) = tiff::palette_size(bytes)? {
                self.check_size(width, height)?;
                let image = tiff::indexed(bytes, self.max_bytes())?;
                let orientation = image.orientation;
                return Ok(Decoded::turned(image.pixels(palette), orientation));
            }
        }
        let mut decoder = self.checked(bytes, format)?;
        let orientation = orientation(&mut decoder);
        let indices = match palette {
            Palette::Indices => palette::indices(bytes, format)?,
            Palette::Colours => None,
        };
        let pixels = match indices {
            Some(indices) => indices,
            None => DynamicImage::from_decoder(decoder).map_err(undecodable)?,
        };
        Ok(Decoded::turned(pixels, orientation))
    }

    /// A decoder for a file that is complete and not too large.
    fn checked<'b>(
        &self,
        bytes: &'b [u8],
        format: ImageFormat,
    ) -> Result<impl ImageDecoder + 'b, String> {
        match format {
            ImageFormat::Jpeg => decoding::jpeg::check(bytes, self.max_pixels)?,
            ImageFormat::WebP => webp::check(bytes)?,
            _ => {}
        }
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        // The limits are set once the size is known.
        reader.no_limits();
        let mut decoder = reader.into_decoder().map_err(undecodable)?;
        let (width, height) = decoder.dimensions();
        self.check_size(width, height)?;
        decoder.set_limits(self.limits()).map_err(undecodable)?;
        Ok(decoder)
    }

    fn check_size(&self, width: u32, height: u32) -> Result<(), String> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(format!(
                "it is {width}x{height} pixels, more than {}; raise image.max_megapixels to read it",
                self.limit()
            ));
        }
        Ok(())
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

/// Checks that a file begins as one of a format that is read; the rest may be damaged.
///
/// # Errors
/// The formats that are read.
pub fn check_format(bytes: &[u8]) -> Result<(), String> {
    format(bytes).map(drop)
}

/// What to return of an image with a palette.
#[derive(Clone, Copy)]
enum Palette {
    Colours,
    Indices,
}

enum Format {
    Image(ImageFormat),
    Dicom,
}

fn format(bytes: &[u8]) -> Result<Format, String> {
    use ImageFormat::{Bmp, Jpeg, Png, Tiff, WebP};
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    // First, because the 128 bytes before a DICOM file's mark may be the beginning of a TIFF (PS3.10, section 7.1).
    if is_dicom(bytes) {
        return Ok(Format::Dicom);
    }
    match image::guess_format(bytes) {
        Ok(format @ (Bmp | Jpeg | Png | Tiff | WebP)) => Ok(Format::Image(format)),
        _ => Err("not a JPEG, PNG, TIFF, BMP, WebP or DICOM image".to_owned()),
    }
}

fn undecodable(error: image::ImageError) -> String {
    format!("cannot be decoded: {error}")
}

/// The file's orientation; one that cannot be read is ignored, as in Pillow.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

impl Decoded {
    /// The pixels in the orientation that the file specifies.
    fn turned(mut pixels: DynamicImage, orientation: Orientation) -> Self {
        pixels.apply_orientation(orientation);
        Self {
            pixels,
            turned: orientation != Orientation::NoTransforms,
            header: None,
        }
    }
}

#[cfg(test)]
mod tests;
