//! Bytes → pixels, strictly: what a viewer would show with a grey lower half is an error here.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, ImageReader, Luma};

/// Decodes a JPEG or PNG, whatever its extension. The error is the reason in words.
pub(crate) fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => format,
        _ => return Err("not a JPEG or PNG image".to_owned()),
    };
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err("truncated JPEG: its data end before the end-of-image marker".to_owned());
    }
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader
        .decode()
        .map_err(|error| format!("cannot be decoded: {error}"))
}

/// Luma by Rec. 601, as Pillow's `convert("L")` and OpenCV have it; 16 bit stays 16 bit, alpha is
/// dropped. Grey comes back as it is.
pub(crate) fn to_grey(image: DynamicImage) -> DynamicImage {
    match without_alpha(image) {
        DynamicImage::ImageRgb8(rgb) => {
            let (width, height) = rgb.dimensions();
            let luma = rgb
                .pixels()
                .map(|p| luma(p.0.map(u32::from)) as u8)
                .collect();
            grey8(width, height, luma)
        }
        DynamicImage::ImageRgb16(rgb) => {
            let (width, height) = rgb.dimensions();
            let luma = rgb
                .pixels()
                .map(|p| luma(p.0.map(u32::from)) as u16)
                .collect();
            grey16(width, height, luma)
        }
        grey => grey,
    }
}

/// One of L8, L16, Rgb8, Rgb16.
pub(crate) fn without_alpha(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLumaA8(_) => DynamicImage::ImageLuma8(image.to_luma8()),
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageLuma16(image.to_luma16()),
        DynamicImage::ImageRgba16(_) => DynamicImage::ImageRgb16(image.to_rgb16()),
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageRgb8(_)
        | DynamicImage::ImageRgb16(_) => image,
        other => DynamicImage::ImageRgb8(other.to_rgb8()),
    }
}

/// Grey values in [0, 1], row by row.
pub(crate) fn intensities(image: DynamicImage) -> Vec<f32> {
    match to_grey(image) {
        DynamicImage::ImageLuma16(grey) => grey
            .into_raw()
            .iter()
            .map(|&v| f32::from(v) / 65535.0)
            .collect(),
        other => other
            .into_luma8()
            .into_raw()
            .iter()
            .map(|&v| f32::from(v) / 255.0)
            .collect(),
    }
}

fn luma([r, g, b]: [u32; 3]) -> u32 {
    (299 * r + 587 * g + 114 * b + 500) / 1000
}

fn grey8(width: u32, height: u32, values: Vec<u8>) -> DynamicImage {
    let image: Option<GrayImage> = ImageBuffer::from_raw(width, height, values);
    DynamicImage::ImageLuma8(image.unwrap_or_default())
}

fn grey16(width: u32, height: u32, values: Vec<u16>) -> DynamicImage {
    let image: Option<ImageBuffer<Luma<u16>, Vec<u16>>> =
        ImageBuffer::from_raw(width, height, values);
    DynamicImage::ImageLuma16(image.unwrap_or_default())
}

/// Walks the markers to the end-of-image one. The decoder (zune-jpeg, not in strict mode) fills
/// what is missing with grey and says nothing, so a cut file would pass as an image.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            0xD9 => return true,
            // Entropy-coded data follow a start of scan; restarts lie within them.
            0x01 | 0xD0..=0xD8 => {}
            _ => match bytes.get(at..at + 2) {
                Some(&[high, low]) => at += usize::from(high) << 8 | usize::from(low),
                _ => return false,
            },
        }
    }
    false
}

/// The next marker from `at` on, skipping entropy-coded bytes (FF 00 is a stuffed FF) and fill.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let ff = bytes.get(*at..)?.iter().position(|&byte| byte == 0xFF)?;
        *at += ff + 1;
        match *bytes.get(*at)? {
            0x00 => {}
            0xFF => continue,
            marker => {
                *at += 1;
                return Some(marker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{Rgb, RgbImage};

    use super::*;

    fn jpeg() -> Vec<u8> {
        let image = RgbImage::from_fn(40, 30, |x, y| {
            Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8])
        });
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90)
            .encode_image(&image)
            .unwrap();
        bytes
    }

    #[test]
    fn every_cut_of_a_jpeg_is_noticed() {
        let whole = jpeg();
        assert!(decode(&whole).is_ok());
        for len in 0..whole.len() {
            assert!(
                decode(&whole[..len]).is_err(),
                "{len} of {} bytes passed",
                whole.len()
            );
        }
    }

    #[test]
    fn a_half_zeroed_jpeg_is_noticed() {
        let mut bytes = jpeg();
        let half = bytes.len() / 2;
        bytes[half..].fill(0);
        assert!(decode(&bytes).unwrap_err().contains("truncated"));
    }

    #[test]
    fn trailing_bytes_are_no_fault() {
        let mut bytes = jpeg();
        bytes.extend([0, 13, 10]);
        assert!(decode(&bytes).is_ok());
    }

    #[test]
    fn every_cut_of_a_png_is_noticed() {
        let mut bytes = Vec::new();
        let image = decode(&jpeg()).unwrap();
        image
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        // The 12 bytes of the last chunk (IEND) carry nothing.
        for len in 0..bytes.len() - 12 {
            assert!(
                decode(&bytes[..len]).is_err(),
                "{len} of {} bytes passed",
                bytes.len()
            );
        }
    }

    #[test]
    fn luma_is_pillows() {
        // PIL.Image.new("RGB", (1, 1), c).convert("L").getpixel((0, 0))
        let check = |rgb: [u8; 3], expected: u8| {
            let image = DynamicImage::ImageRgb8(RgbImage::from_pixel(1, 1, Rgb(rgb)));
            assert_eq!(to_grey(image).into_luma8()[(0, 0)].0[0], expected);
        };
        check([255, 0, 0], 76);
        check([0, 255, 0], 150);
        check([0, 0, 255], 29);
        check([200, 100, 50], 124);
        check([77, 77, 77], 77);
    }
}
