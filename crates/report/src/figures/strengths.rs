//! Figures against the strength of a change, one panel per change.

use super::curves::CurveLine;
use crate::draw::axes::{Axis, Plot};
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_row};
use crate::draw::palette;
use crate::{Error, Figure};

const PANEL_HEIGHT: f64 = 210.0;
const COLUMNS: usize = 3;

/// Panels of shares (AUC, sensitivity …) against named steps, from unchanged to strong.
#[derive(Debug, Clone, Default)]
pub struct StrengthCurves {
    /// Title above the figure.
    pub title: String,
    /// From left to right and top to bottom.
    pub panels: Vec<StrengthPanel>,
}

/// One pair of axes.
#[derive(Debug, Clone, Default)]
pub struct StrengthPanel {
    /// What is changed.
    pub title: String,
    /// What the steps mean.
    pub unit: String,
    /// The names of the steps, in order.
    pub steps: Vec<String>,
    /// (number of the step from 0, share); lines at the same place have the same name in every panel.
    pub lines: Vec<CurveLine>,
    /// The step from which on the results are significantly worse.
    pub breaks_at: Option<usize>,
}

impl StrengthCurves {
    /// Draws the panels.
    pub fn draw(&self) -> Result<Figure, Error> {
        let Some(first) = self.panels.first() else {
            return Figure::empty(&self.title, "no changes");
        };
        let mut canvas = Canvas::new()?;
        let words = "Dashed: from here on significantly worse than on the unchanged images";
        let top = canvas.header(&self.title, words);
        let lines = first.lines.iter().enumerate();
        let keys = lines.map(|(i, line)| Key::new(Mark::Line, palette::series(i), &*line.name));
        let top = legend_row(&mut canvas, top, &keys.collect::<Vec<_>>());
        for (index, panel) in self.panels.iter().enumerate() {
            let rect = cell(index, top);
            canvas.reserve(rect.bottom());
            panel.draw(&mut canvas, rect)?;
        }
        Ok(canvas.finish())
    }
}

fn cell(index: usize, top: f64) -> Bounds {
    let width = (WIDTH - 2.0 * MARGIN) / COLUMNS as f64;
    let (row, column) = (index / COLUMNS, index % COLUMNS);
    let x = MARGIN + column as f64 * width;
    let y = top + row as f64 * (PANEL_HEIGHT + 12.0);
    Bounds::new(x, y, width - 6.0, PANEL_HEIGHT)
}

impl StrengthPanel {
    fn draw(&self, canvas: &mut Canvas, rect: Bounds) -> Result<(), Error> {
        let (x, y) = (Axis::named(&self.unit, &self.steps), Axis::unit(""));
        let mut plot = Plot::new(canvas, rect, &self.title, x, y)?;
        if let Some(step) = self.breaks_at {
            let at = step as f64 - 0.5;
            plot.dashed((at, 0.0), (at, 1.0), palette::MUTED);
        }
        for (i, line) in self.lines.iter().enumerate() {
            let color = palette::series(i);
            plot.line(&line.points, color, 2.2);
            line.points
                .iter()
                .for_each(|(x, y)| plot.dot(*x, *y, 2.4, color));
        }
        Ok(())
    }
}
