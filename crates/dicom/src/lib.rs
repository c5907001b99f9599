//! DICOM files to pixels and facts (PS3.3, PS3.5, PS3.10).
//!
//! [`read`] decodes one frame as a viewer would show it: Modality LUT, window or VOI LUT, inverted greys, palettes, YBR
//! colours, padding; and returns the [`Header`] with the facts that a data set is made of. [`modality_values`] and
//! [`voi_values`] return the numbers before they become grey, which are compared with pydicom's (`docs/dicom.md`).
//!
//! Files come from outside: every size is checked before memory is allocated for it, nothing recurses without a bound,
//! and a decoder's panic is an error. The patient's name, dates and accession numbers are skipped without being read, except
//! by [`write::Source`], which copies them from one file to another without showing them.
//!
//! [`write`](mod@write) makes files: the results of a network as a segmentation or a picture, and whatever is built from
//! elements.
//!
//! ```
//! use dicom::{ReadOptions, is_dicom, read};
//!
//! let bytes = b"not a DICOM file";
//! assert!(!is_dicom(bytes));
//! assert!(read(bytes, &ReadOptions::default()).is_err());
//! ```

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod codecs;
mod colour;
mod dataset;
mod fragments;
mod frame;
mod grey;
mod header;
mod layout;
mod lut;
mod modality;
mod part10;
mod samples;
mod syntax;
mod tags;
mod window;
pub mod write;

use decoding::contained;
use image::DynamicImage;

use crate::dataset::DataSet;
use crate::grey::Grey;
use crate::header::Groups;
use crate::layout::Layout;
use crate::part10::File;
use crate::samples::Frame;
use crate::tags::Tag;

pub use header::{Header, PatientId, PixelSpacing, SpacingAt};
pub use part10::is_dicom;
pub use window::{Line, Window};

/// What to read, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadOptions {
    /// The frame, counted from 1 as DICOM does; `None` for the only one of a file.
    pub frame: Option<u32>,
    /// Which values of a grey image become black and white.
    pub window: Window,
    /// Rows × columns of the largest image that is read. Memory is bounded by 64 bytes per pixel, and 64 MiB.
    pub max_pixels: u64,
}

impl Default for ReadOptions {
    /// The only frame, the file's own window, 100 megapixels.
    fn default() -> Self {
        Self {
            frame: None,
            window: Window::Auto,
            max_pixels: 100_000_000,
        }
    }
}

/// An image and its header.
#[derive(Clone, Debug)]
pub struct DicomImage {
    /// `ImageLuma8` if the samples have up to 8 bits, `ImageLuma16` if they have more, `ImageRgb8` in colour. Grey covers
    /// the window linearly and is black for the lowest value, whatever the file's convention.
    pub pixels: DynamicImage,
    /// The file's facts.
    pub header: Header,
}

/// Numbers of a frame, before they become grey or colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Rows of the frame.
    pub rows: u32,
    /// Columns of the frame.
    pub columns: u32,
    /// Values of a pixel: 1, or 3 for red, green and blue.
    pub samples: usize,
    /// `[rows, columns, samples]`.
    pub values: Vec<f64>,
}

/// Decodes a frame.
///
/// # Errors
/// Why the file is refused, as a sentence that continues its name.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<DicomImage, String> {
    with_frame(bytes, options, |opened, frame| {
        let pixels = match opened.grey()? {
            Some(grey) => grey.image(&frame.samples, options.window)?,
            None => colour::image(opened.groups.set, frame, &opened.layout)?,
        };
        let header = opened.header();
        Ok(DicomImage { pixels, header })
    })
}

/// The header alone, without decoding pixels.
///
/// # Errors
/// As [`read`], but for faults of the compressed pixels; a file without an image is refused, too.
pub fn header(bytes: &[u8], options: &ReadOptions) -> Result<Header, String> {
    with_header(bytes, options, |opened| Ok(opened.header()))
}

/// The values after the Modality LUT, in its unit, as `pydicom.pixels.apply_modality_lut` returns them; of colours, red,
/// green and blue as stored or as in the palette.
///
/// # Errors
/// As [`read`].
pub fn modality_values(bytes: &[u8], options: &ReadOptions) -> Result<Values, String> {
    with_frame(bytes, options, |opened, frame| match opened.grey()? {
        Some(grey) => Ok(opened.values(1, grey.modality_values(&frame.samples))),
        None => Ok(opened.values(3, colour::values(opened.groups.set, frame, &opened.layout)?)),
    })
}

/// The values after the window or VOI LUT, as `pydicom.pixels.apply_voi_lut` returns them for [`Window::Auto`]; of colours
/// as [`modality_values`].
///
/// # Errors
/// As [`read`].
pub fn voi_values(bytes: &[u8], options: &ReadOptions) -> Result<Values, String> {
    with_frame(bytes, options, |opened, frame| match opened.grey()? {
        Some(grey) => Ok(opened.values(1, grey.voi_values(&frame.samples, options.window))),
        None => Ok(opened.values(3, colour::values(opened.groups.set, frame, &opened.layout)?)),
    })
}

/// A file whose header has been read.
struct Opened<'s, 'b> {
    file: &'s File<'b>,
    layout: Layout,
    groups: Groups<'s, 's>,
    options: &'s ReadOptions,
}

impl Opened<'_, '_> {
    fn header(&self) -> Header {
        Header::of(self.groups, &self.layout, &self.file.syntax)
    }

    /// `None` in colour.
    fn grey(&self) -> Result<Option<Grey>, String> {
        match self.layout.is_grey() {
            true => Grey::of(self.groups, self.layout, self.options.window).map(Some),
            false => Ok(None),
        }
    }

    fn values(&self, samples: usize, values: Vec<f64>) -> Values {
        Values {
            rows: self.layout.rows,
            columns: self.layout.columns,
            samples,
            values,
        }
    }
}

fn with_header<T>(
    bytes: &[u8],
    options: &ReadOptions,
    then: impl FnOnce(&Opened<'_, '_>) -> Result<T, String>,
) -> Result<T, String> {
    with_elements(bytes, options, Tag::is_read, then)
}

/// The header, and of the data set the elements that `keep` names, which must be all that the header has.
fn with_elements<T>(
    bytes: &[u8],
    options: &ReadOptions,
    keep: fn(Tag) -> bool,
    then: impl FnOnce(&Opened<'_, '_>) -> Result<T, String>,
) -> Result<T, String> {
    contained(|| {
        let file = File::open(bytes)?;
        let body = file.body(max_bytes(options))?;
        let set: DataSet<'_> = file.data_set(&body, keep)?;
        let layout = Layout::of(&set, options.max_pixels)?;
        let frame = options.frame.unwrap_or(1).saturating_sub(1) as usize;
        let groups = Groups { set: &set, frame };
        then(&Opened {
            file: &file,
            layout,
            groups,
            options,
        })
    })
}

fn with_frame<T>(
    bytes: &[u8],
    options: &ReadOptions,
    then: impl FnOnce(&Opened<'_, '_>, Frame) -> Result<T, String>,
) -> Result<T, String> {
    with_header(bytes, options, |opened| {
        let frame = chosen(options.frame, opened.layout.frames)?;
        let frame = frame::decode(
            opened.groups.set,
            &opened.layout,
            &opened.file.syntax,
            frame,
        )?;
        then(opened, frame)
    })
}

/// The index of the frame to decode, from 0.
fn chosen(frame: Option<u32>, frames: u32) -> Result<usize, String> {
    match (frame, frames) {
        (None, 1) => Ok(0),
        (None, _) => Err(format!(
            "it has {frames} frames, and one image is needed; choose one with image.frame, which then applies to every file"
        )),
        (Some(frame), _) if (1..=frames).contains(&frame) => Ok(frame as usize - 1),
        (Some(frame), _) => Err(format!(
            "it has no frame {frame}; its frames are 1 to {frames}"
        )),
    }
}

/// What a deflated data set may have.
fn max_bytes(options: &ReadOptions) -> u64 {
    options
        .max_pixels
        .saturating_mul(8)
        .saturating_add(64 << 20)
}
