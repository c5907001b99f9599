//! Renders class maps and labels onto an image, without layout: overlays, heat maps, error maps.

use image::{Rgb, RgbImage};

use crate::draw::colormap::Colormap;
use crate::draw::palette::{self, Color};
use crate::{Error, Labels, Plane};

/// The class-map value from which a pixel is tinted green, as in the paper that the pipeline `pneumonia` follows.
pub const OVERLAY_THRESHOLD: f32 = 0.97;

/// Opacity of the overlay's tint.
const OVERLAY_OPACITY: f32 = 0.45;

/// Opacity of a class's tint.
const LABEL_OPACITY: f32 = 0.55;

/// The class that is not tinted.
const BACKGROUND: u8 = 0;

/// The grey `image` with every pixel whose `map` value is at least `threshold` tinted green; all other pixels are
/// unchanged. A map of a different size is resampled to the image's size (bilinear), so that overlays have the image's
/// size. NaN in the map is below every threshold.
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

/// The `map` (0..=1, resampled to the image's size) in the colours of `colormap`, drawn over the grey `image` with
/// `opacity` (1 hides the image). NaN in the map leaves the image's pixel unchanged.
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
/// The mask must have the same size as `picture`.
pub fn outline(picture: &mut RgbImage, mask: &Plane, color: Color) -> Result<(), Error> {
    check_size("outline: mask", picture.dimensions(), mask.dimensions())?;
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        if on_border(mask, x, y) {
            *pixel = Rgb(color.rgb());
        }
    }
    Ok(())
}

/// The grey `image` with every pixel tinted by its class ([`palette::pixels`]); background and unknown pixels are
/// unchanged. The labels must have the image's size.
pub fn class_overlay(image: &Plane, labels: &Labels) -> Result<RgbImage, Error> {
    check_size(
        "class overlay: labels",
        image.dimensions(),
        labels.dimensions(),
    )?;
    let mut picture = image.to_rgb();
    for (pixel, &class) in picture.pixels_mut().zip(labels.classes()) {
        if class != BACKGROUND && class != Labels::UNKNOWN {
            *pixel = mixed(*pixel, palette::pixels(class.into()), LABEL_OPACITY);
        }
    }
    Ok(picture)
}

/// The grey `image` with true positive, false positive and false negative pixels tinted in [`palette::TRUE_POSITIVE`],
/// [`palette::FALSE_POSITIVE`] and [`palette::FALSE_NEGATIVE`], and pixels predicted as the wrong class in
/// [`palette::CONFUSED`]; pixels that are background in both, or whose truth is unknown, are unchanged. Both must have
/// the image's size.
pub fn error_map(image: &Plane, truth: &Labels, predicted: &Labels) -> Result<RgbImage, Error> {
    let size = image.dimensions();
    check_size("error map: truth", size, truth.dimensions())?;
    check_size("error map: prediction", size, predicted.dimensions())?;
    let mut picture = image.to_rgb();
    let pairs = truth.classes().iter().zip(predicted.classes());
    for (pixel, pair) in picture.pixels_mut().zip(pairs) {
        let color = match pair {
            (&Labels::UNKNOWN, _) | (&BACKGROUND, &BACKGROUND) => continue,
            (truth, predicted) if truth == predicted => palette::TRUE_POSITIVE,
            (&BACKGROUND, _) => palette::FALSE_POSITIVE,
            (_, &BACKGROUND) => palette::FALSE_NEGATIVE,
            _ => palette::CONFUSED,
        };
        *pixel = mixed(*pixel, color, LABEL_OPACITY);
    }
    Ok(picture)
}

fn check_size(what: &str, (width, height): (u32, u32), found: (u32, u32)) -> Result<(), Error> {
    if found == (width, height) {
        return Ok(());
    }
    let (w, h) = found;
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
