//! Class maps: image, heat map and green overlay side by side.

use plotters_backend::text_anchor::{HPos, VPos};

use super::grid::draw_picture;
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::colormap::Colormap;
use crate::draw::palette::{self, Color};
use crate::draw::text::Type;
use crate::{Error, Figure, Plane, compose, format};

const WORDS: f64 = 142.0;
const GAP: f64 = 10.0;
const BAR: f64 = 44.0;
const SIDE: f64 = (WIDTH - 2.0 * MARGIN - WORDS - BAR - 3.0 * GAP) / 3.0;
/// Opacity of the heat map, low enough for the anatomy to remain visible.
const HEAT_OPACITY: f32 = 0.75;

/// One row per case: its true and predicted class, the image, its heat map and its green overlay.
#[derive(Debug, Clone, Default)]
pub struct OverlayPanels {
    /// Title above the figure.
    pub title: String,
    /// Pixels whose map value is at least this are green; see [`crate::OVERLAY_THRESHOLD`].
    pub threshold: f32,
    /// Colour map of the heat map.
    pub colormap: Colormap,
    /// The cases, correctly and incorrectly classified.
    pub cases: Vec<OverlayCase>,
}

/// One classified image.
#[derive(Debug, Clone)]
pub struct OverlayCase {
    /// Name of the case, such as a file name.
    pub name: String,
    /// Grey image in 0..=1.
    pub image: Plane,
    /// Class map in 0..=1, of any size.
    pub map: Plane,
    /// True mask in the image's size, outlined on image and overlay if given.
    pub truth_mask: Option<Plane>,
    /// True class.
    pub truth: String,
    /// Predicted class; the prediction is correct if it equals the true class.
    pub predicted: String,
    /// Probability of the predicted class.
    pub probability: f64,
}

impl OverlayPanels {
    /// Draws the cases, one per row, with a colour bar.
    pub fn draw(&self) -> Result<Figure, Error> {
        if self.cases.is_empty() {
            return Figure::empty(&self.title, "no cases");
        }
        let mut canvas = Canvas::new()?;
        let subtitle = if self.cases.iter().any(|case| case.truth_mask.is_some()) {
            "Yellow line: true mask"
        } else {
            ""
        };
        let top = canvas.header(&self.title, subtitle);
        canvas.reserve(top + 20.0);
        let green = format!("map ≥ {} in green", self.threshold);
        for (column, name) in ["image", "class map", &green].into_iter().enumerate() {
            let x = column_x(column) + SIDE / 2.0;
            canvas.text(name, x, top + 6.0, Type::new(12.0).bold().centered());
        }
        for (index, case) in self.cases.iter().enumerate() {
            self.draw_case(&mut canvas, case, top + 20.0 + index as f64 * (SIDE + GAP))?;
        }
        self.draw_color_bar(&mut canvas, top + 20.0);
        Ok(canvas.finish())
    }

    fn draw_case(&self, canvas: &mut Canvas, case: &OverlayCase, top: f64) -> Result<(), Error> {
        canvas.reserve(top + SIDE);
        case.draw_words(canvas, top);
        let mut plain = case.image.to_rgb();
        let heat = compose::heat_map(&case.image, &case.map, self.colormap, HEAT_OPACITY)?;
        let mut green = compose::overlay(&case.image, &case.map, self.threshold)?;
        if let Some(mask) = &case.truth_mask {
            compose::outline(&mut plain, mask, palette::YELLOW)?;
            compose::outline(&mut green, mask, palette::YELLOW)?;
        }
        for (column, picture) in [plain, heat, green].into_iter().enumerate() {
            draw_picture(
                canvas,
                Bounds::new(column_x(column), top, SIDE, SIDE),
                picture,
                None,
            );
        }
        Ok(())
    }

    fn draw_color_bar(&self, canvas: &mut Canvas, top: f64) {
        let rect = Bounds::new(column_x(3) + 2.0, top, 12.0, SIDE);
        let steps = 100;
        let step = rect.h / f64::from(steps);
        for index in 0..steps {
            let value = 1.0 - (f64::from(index) + 0.5) / f64::from(steps);
            let y = rect.y + f64::from(index) * step;
            canvas.fill(
                Bounds::new(rect.x, y, rect.w, step + 0.3),
                self.colormap.color(value),
                1.0,
            );
        }
        for (value, label) in [(0.0, "0"), (0.5, "0.5"), (1.0, "1")] {
            let y = rect.bottom() - value * (rect.h - 8.0) - 4.0;
            let look = Type::new(11.0)
                .color(palette::MUTED)
                .at(HPos::Left, VPos::Center);
            canvas.text(label, rect.right() + 4.0, y, look);
        }
    }
}

impl OverlayCase {
    fn is_right(&self) -> bool {
        self.truth == self.predicted
    }

    fn draw_words(&self, canvas: &mut Canvas, top: f64) {
        let (verdict, color) = match self.is_right() {
            true => ("✔ correct", palette::RIGHT),
            false => ("✘ incorrect", palette::WRONG),
        };
        canvas.fill(Bounds::new(MARGIN, top, 4.0, SIDE), color, 1.0);
        let mut y = top + 8.0;
        let mut say = |text: &str, size: f64, color: Color, bold: bool| {
            let look = Type {
                bold,
                ..Type::new(size).color(color)
            };
            for line in canvas.fonts().wrapped(text, size, WORDS - 18.0, 4) {
                canvas.text(&line, MARGIN + 12.0, y, look);
                y += look.line_height();
            }
        };
        say(verdict, 13.0, color, true);
        say(
            &format!("p = {}", format::fixed(self.probability, 3)),
            13.0,
            palette::INK,
            false,
        );
        for (label, value) in [("predicted", &self.predicted), ("truth", &self.truth)] {
            say(label, 10.0, palette::MUTED, false);
            say(value, 12.0, palette::INK, false);
        }
        say("case", 10.0, palette::MUTED, false);
        say(&self.name, 10.0, palette::MUTED, false);
    }
}

/// The left edge of an image column; the colour bar is column 3.
fn column_x(column: usize) -> f64 {
    MARGIN + WORDS + column as f64 * (SIDE + GAP)
}
