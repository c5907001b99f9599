//! Encodes pictures and masks as PNG files in memory.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, RgbImage};

use crate::{ImageFile, ImagingError};

/// Encodes a picture.
///
/// # Errors
/// [`ImagingError::Encode`] if the picture has no pixels.
pub fn picture(picture: &RgbImage) -> Result<Vec<u8>, ImagingError> {
    png(&DynamicImage::ImageRgb8(picture.clone()))
}

/// Encodes class numbers as a grey image of (height, width) whose pixels are `values[class]`: 8 bit, or 16 if needed.
///
/// # Errors
/// [`ImagingError::Setting`] if there are not height × width labels, [`ImagingError::Encode`] if the mask has no
/// pixels.
pub fn mask(
    (height, width): (usize, usize),
    labels: &[u8],
    values: &[u16],
) -> Result<Vec<u8>, ImagingError> {
    let stored = |label: &u8| {
        let of_table = values.get(usize::from(*label)).copied();
        of_table.unwrap_or(u16::from(*label))
    };
    let stored: Vec<u16> = labels.iter().map(stored).collect();
    let (columns, rows) = (width as u32, height as u32);
    let picture = if values.iter().all(|value| *value <= 255) {
        let bytes = stored.iter().map(|value| *value as u8).collect();
        GrayImage::from_raw(columns, rows, bytes).map(DynamicImage::ImageLuma8)
    } else {
        ImageBuffer::from_raw(columns, rows, stored).map(DynamicImage::ImageLuma16)
    };
    let wrong = || {
        let reason = format!("must be {height} x {width}");
        ImagingError::setting("labels", labels.len(), &reason)
    };
    png(&picture.ok_or_else(wrong)?)
}

/// The blue byte of a pixel of [`levels`] whose value is not known.
pub const NO_LEVEL: u8 = 255;

/// Encodes values in [0, 1] of height × width pixels with 16 bits each, for a reader that sees 8 bits per channel, such
/// as a browser's canvas: the high byte is red, the low byte green. Where a value is NaN, blue is [`NO_LEVEL`].
///
/// # Errors
/// As [`mask`].
pub fn levels((height, width): (usize, usize), values: &[f32]) -> Result<Vec<u8>, ImagingError> {
    let level = |value: &f32| {
        let [high, low] = ((value.clamp(0.0, 1.0) * 65535.0).round() as u16).to_be_bytes();
        let unknown = if value.is_nan() { NO_LEVEL } else { 0 };
        [high, low, unknown]
    };
    let bytes = values.iter().flat_map(level).collect();
    let picture = RgbImage::from_raw(width as u32, height as u32, bytes);
    let wrong = || {
        let reason = format!("must be {height} x {width}");
        ImagingError::setting("values", values.len(), &reason)
    };
    png(&DynamicImage::ImageRgb8(picture.ok_or_else(wrong)?))
}

/// Encodes an image that has been read: colours with 8 bits, grey with as many as it has, those above 8 as [`levels`].
///
/// # Errors
/// [`ImagingError::Encode`] if it has no pixels.
pub fn whole(image: &ImageFile) -> Result<Vec<u8>, ImagingError> {
    let (pixels, size) = (image.pixels(), image.size());
    match pixels {
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_) => png(pixels),
        DynamicImage::ImageLuma16(grey) => {
            let values: Vec<f32> = grey.iter().map(|v| f32::from(*v) / 65535.0).collect();
            levels(size, &values)
        }
        colour => png(&DynamicImage::ImageRgb8(colour.to_rgb8())),
    }
}

/// Encodes a small copy of an image, whose longest side is `side` pixels, as JPEG.
///
/// # Errors
/// [`ImagingError::Encode`] if it has no pixels.
pub fn thumbnail(image: &ImageFile, side: u32) -> Result<Vec<u8>, ImagingError> {
    let small = image.pixels().thumbnail(side, side);
    let mut bytes = vec![];
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 80);
    let written = match image.is_colour() {
        true => small.to_rgb8().write_with_encoder(encoder),
        false => small.to_luma8().write_with_encoder(encoder),
    };
    written.map_err(|error| ImagingError::Encode(error.to_string()))?;
    Ok(bytes)
}

fn png(picture: &DynamicImage) -> Result<Vec<u8>, ImagingError> {
    let mut bytes = Cursor::new(vec![]);
    let written = picture.write_to(&mut bytes, ImageFormat::Png);
    written.map_err(|error| ImagingError::Encode(error.to_string()))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_16_bits_and_mark_what_is_unknown() {
        let file = levels((1, 4), &[0.0, 1.0, 0.97, f32::NAN]).unwrap();
        let read = image::load_from_memory(&file).unwrap().into_rgb8();
        let level = |x| {
            let [high, low, unknown] = read.get_pixel(x, 0).0;
            (u16::from_be_bytes([high, low]), unknown)
        };
        assert_eq!([level(0), level(1)], [(0, 0), (65535, 0)]);
        assert_eq!(level(2), (63569, 0));
        assert_eq!(level(3).1, NO_LEVEL);
        assert!(levels((2, 2), &[0.0]).is_err());
    }

    #[test]
    fn masks_contain_the_values_of_their_classes() {
        let check = |values: &[u16]| {
            let file = mask((2, 2), &[0, 1, 2, 1], values).unwrap();
            let read = image::load_from_memory(&file)
                .unwrap()
                .into_luma16()
                .into_raw();
            let scale = if values.iter().all(|v| *v <= 255) {
                257
            } else {
                1
            };
            let expected = [values[0], values[1], values[2], values[1]];
            assert_eq!(read, expected.map(|value| value * scale));
        };
        check(&[0, 128, 255]);
        check(&[0, 300, 65535]);
        assert!(mask((2, 2), &[0, 1, 2], &[]).is_err());
    }
}
