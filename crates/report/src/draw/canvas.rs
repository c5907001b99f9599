//! A white page, 800 units wide, that grows downwards as a figure is laid out.

use image::RgbImage;
use image::imageops::{self, FilterType};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendCoord, BackendStyle, DrawingBackend};

use super::palette::{self, Color};
use super::pixels::{OVERSAMPLING, Pixels};
use super::surface::Surface;
use super::text::{Fonts, Type};
use crate::{Error, Figure};

/// Width of a figure in layout units, about the width at which GitHub displays it.
pub(crate) const WIDTH: f64 = 800.0;
/// White margin around every figure.
pub(crate) const MARGIN: f64 = 14.0;
/// Pixels of a saved figure per layout unit.
const SCALE: u32 = 2;
/// Device pixels per layout unit.
const DEVICE: f64 = (SCALE * OVERSAMPLING) as f64;

/// A rectangle in layout units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) w: f64,
    pub(crate) h: f64,
}

impl Bounds {
    pub(crate) fn new(x: f64, y: f64, w: f64, h: f64) -> Self {
        Self { x, y, w, h }
    }

    pub(crate) fn right(self) -> f64 {
        self.x + self.w
    }

    pub(crate) fn bottom(self) -> f64 {
        self.y + self.h
    }

    pub(crate) fn center(self) -> (f64, f64) {
        (self.x + self.w / 2.0, self.y + self.h / 2.0)
    }

    pub(crate) fn grown(self, by: f64) -> Self {
        Self::new(
            self.x - by,
            self.y - by,
            self.w + 2.0 * by,
            self.h + 2.0 * by,
        )
    }
}

/// The page. Coordinates are layout units from the top left.
pub(crate) struct Canvas {
    pixels: Pixels,
    images: Vec<(Bounds, RgbImage)>,
}

impl Canvas {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            pixels: Pixels::new((WIDTH * DEVICE) as u32)?,
            images: Vec::new(),
        })
    }

    pub(crate) fn width(&self) -> f64 {
        WIDTH
    }

    pub(crate) fn fonts(&self) -> &'static Fonts {
        self.pixels.fonts()
    }

    /// Extends the page down to `bottom` plus the margin.
    pub(crate) fn reserve(&mut self, bottom: f64) {
        let rows = ((bottom + MARGIN) * f64::from(SCALE)).ceil() as u32 * OVERSAMPLING;
        self.pixels.reserve(rows);
    }

    /// Draws title and subtitle (either may be empty); returns the y below them.
    pub(crate) fn header(&mut self, title: &str, subtitle: &str) -> f64 {
        let room = WIDTH - 2.0 * MARGIN;
        let mut y = MARGIN;
        for (text, look) in [
            (title, Type::new(17.0).bold()),
            (subtitle, Type::new(12.0).color(palette::MUTED)),
        ] {
            if !text.is_empty() {
                y += look.line_height();
                self.reserve(y);
                let text = self.fonts().elided(text, look.size, look.bold, room);
                self.text(
                    &text,
                    MARGIN,
                    y - 0.35 * look.size,
                    look.at(HPos::Left, VPos::Bottom),
                );
            }
        }
        y + 8.0
    }

    pub(crate) fn fill(&mut self, rect: Bounds, color: Color, alpha: f64) {
        let from = device((rect.x, rect.y));
        let to = device((rect.right(), rect.bottom()));
        self.pixels.fill(from, to, color, alpha as f32);
    }

    pub(crate) fn frame(&mut self, rect: Bounds, color: Color, width: f64) {
        let (l, t, r, b) = (rect.x, rect.y, rect.right(), rect.bottom());
        self.polyline(&[(l, t), (r, t), (r, b), (l, b), (l, t)], color, width);
    }

    pub(crate) fn polyline(&mut self, points: &[(f64, f64)], color: Color, width: f64) {
        let path: Vec<_> = points.iter().map(|&point| device(point)).collect();
        let stroke = Stroke {
            color,
            width: (width * DEVICE).round().max(1.0) as u32,
        };
        infallible(Surface(&mut self.pixels).draw_path(path, &stroke));
    }

    /// Draws a straight dashed line.
    pub(crate) fn dashed(&mut self, from: (f64, f64), to: (f64, f64), color: Color, width: f64) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let along = |d: f64| {
            let t = (d / length).min(1.0);
            (from.0 + (to.0 - from.0) * t, from.1 + (to.1 - from.1) * t)
        };
        let dashes = (length / 7.0).ceil() as usize;
        for start in (0..dashes).map(|i| i as f64 * 7.0) {
            self.polyline(&[along(start), along(start + 4.0)], color, width);
        }
    }

    /// Draws a filled dot with a white rim, so that it stands out on a line of the same colour.
    pub(crate) fn dot(&mut self, center: (f64, f64), radius: f64, color: Color) {
        self.disc(center, radius + 1.2, palette::PAPER);
        self.disc(center, radius, color);
    }

    pub(crate) fn text(&mut self, text: &str, x: f64, y: f64, look: Type) {
        let look = Type {
            size: look.size * DEVICE,
            ..look
        };
        self.pixels.text(text, device((x, y)), look);
    }

    /// Draws text over a grid or other lines, on a nearly opaque white background that keeps it readable.
    pub(crate) fn text_on_paper(&mut self, text: &str, x: f64, y: f64, look: Type) {
        let (w, h) = (
            self.fonts().width(text, look.size, look.bold),
            look.size * 1.15,
        );
        let (w, h) = if look.upward { (h, w) } else { (w, h) };
        let (across, down) = if look.upward {
            (look.v_share(), 1.0 - look.h_share())
        } else {
            (look.h_share(), look.v_share())
        };
        let rect = Bounds::new(x - across * w, y - down * h, w, h);
        self.fill(rect.grown(1.0), palette::PAPER, 0.85);
        self.text(text, x, y, look);
    }

    /// Places an image in a rectangle of its aspect ratio when the page is finished, on top of everything else; it is
    /// scaled once, directly to the saved size.
    pub(crate) fn image(&mut self, rect: Bounds, image: RgbImage) {
        self.images.push((rect, image));
    }

    /// A part of the page that plotters can draw on.
    pub(crate) fn area(&mut self, rect: Bounds) -> DrawingArea<Surface<'_>, Shift> {
        let (x, y) = device((rect.x, rect.y));
        let (w, h) = device((rect.w, rect.h));
        Surface(&mut self.pixels)
            .into_drawing_area()
            .shrink((x, y), (w, h))
    }

    /// Averages device pixels down to saved pixels and places the images.
    pub(crate) fn finish(self) -> Figure {
        let mut page = self.pixels.averaged();
        for (rect, picture) in &self.images {
            let [x, y, w, h] =
                [rect.x, rect.y, rect.w, rect.h].map(|v| (v * f64::from(SCALE)).round());
            let filter = if w >= f64::from(picture.width()) {
                FilterType::CatmullRom
            } else {
                FilterType::Lanczos3
            };
            let scaled = imageops::resize(picture, w.max(1.0) as u32, h.max(1.0) as u32, filter);
            imageops::replace(&mut page, &scaled, x as i64, y as i64);
        }
        Figure::from_image(page)
    }

    fn disc(&mut self, center: (f64, f64), radius: f64, color: Color) {
        let stroke = Stroke { color, width: 1 };
        let radius = (radius * DEVICE).round() as u32;
        infallible(Surface(&mut self.pixels).draw_circle(device(center), radius, &stroke, true));
    }
}

/// A colour and a width in device pixels, as required by plotters' rasterizer.
struct Stroke {
    color: Color,
    width: u32,
}

impl BackendStyle for Stroke {
    fn color(&self) -> plotters_backend::BackendColor {
        self.color.backend()
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

pub(crate) fn device_len(units: f64) -> i32 {
    (units * DEVICE).round() as i32
}

fn device((x, y): (f64, f64)) -> BackendCoord {
    (device_len(x), device_len(y))
}

/// Drawing on a [`Surface`] cannot fail, and its fonts are loaded before it is created.
fn infallible<E>(_: Result<(), E>) {}
