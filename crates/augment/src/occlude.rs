//! Transforms that blank parts of the image.

use crate::{Raster, RelativeRect, Shade};

/// Blanks the outer ring: `shade.area` of the height above and below, of the width left and right.
pub(crate) fn border(image: &mut Raster, shade: Shade<f64>) {
    let (height, width, value) = (image.height, image.width, shade.value as f32);
    let ring = |side: usize| pixels(shade.area, side).min(side.div_ceil(2));
    let (rows, columns) = (ring(height), ring(width));
    image.paint(0..rows, 0..width, value);
    image.paint(height - rows..height, 0..width, value);
    image.paint(rows..height - rows, 0..columns, value);
    image.paint(rows..height - rows, width - columns..width, value);
}

/// Blanks a rectangle.
pub(crate) fn erase(image: &mut Raster, shade: Shade<RelativeRect>) {
    let RelativeRect {
        top,
        left,
        height,
        width,
    } = shade.area;
    let side = |from: f64, length: f64, side: usize| {
        let from = pixels(from, side);
        from..(from + pixels(length, side)).min(side)
    };
    let (rows, columns) = (
        side(top, height, image.height),
        side(left, width, image.width),
    );
    image.paint(rows, columns, shade.value as f32);
}

/// A fraction of a side in whole pixels, at most all of them.
fn pixels(share: f64, side: usize) -> usize {
    ((share * side as f64).round() as usize).min(side)
}
