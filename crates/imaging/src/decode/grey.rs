//! Conversion of pixels: to grey, without alpha, between 0 and 1.

use image::{DynamicImage, GrayImage, ImageBuffer, Luma};

/// Converts to Rec. 601 luma, like Pillow's `convert("L")` and OpenCV; 16 bit stays 16 bit, and alpha is dropped. Grey
/// is returned unchanged.
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

/// Converts to one of L8, L16, Rgb8, Rgb16.
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
pub fn intensities(image: DynamicImage) -> Vec<f32> {
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

pub(super) fn luma([r, g, b]: [u32; 3]) -> u32 {
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
