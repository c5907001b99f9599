//! Images for figures.

use std::path::Path;

use anyhow::{Context as _, Result};
use dataset::Fit;
use report::Plane;

/// An image file as a grey plane of a size.
///
/// # Errors
/// As [`dataset::read_image_fit`].
pub(crate) fn grey(path: &Path, height: usize, width: usize, fit: Fit) -> Result<Plane> {
    let picture = dataset::read_image_fit(path, height, width, 1, fit)?;
    Ok(Plane::new(width as u32, height as u32, picture.image)?)
}

/// Writes a picture as PNG, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save_png(path: &Path, picture: &image::RgbImage) -> Result<()> {
    let mut bytes = std::io::Cursor::new(vec![]);
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .with_context(|| format!("cannot encode {}", path.display()))?;
    crate::run_dir::write_atomic(path, bytes.get_ref())
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
    fn spreads_evenly() {
        let check = |len: usize, n, expected: &[usize]| {
            assert_eq!(spread(&(0..len).collect::<Vec<_>>(), n), expected)
        };
        check(10, 2, &[0, 5]);
        check(3, 5, &[0, 1, 2]);
        check(0, 2, &[]);
    }
}
