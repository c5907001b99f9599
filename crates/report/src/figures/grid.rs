//! A grid of captioned images.

use image::RgbImage;

use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, legend_row};
use crate::draw::palette::{self, Color};
use crate::draw::text::Type;
use crate::{Error, Figure, Plane};

const GAP: f64 = 12.0;
const CAPTION: f64 = 11.5;
const MAX_LINES: usize = 4;

/// Images with captions, in rows: samples, augmented images, overlays.
#[derive(Debug, Clone, Default)]
pub struct ImageGrid {
    /// Title above the figure.
    pub title: String,
    /// Subtitle below the title; may be empty.
    pub subtitle: String,
    /// Images per row; 0 chooses automatically.
    pub columns: usize,
    /// The images.
    pub tiles: Vec<Tile>,
}

/// One image with its caption.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The pixels; images of different aspect ratios are fitted into equal squares.
    pub image: Picture,
    /// Caption below, wrapped to at most four lines.
    pub caption: String,
    /// A coloured frame, e.g. [`palette::RIGHT`] or [`palette::WRONG`].
    pub border: Option<Color>,
}

/// An image in colour or grey.
#[derive(Debug, Clone)]
pub enum Picture {
    /// 8-bit colour.
    Rgb(RgbImage),
    /// f32 grey in 0..=1.
    Grey(Plane),
}

impl From<RgbImage> for Picture {
    fn from(image: RgbImage) -> Self {
        Self::Rgb(image)
    }
}

impl From<Plane> for Picture {
    fn from(image: Plane) -> Self {
        Self::Grey(image)
    }
}

impl Picture {
    fn to_rgb(&self) -> RgbImage {
        match self {
            Self::Rgb(image) => image.clone(),
            Self::Grey(plane) => plane.to_rgb(),
        }
    }
}

impl ImageGrid {
    /// Draws the grid.
    pub fn draw(&self) -> Result<Figure, Error> {
        self.draw_with_legend(&[])
    }

    pub(crate) fn draw_with_legend(&self, keys: &[Key]) -> Result<Figure, Error> {
        if self.tiles.is_empty() {
            return Figure::empty(&self.title, "no images");
        }
        let mut canvas = Canvas::new()?;
        let top = canvas.header(&self.title, &self.subtitle);
        let mut y = legend_row(&mut canvas, top, keys);
        let columns = self.column_count();
        let side = (WIDTH - 2.0 * MARGIN - GAP * (columns - 1) as f64) / columns as f64;
        for row in self.tiles.chunks(columns) {
            y = draw_row(&mut canvas, row, y, side);
        }
        Ok(canvas.finish())
    }

    fn column_count(&self) -> usize {
        match (self.columns, self.tiles.len()) {
            (0, 0..=2) => 3,
            (0, tiles @ 3..=4) => tiles,
            (0, 6 | 9) => 3,
            (0, 5..=12) => 4,
            (0, _) => 6,
            (columns, _) => columns.min(12),
        }
    }
}

/// Draws a row of tiles; returns the y below the longest caption.
fn draw_row(canvas: &mut Canvas, tiles: &[Tile], top: f64, side: f64) -> f64 {
    let look = Type::new(CAPTION);
    let captions: Vec<_> = tiles
        .iter()
        .map(|tile| {
            canvas
                .fonts()
                .wrapped(&tile.caption, CAPTION, side, MAX_LINES)
        })
        .collect();
    let lines = captions.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let bottom = top + side + 6.0 + lines * look.line_height();
    canvas.reserve(bottom);
    for (index, (tile, caption)) in tiles.iter().zip(&captions).enumerate() {
        let x = MARGIN + index as f64 * (side + GAP);
        draw_picture(
            canvas,
            Bounds::new(x, top, side, side),
            tile.image.to_rgb(),
            tile.border,
        );
        for (number, line) in caption.iter().enumerate() {
            let y = top + side + 6.0 + (number as f64 + 0.5) * look.line_height();
            canvas.text(line, x + side / 2.0, y, look.centered());
        }
    }
    bottom + GAP
}

/// Fits an image into `room`, preserving its aspect ratio, with an optional frame.
pub(crate) fn draw_picture(
    canvas: &mut Canvas,
    room: Bounds,
    image: RgbImage,
    border: Option<Color>,
) {
    let (w, h) = (f64::from(image.width()), f64::from(image.height()));
    if w == 0.0 || h == 0.0 {
        canvas.frame(room, palette::GRID, 1.0);
        return;
    }
    let inset = if border.is_some() { 4.0 } else { 0.0 };
    let scale = ((room.w - 2.0 * inset) / w).min((room.h - 2.0 * inset) / h);
    let (w, h) = (w * scale, h * scale);
    let (x, y) = room.center();
    let rect = Bounds::new(x - w / 2.0, y - h / 2.0, w, h);
    if let Some(color) = border {
        canvas.fill(rect.grown(inset), color, 1.0);
    }
    canvas.image(rect, image);
}
