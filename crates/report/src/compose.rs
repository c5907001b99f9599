//! Pictures of a class map and its image, pixel by pixel and without layout: overlays, heat maps, error maps.

use image::{Rgb, RgbImage};

use crate::draw::colormap::Colormap;
use crate::draw::palette::{self, Color};
use crate::{Error, Plane};

/// The class-map value from which the article paints a pixel green.
pub const OVERLAY_THRESHOLD: f32 = 0.97;

/// How much of the overlay's colour covers the grey underneath.
const OVERLAY_OPACITY: f32 = 0.45;

/// The grey `image` with every pixel whose `map` value is at least `threshold` tinted green; all other pixels stay
/// exactly grey. A map of another size is resampled to the image's (bilinear), so that overlays come at the image's
/// own size. NaN in the map is below every threshold.
pub fn overlay(image: &Plane, map: &Plane, threshold: f32) -> Result<RgbImage, Error> {
    let (width, height) = image.dimensions();
    let map = map.resized(width, height)?;
    let mut picture = image.to_rgb();
    for (pixel, &value) in picture.pixels_mut().zip(map.values()) {
        if value >= threshold {
            *pixel = mixed(*pixel, palette::OVERLAY_GREEN, OVERLAY_OPACITY);
        }
    }
    Ok(picture)
}

/// The `map` (0..=1, resampled to the image's size) in the colours of `colormap`, laid over the grey `image` with
/// `opacity` (1 hides the image). NaN in the map leaves the image's pixel as it is.
pub fn heat_map(
    image: &Plane,
    map: &Plane,
    colormap: Colormap,
    opacity: f32,
) -> Result<RgbImage, Error> {
    let (width, height) = image.dimensions();
    let map = map.resized(width, height)?;
    let mut picture = image.to_rgb();
    for (pixel, &value) in picture.pixels_mut().zip(map.values()) {
        if !value.is_nan() {
            *pixel = mixed(*pixel, colormap.color(f64::from(value)), opacity);
        }
    }
    Ok(picture)
}

/// Draws the border of `mask` (pixels inside it with a neighbour outside, 4-connected) onto `picture`, one pixel wide.
/// The mask must have the picture's size.
pub fn outline(picture: &mut RgbImage, mask: &Plane, color: Color) -> Result<(), Error> {
    check_size("outline: mask", picture.dimensions(), mask)?;
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        if on_border(mask, x, y) {
            *pixel = Rgb(color.rgb());
        }
    }
    Ok(())
}

/// The grey `image` with true positives, false positives and false negatives of a predicted mask in the palette's
/// [`palette::TRUE_POSITIVE`], [`palette::FALSE_POSITIVE`] and [`palette::FALSE_NEGATIVE`]; true negatives stay grey.
/// Both masks must have the image's size.
pub fn error_map(image: &Plane, truth: &Plane, predicted: &Plane) -> Result<RgbImage, Error> {
    check_size("error map: truth", image.dimensions(), truth)?;
    check_size("error map: prediction", image.dimensions(), predicted)?;
    let mut picture = image.to_rgb();
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let color = match (truth.is_set(x, y), predicted.is_set(x, y)) {
            (true, true) => palette::TRUE_POSITIVE,
            (false, true) => palette::FALSE_POSITIVE,
            (true, false) => palette::FALSE_NEGATIVE,
            (false, false) => continue,
        };
        *pixel = mixed(*pixel, color, 0.6);
    }
    Ok(picture)
}

fn check_size(what: &str, (width, height): (u32, u32), plane: &Plane) -> Result<(), Error> {
    if plane.dimensions() == (width, height) {
        return Ok(());
    }
    let (w, h) = plane.dimensions();
    Err(Error::shape(
        what,
        format_args!("{width}×{height} pixels, as the image"),
        format_args!("{w}×{h}"),
    ))
}

fn on_border(mask: &Plane, x: u32, y: u32) -> bool {
    let outside =
        |x: Option<u32>, y: Option<u32>| !x.zip(y).is_some_and(|(x, y)| mask.is_set(x, y));
    mask.is_set(x, y)
        && (outside(x.checked_sub(1), Some(y))
            || outside(x.checked_add(1), Some(y))
            || outside(Some(x), y.checked_sub(1))
            || outside(Some(x), y.checked_add(1)))
}

fn mixed(under: Rgb<u8>, over: Color, opacity: f32) -> Rgb<u8> {
    let blend =
        |a: u8, b: u8| (f32::from(a) * (1.0 - opacity) + f32::from(b) * opacity).round() as u8;
    let [r, g, b] = over.rgb();
    Rgb([blend(under[0], r), blend(under[1], g), blend(under[2], b)])
}
