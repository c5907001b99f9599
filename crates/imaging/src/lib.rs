//! Decoding and encoding: the only place where image and mask files are read, and where pictures are written.
//!
//! A [`Decoder`] reads a file within given limits, as a viewer would show it. [`Picture`] is an image with its mask,
//! which [`Picture::framed`] resizes into a network's frame; a [`Placement`] maps back to the image's own size.
//! [`MaskCoding`] defines the meaning of a mask's values. [`tiles`] handles images that are too large for a network.
//! The crate does not depend on data sets, networks or settings.
//!
//! ```
//! use imaging::{Decoder, Fit, Frame, ImageFile, encode};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("film.png");
//! std::fs::write(&path, encode::mask((2, 3), &[0, 1, 0, 1, 0, 1], &[0, 255])?)?;
//! let film = ImageFile::read(&path, Decoder::default())?;
//! let frame = Frame { height: 4, width: 6, channels: 1, fit: Fit::Pad };
//! let framed = film.framed(frame)?;
//! assert_eq!(framed.image.values().len(), 4 * 6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod decode;
pub mod encode;
mod error;
mod file;
mod frame;
mod mask;
mod placement;
pub mod tiles;

pub use decode::{Decoded, Decoder, Equalize, Tones, check_format, intensities};
pub use dicom::{Header, PixelSpacing, SpacingAt, Window};
pub use error::ImagingError;
pub use file::ImageFile;
pub use frame::{Frame, Framed, Picture, Pixels};
pub use mask::{Channel, Marks, Mask, MaskCoding, PixelValue, UNKNOWN};
pub use placement::{Fit, Placement, Rect};
