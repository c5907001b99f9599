//! Encodes pictures and masks as PNG files in memory.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, RgbImage};

use crate::ImagingError;

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
