//! Images for figures.

use std::path::Path;

use anyhow::{Context as _, Result};
use imaging::{Framed, encode};
use report::Plane;

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
