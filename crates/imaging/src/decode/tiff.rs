//! TIFFs: checks before they are decoded, and images with a palette, which `image` does not read.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{CompressionMethod, Tag};

use super::Palette;
use super::palette::unpack;

type Tiff<'b> = Decoder<Cursor<&'b [u8]>>;

/// An image with a palette.
pub(super) struct Indexed {
    indices: GrayImage,
    colours: Vec<[u8; 3]>,
    pub(super) orientation: Orientation,
}

/// Checks that a TIFF is a single image in a coding whose gaps are noticed.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut tiff = open(bytes)?;
    let number = tiff.find_tag_unsigned::<u16>(Tag::Compression);
    let number = number.map_err(undecodable)?.unwrap_or(1);
    match CompressionMethod::from_u16_exhaustive(number) {
        CompressionMethod::None
        | CompressionMethod::LZW
        | CompressionMethod::Deflate
        | CompressionMethod::OldDeflate
        | CompressionMethod::PackBits => {}
        other => {
            return Err(format!(
                "its TIFF compression ({other:?}) is not read; save it without compression, or with LZW, Deflate or \
                 PackBits"
            ));
        }
    }
    // A reduced copy of the image on a page of its own is not another image.
    while tiff.more_images() {
        tiff.next_image().map_err(undecodable)?;
        let kind = tiff.find_tag_unsigned::<u32>(Tag::NewSubfileType);
        if kind.map_err(undecodable)?.unwrap_or(0) & 1 == 0 {
            return Err(
                "it is a TIFF of several pages; save the page that shows the image".to_owned(),
            );
        }
    }
    Ok(())
}

/// Width and height if the image has a palette.
pub(super) fn palette_size(bytes: &[u8]) -> Result<Option<(u32, u32)>, String> {
    let mut tiff = open(bytes)?;
    let photometric = tiff.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation);
    match photometric.map_err(undecodable)? {
        Some(PALETTE) => tiff.dimensions().map(Some).map_err(undecodable),
        _ => Ok(None),
    }
}

/// RGBPalette, and BlackIsZero, as Photometric Interpretation.
const PALETTE: u16 = 3;
const GREY: u16 = 1;

/// A copy that states grey values instead of a palette, which `tiff` refuses: the indices are stored as grey values are.
fn as_grey(bytes: &[u8]) -> Option<Vec<u8>> {
    let little = bytes.starts_with(b"II");
    let word = |at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let offset = *bytes.get(4..)?.first_chunk()?;
    let directory = if little {
        u32::from_le_bytes(offset)
    } else {
        u32::from_be_bytes(offset)
    };
    let directory = directory as usize;
    let mut entries = (0..usize::from(word(directory)?)).map(|i| directory + 2 + 12 * i);
    let entry = entries.find(|at| word(*at) == Some(Tag::PhotometricInterpretation.to_u16()))?;
    let grey = if little {
        GREY.to_le_bytes()
    } else {
        GREY.to_be_bytes()
    };
    let mut copy = bytes.to_vec();
    copy.get_mut(entry + 8..entry + 10)?.copy_from_slice(&grey);
    Some(copy)
}

/// Decodes an image with a palette whose size has been checked.
pub(super) fn indexed(bytes: &[u8], max_bytes: u64) -> Result<Indexed, String> {
    let copy = as_grey(bytes).ok_or("cannot be decoded: BigTIFF with a palette is not read")?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut tiff = open(&copy)?.with_limits(limits);
    let (width, height) = tiff.dimensions().map_err(undecodable)?;
    let ColorType::Gray(depth @ (1 | 2 | 4 | 8)) = tiff.colortype().map_err(undecodable)? else {
        return Err(
            "cannot be decoded: the indices of its palette have more than 8 bits".to_owned(),
        );
    };
    let colours = tiff.get_tag_u16_vec(Tag::ColorMap).map_err(undecodable)?;
    let orientation = tiff.find_tag_unsigned::<u16>(Tag::Orientation);
    let orientation = orientation.ok().flatten().map_or(1, |value| value.min(255));
    let DecodingResult::U8(packed) = tiff.read_image().map_err(undecodable)? else {
        return Err("cannot be decoded: its indices have more than 8 bits".to_owned());
    };
    let row = (width as usize * usize::from(depth)).div_ceil(8).max(1);
    let unpacked = packed
        .chunks(row)
        .flat_map(|row| unpack(row, width as usize, depth.into()));
    let indices = GrayImage::from_raw(width, height, unpacked.collect());
    let [red, green, blue] =
        [0, 1, 2].map(|c| colours.chunks(colours.len().div_ceil(3).max(1)).nth(c));
    let (Some(red), Some(green), Some(blue)) = (red, green, blue) else {
        return Err("cannot be decoded: its palette is empty".to_owned());
    };
    // Of 16 bits per colour, as in Pillow the upper 8 are used.
    let upper = red.iter().zip(green).zip(blue);
    let colours = upper.map(|((r, g), b)| [r, g, b].map(|&value| (value >> 8) as u8));
    Ok(Indexed {
        indices: indices.ok_or("cannot be decoded: its rows have the wrong length")?,
        colours: colours.collect(),
        orientation: Orientation::from_exif(orientation as u8).unwrap_or(Orientation::NoTransforms),
    })
}

impl Indexed {
    /// The indices, or the colours of the palette; black where it has none.
    pub(super) fn pixels(self, palette: Palette) -> DynamicImage {
        let Self {
            indices, colours, ..
        } = self;
        match palette {
            Palette::Indices => DynamicImage::ImageLuma8(indices),
            Palette::Colours => {
                let colour = |x, y| {
                    let index = usize::from(indices.get_pixel(x, y).0[0]);
                    image::Rgb(colours.get(index).copied().unwrap_or_default())
                };
                DynamicImage::ImageRgb8(RgbImage::from_fn(
                    indices.width(),
                    indices.height(),
                    colour,
                ))
            }
        }
    }
}

fn open(bytes: &[u8]) -> Result<Tiff<'_>, String> {
    Decoder::new(Cursor::new(bytes)).map_err(undecodable)
}

fn undecodable(error: tiff::TiffError) -> String {
    format!("cannot be decoded: {error}")
}
