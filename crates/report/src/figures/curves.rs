//! Training curves.

use crate::draw::axes::{Axis, Plot};
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_row};
use crate::draw::palette::{self, Color};
use crate::{Error, Figure};

const PANEL_HEIGHT: f64 = 250.0;

/// Panels of lines over epochs (loss, accuracy, learning rate), with the best epoch marked in each.
#[derive(Debug, Clone, Default)]
pub struct TrainingCurves {
    /// Title above the figure.
    pub title: String,
    /// From left to right and top to bottom.
    pub panels: Vec<CurvePanel>,
    /// The epoch whose weights were kept, in the unit of the lines' x.
    pub best_epoch: Option<f64>,
}

/// One pair of axes.
#[derive(Debug, Clone, Default)]
pub struct CurvePanel {
    /// Such as "Loss", "Accuracy", "Learning rate".
    pub title: String,
    /// Whether the y axis is logarithmic; values that are not positive are then omitted.
    pub log_scale: bool,
    /// The lines; lines of the same name have the same colour in every panel.
    pub lines: Vec<CurveLine>,
}

/// One line.
#[derive(Debug, Clone, Default)]
pub struct CurveLine {
    /// Such as "train", "validation".
    pub name: String,
    /// (epoch, value); NaN leaves a gap.
    pub points: Vec<(f64, f64)>,
}

impl TrainingCurves {
    /// Draws the panels; those without finite values show a message.
    pub fn draw(&self) -> Result<Figure, Error> {
        let epochs = self.panels.iter().flat_map(|p| p.usable()).map(|(x, _)| x);
        let Some((first, last)) = bounds(epochs) else {
            return Figure::empty(&self.title, "no completed epochs");
        };
        let mut canvas = Canvas::new()?;
        let best = self
            .best_epoch
            .map_or_else(String::new, |e| format!("Dashed: best epoch, {e}"));
        let top = canvas.header(&self.title, &best);
        let names = self.line_names();
        let top = legend_row(&mut canvas, top, &keys(&names));
        for (index, panel) in self.panels.iter().enumerate() {
            let rect = self.cell(index, top);
            canvas.reserve(rect.bottom());
            let x = Axis::whole("epoch", first, last, (rect.w / 40.0) as usize);
            panel.draw(&mut canvas, rect, x, &names, self.best_epoch)?;
        }
        Ok(canvas.finish())
    }

    fn cell(&self, index: usize, top: f64) -> Bounds {
        let columns = match self.panels.len() {
            0 | 1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
        let width = (WIDTH - 2.0 * MARGIN) / columns as f64;
        let (row, column) = (index / columns, index % columns);
        let (x, y) = (
            MARGIN + column as f64 * width,
            top + row as f64 * (PANEL_HEIGHT + 12.0),
        );
        Bounds::new(x, y, width - 6.0, PANEL_HEIGHT)
    }

    fn line_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for line in self.panels.iter().flat_map(|panel| &panel.lines) {
            if !names.contains(&line.name.as_str()) {
                names.push(line.name.as_str());
            }
        }
        names
    }
}

impl CurvePanel {
    fn draw(
        &self,
        canvas: &mut Canvas,
        rect: Bounds,
        x: Axis,
        names: &[&str],
        best: Option<f64>,
    ) -> Result<(), Error> {
        let Some((low, high)) = bounds(self.usable().map(|(_, y)| y)) else {
            let plot = Plot::new(canvas, rect, &self.title, x, Axis::unit("").bare())?;
            let (cx, cy) = plot.inner.center();
            let look = crate::draw::text::Type::new(12.0).color(palette::MUTED);
            plot.canvas
                .text("no finite values", cx, cy, look.centered());
            return Ok(());
        };
        let pad = (high - low) * 0.06;
        let y = if self.log_scale {
            Axis::log("", low, high)
        } else {
            Axis::linear("", low - pad, high + pad, 6)
        };
        let mut plot = Plot::new(canvas, rect, &self.title, x, y)?;
        if let Some(best) = best.and_then(|epoch| plot.place(epoch, low)) {
            let (top, bottom) = (plot.inner.y, plot.inner.bottom());
            plot.canvas
                .dashed((best.0, top), (best.0, bottom), palette::MUTED, 1.2);
        }
        for line in &self.lines {
            line.draw(&mut plot, color_of(names, &line.name), best);
        }
        Ok(())
    }

    /// The points that can be drawn on this panel's axes.
    fn usable(&self) -> impl Iterator<Item = (f64, f64)> {
        let shown =
            |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!self.log_scale || y > 0.0);
        self.lines
            .iter()
            .flat_map(|line| line.points.iter().copied())
            .filter(shown)
    }
}

impl CurveLine {
    fn draw(&self, plot: &mut Plot, color: Color, best: Option<f64>) {
        plot.line(&self.points, color, 2.2);
        // A single point draws no line, and a small number of points is easier to read with dots.
        let few = self.points.len() <= 40;
        for &(x, y) in self.points.iter().filter(|_| few) {
            plot.dot(x, y, 2.2, color);
        }
        for &(x, y) in self.points.iter().filter(|&&(x, _)| Some(x) == best) {
            plot.dot(x, y, 4.5, color);
        }
    }
}

fn keys(names: &[&str]) -> Vec<Key> {
    names
        .iter()
        .map(|name| Key::new(Mark::Line, color_of(names, name), *name))
        .collect()
}

fn color_of(names: &[&str], name: &str) -> Color {
    palette::series(names.iter().position(|known| *known == name).unwrap_or(0))
}

/// The smallest and the largest finite value; `None` if there are none.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |range, v| {
        let (low, high) = range.unwrap_or((v, v));
        Some((low.min(v), high.max(v)))
    })
}
