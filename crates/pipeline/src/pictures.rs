//! Images for figures.

use std::path::Path;

use anyhow::{Context as _, Result};
use dataset::{Decoder, Fit};
use image::{DynamicImage, ImageBuffer};
use report::Plane;

/// An image file as a grey plane of a size.
///
/// # Errors
/// As [`Decoder::picture`].
pub(crate) fn grey(
    decoder: Decoder,
    path: &Path,
    (height, width): (usize, usize),
    fit: Fit,
) -> Result<Plane> {
    let picture = decoder.picture(path, (height, width), 1, fit)?;
    Ok(Plane::new(width as u32, height as u32, picture.image)?)
}

/// Writes a picture as PNG, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save_png(path: &Path, picture: &image::RgbImage) -> Result<()> {
    save_picture(path, &DynamicImage::ImageRgb8(picture.clone()))
}

fn save_picture(path: &Path, picture: &DynamicImage) -> Result<()> {
    let mut bytes = std::io::Cursor::new(vec![]);
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .with_context(|| format!("cannot encode {}", path.display()))?;
    crate::run_dir::write(path, bytes.get_ref())
}

/// Writes class numbers as a grey PNG whose pixels are `values[class]`: 8 bit, or 16 where a value needs it.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save_mask(
    path: &Path,
    (height, width): (usize, usize),
    labels: &[u8],
    values: &[u16],
) -> Result<()> {
    let stored = |label: &u8| {
        let of_table = values.get(usize::from(*label)).copied();
        of_table.unwrap_or(u16::from(*label))
    };
    let stored: Vec<u16> = labels.iter().map(stored).collect();
    let (width, height) = (width as u32, height as u32);
    let picture = if values.iter().all(|value| *value <= 255) {
        let bytes = stored.iter().map(|value| *value as u8).collect();
        image::GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8)
    } else {
        ImageBuffer::from_raw(width, height, stored).map(DynamicImage::ImageLuma16)
    };
    let picture =
        picture.with_context(|| format!("no mask of {width}x{height} for {}", path.display()))?;
    save_picture(path, &picture)
}

/// `n` of the items, evenly over the list.
pub(crate) fn spread<T: Copy>(items: &[T], n: usize) -> Vec<T> {
    let n = n.min(items.len());
    (0..n).map(|i| items[i * items.len() / n]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_hold_the_values_of_their_classes() {
        let dir = tempfile::tempdir().unwrap();
        let check = |values: &[u16]| {
            let path = dir.path().join("mask.png");
            save_mask(&path, (2, 2), &[0, 1, 2, 1], values).unwrap();
            let read = image::open(&path).unwrap().into_luma16().into_raw();
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
    }

    #[test]
    fn spreads_evenly() {
        let check = |len: usize, n, expected: &[usize]| {
            assert_eq!(spread(&(0..len).collect::<Vec<_>>(), n), expected)
        };
        check(10, 2, &[0, 5]);
        check(3, 5, &[0, 1, 2]);
        check(0, 2, &[]);
    }
}
