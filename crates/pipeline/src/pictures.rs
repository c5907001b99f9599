//! Images for figures.

use std::path::Path;

use anyhow::{Context as _, Result};
use image::codecs::jpeg::JpegEncoder;
use imaging::{Framed, encode};
use report::Plane;

use crate::run_dir::RunDir;

/// A framed grey image as a plane.
pub(crate) fn plane(grey: &Framed) -> Result<Plane> {
    let (height, width) = grey.placement.frame;
    Ok(Plane::new(
        width as u32,
        height as u32,
        grey.image.values(),
    )?)
}

/// Writes an image as PNG, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save_png(path: &Path, picture: &image::RgbImage) -> Result<()> {
    let file = encode::picture(picture).with_context(|| format!("{}", path.display()))?;
    crate::run_dir::write(path, &file)
}

/// Most pictures of single cases in a part of a report.
pub(crate) const THUMBNAILS: usize = 48;

/// Longest side of such a picture, in pixels.
const THUMBNAIL_SIDE: u32 = 256;

/// Writes a small copy of a picture as JPEG, whole or not at all, and returns its path in the run's folder.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save_thumbnail(
    run: &RunDir,
    name: &str,
    picture: &image::RgbImage,
) -> Result<String> {
    let path = format!("figures/cases/{name}.jpg");
    let mut file = vec![];
    small(picture)
        .write_with_encoder(JpegEncoder::new_with_quality(&mut file, 85))
        .with_context(|| format!("cannot encode {path}"))?;
    run.folder("figures/cases")?;
    run.write(&path, &file)?;
    Ok(path)
}

fn small(picture: &image::RgbImage) -> image::RgbImage {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    if longest <= THUMBNAIL_SIDE {
        return picture.clone();
    }
    let scaled = |side: u32| (side * THUMBNAIL_SIDE).div_ceil(longest).max(1);
    image::imageops::thumbnail(picture, scaled(width), scaled(height))
}

/// Writes class numbers as a grey PNG ([`encode::mask`]), whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save_mask(
    path: &Path,
    size: (usize, usize),
    labels: &[u8],
    values: &[u16],
) -> Result<()> {
    let file = encode::mask(size, labels, values).with_context(|| format!("{}", path.display()))?;
    crate::run_dir::write(path, &file)
}

/// `n` of the items, evenly spaced over the list.
pub(crate) fn spread<T: Copy>(items: &[T], n: usize) -> Vec<T> {
    let n = n.min(items.len());
    (0..n).map(|i| items[i * items.len() / n]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
