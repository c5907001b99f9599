//! Segmented images: image, truth, prediction and errors side by side.

use image::RgbImage;

use super::grid::draw_picture;
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_row};
use crate::draw::palette;
use crate::draw::text::Type;
use crate::{Error, Figure, Labels, Plane, compose};

const GAP: f64 = 10.0;
const WORDS: f64 = 20.0;
const COLUMNS: [&str; 4] = ["image", "truth", "prediction", "error"];
const SIDE: f64 = (WIDTH - 2.0 * MARGIN - 3.0 * GAP) / 4.0;

/// One row per case: the image, its true classes, the predicted classes, and where they differ.
#[derive(Debug, Clone, Default)]
pub struct SegmentationPanels {
    /// Title above the figure.
    pub title: String,
    /// Names of the classes by number, the background first.
    pub classes: Vec<String>,
    /// The cases.
    pub cases: Vec<SegmentationCase>,
}

/// One segmented image.
#[derive(Debug, Clone)]
pub struct SegmentationCase {
    /// Caption above its row, such as "person80_bacteria.jpeg, Dice 0.91".
    pub caption: String,
    /// Grey image in 0..=1.
    pub image: Plane,
    /// True classes, in the image's size.
    pub truth: Labels,
    /// Predicted classes, in the image's size.
    pub predicted: Labels,
}

impl SegmentationPanels {
    /// Draws the cases, one per row, below a legend of classes and errors.
    pub fn draw(&self) -> Result<Figure, Error> {
        if self.cases.is_empty() {
            return Figure::empty(&self.title, "no cases");
        }
        let mut canvas = Canvas::new()?;
        let mut top = canvas.header(&self.title, "");
        // A single class besides the background needs no legend: the columns are labelled.
        if self.classes.len() > 2 {
            top = legend_row(&mut canvas, top, &self.class_keys());
        }
        top = legend_row(&mut canvas, top, &self.error_keys());
        canvas.reserve(top + 20.0);
        for (column, name) in COLUMNS.into_iter().enumerate() {
            let x = column_x(column) + SIDE / 2.0;
            canvas.text(name, x, top + 6.0, Type::new(12.0).bold().centered());
        }
        top += 20.0;
        for case in &self.cases {
            top = case.draw(&mut canvas, top)?;
        }
        Ok(canvas.finish())
    }

    fn class_keys(&self) -> Vec<Key> {
        let names = self.classes.iter().enumerate().skip(1);
        names
            .map(|(class, name)| Key::new(Mark::Area, palette::pixels(class), name))
            .collect()
    }

    fn error_keys(&self) -> Vec<Key> {
        let mut keys = vec![
            Key::new(Mark::Area, palette::TRUE_POSITIVE, "true positive"),
            Key::new(Mark::Area, palette::FALSE_POSITIVE, "false positive"),
            Key::new(Mark::Area, palette::FALSE_NEGATIVE, "false negative"),
        ];
        if self.classes.len() > 2 {
            keys.push(Key::new(Mark::Area, palette::CONFUSED, "wrong class"));
        }
        keys
    }
}

impl SegmentationCase {
    /// Draws the case's row; returns the y below.
    fn draw(&self, canvas: &mut Canvas, top: f64) -> Result<f64, Error> {
        // The row is only as high as the image, for wide images.
        let (width, height) = self.image.dimensions();
        let side = (SIDE * f64::from(height) / f64::from(width)).min(SIDE);
        canvas.reserve(top + WORDS + side);
        let caption = canvas
            .fonts()
            .elided(&self.caption, 11.0, false, WIDTH - 2.0 * MARGIN);
        let look = Type::new(11.0).color(palette::MUTED);
        canvas.text(&caption, MARGIN, top + WORDS / 2.0, look);
        let pictures: [RgbImage; 4] = [
            self.image.to_rgb(),
            compose::class_overlay(&self.image, &self.truth)?,
            compose::class_overlay(&self.image, &self.predicted)?,
            compose::error_map(&self.image, &self.truth, &self.predicted)?,
        ];
        for (column, picture) in pictures.into_iter().enumerate() {
            let room = Bounds::new(column_x(column), top + WORDS, SIDE, side);
            draw_picture(canvas, room, picture, None);
        }
        Ok(top + WORDS + side + GAP)
    }
}

fn column_x(column: usize) -> f64 {
    MARGIN + column as f64 * (SIDE + GAP)
}
