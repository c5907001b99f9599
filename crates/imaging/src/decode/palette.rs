//! The indices of a PNG or BMP with a palette, which `image` would convert to the palette's colours.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat};
use png::{ColorType, Transformations};

/// One index per pixel, or `None` if the file has no palette. The image's size has been checked.
pub(super) fn indices(bytes: &[u8], format: ImageFormat) -> Result<Option<DynamicImage>, String> {
    match format {
        ImageFormat::Png => of_png(bytes),
        ImageFormat::Bmp => of_bmp(bytes),
        _ => Ok(None),
    }
}

fn of_bmp(bytes: &[u8]) -> Result<Option<DynamicImage>, String> {
    let fail = |error: image::ImageError| format!("cannot be decoded: {error}");
    let mut decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(fail)?;
    // A palette of greys only says how the values are stored.
    let grey = |palette: &[[u8; 3]]| palette.iter().all(|[r, g, b]| r == g && g == b);
    if decoder.get_palette().is_none_or(grey) {
        return Ok(None);
    }
    decoder.set_indexed_color(true);
    let (width, height) = decoder.dimensions();
    let mut indices = vec![0; width as usize * height as usize];
    decoder.read_image(&mut indices).map_err(fail)?;
    let image = GrayImage::from_raw(width, height, indices);
    Ok(image.map(DynamicImage::ImageLuma8))
}

fn of_png(bytes: &[u8]) -> Result<Option<DynamicImage>, String> {
    let fail = |error: png::DecodingError| format!("cannot be decoded: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(fail)?;
    let info = reader.info();
    if info.color_type != ColorType::Indexed {
        return Ok(None);
    }
    let (width, height, depth) = (info.width, info.height, info.bit_depth as usize);
    let length = reader.output_buffer_size().unwrap_or_default();
    let mut packed = vec![0; length];
    reader.next_frame(&mut packed).map_err(fail)?;
    let row = reader.output_line_size(width).unwrap_or_default().max(1);
    let unpacked = packed
        .chunks(row)
        .flat_map(|row| unpack(row, width as usize, depth));
    let image = GrayImage::from_raw(width, height, unpacked.collect());
    let image = image.ok_or("cannot be decoded: its rows have the wrong length")?;
    Ok(Some(DynamicImage::ImageLuma8(image)))
}

/// Indices of 1, 2, 4 or 8 bits, the highest bits first.
pub(super) fn unpack(row: &[u8], width: usize, depth: usize) -> impl Iterator<Item = u8> {
    let per_byte = 8 / depth;
    let mask = (0xFF_u16 >> (8 - depth)) as u8;
    (0..width).map(move |x| {
        let shift = 8 - depth * (x % per_byte + 1);
        row.get(x / per_byte).map_or(0, |byte| byte >> shift & mask)
    })
}
