//! The confusion matrix.

use plotters_backend::text_anchor::{HPos, VPos};

use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::palette;
use crate::draw::text::Type;
use crate::error::check_len;
use crate::{Error, Figure, format};

const TOTALS: f64 = 90.0;

/// Counts of (true class, predicted class) with row percentages; the shading is the share of the row.
#[derive(Debug, Clone, Default)]
pub struct ConfusionHeatmap {
    /// Title above the figure.
    pub title: String,
    /// Class names, in the order of rows and columns.
    pub classes: Vec<String>,
    /// `counts[truth][predicted]`.
    pub counts: Vec<Vec<u64>>,
}

/// Layout of the matrix.
struct Geometry {
    left: f64,
    /// Width of the widest row name.
    names: f64,
    top: f64,
    cell: f64,
    upward_names: bool,
}

impl ConfusionHeatmap {
    /// Draws the matrix, which must be square, with one row and column per class.
    pub fn draw(&self) -> Result<Figure, Error> {
        check_len(
            "confusion matrix: rows",
            self.classes.len(),
            self.counts.len(),
        )?;
        for (class, row) in self.classes.iter().zip(&self.counts) {
            let what = format!("confusion matrix: row of class `{class}`");
            check_len(&what, self.classes.len(), row.len())?;
        }
        if self.counts.iter().flatten().sum::<u64>() == 0 {
            return Figure::empty(&self.title, "no predictions");
        }
        let mut canvas = Canvas::new()?;
        let top = canvas.header(&self.title, "Count and share of the true class (shading)");
        let layout = self.layout(&canvas, top);
        canvas.reserve(layout.top + layout.cell * self.classes.len() as f64 + 4.0);
        self.draw_names(&mut canvas, &layout);
        for (row, counts) in self.counts.iter().enumerate() {
            draw_row(&mut canvas, &layout, row, counts);
        }
        Ok(canvas.finish())
    }

    fn layout(&self, canvas: &Canvas, top: f64) -> Geometry {
        let widths = self
            .classes
            .iter()
            .map(|name| canvas.fonts().width(name, 12.0, false));
        let names = widths.fold(0.0, f64::max).min(170.0);
        let beside = 26.0 + names + 10.0;
        let room = WIDTH - 2.0 * MARGIN - beside - TOTALS;
        let classes = self.classes.len() as f64;
        let cell = (room / classes).clamp(14.0, 150.0);
        // Centres a small matrix on the page.
        let left = MARGIN + beside + ((room - cell * classes) / 2.0).max(0.0);
        let upward_names = names > cell - 6.0;
        let head = if upward_names { names.min(120.0) } else { 14.0 };
        Geometry {
            left,
            names,
            top: top + 22.0 + head + 8.0,
            cell,
            upward_names,
        }
    }

    fn draw_names(&self, canvas: &mut Canvas, layout: &Geometry) {
        let side = layout.cell * self.classes.len() as f64;
        let head = if layout.upward_names {
            120.0
        } else {
            layout.cell - 6.0
        };
        let axis = Type::new(13.0).bold().centered();
        let names_top = layout.top - if layout.upward_names { 0.0 } else { 22.0 };
        let longest = self
            .classes
            .iter()
            .map(|name| canvas.fonts().width(name, 12.0, false));
        let longest = if layout.upward_names {
            longest.fold(0.0, f64::max).min(120.0) + 10.0
        } else {
            0.0
        };
        canvas.text(
            "predicted",
            layout.left + side / 2.0,
            names_top - longest - 8.0,
            axis,
        );
        canvas.text(
            "truth",
            layout.left - layout.names - 26.0,
            layout.top + side / 2.0,
            axis.upward(),
        );
        for (index, name) in self.classes.iter().enumerate() {
            let middle = (index as f64 + 0.5) * layout.cell;
            let row_name = canvas.fonts().elided(name, 12.0, false, 170.0);
            let look = Type::new(12.0).at(HPos::Right, VPos::Center);
            canvas.text(&row_name, layout.left - 10.0, layout.top + middle, look);
            let column_name = canvas.fonts().elided(name, 12.0, false, head);
            let (y, look) = match layout.upward_names {
                true => (layout.top - 8.0, Type::new(12.0).upward()),
                false => (layout.top - 12.0, Type::new(12.0).centered()),
            };
            canvas.text(&column_name, layout.left + middle, y, look);
        }
    }
}

fn draw_row(canvas: &mut Canvas, layout: &Geometry, row: usize, counts: &[u64]) {
    let total: u64 = counts.iter().sum();
    let y = layout.top + row as f64 * layout.cell;
    for (column, &count) in counts.iter().enumerate() {
        let x = layout.left + column as f64 * layout.cell;
        draw_cell(
            canvas,
            Bounds::new(x, y, layout.cell, layout.cell),
            count,
            total,
        );
    }
    let x = layout.left + counts.len() as f64 * layout.cell + 10.0;
    let text = format!("n = {}", format::thousands(total));
    canvas.text(
        &text,
        x,
        y + layout.cell / 2.0,
        Type::new(12.0).color(palette::MUTED),
    );
}

fn draw_cell(canvas: &mut Canvas, rect: Bounds, count: u64, total: u64) {
    let share = if total == 0 {
        0.0
    } else {
        count as f64 / total as f64
    };
    // The lightest shade is not white, so that cells with a count of 0 are visible.
    let shade = palette::PAPER.toward(palette::BLUE, 0.04 + 0.96 * share);
    canvas.fill(rect.grown(-1.0), shade, 1.0);
    let ink = if shade.luma() < 0.6 {
        palette::PAPER
    } else {
        palette::INK
    };
    let (x, y) = rect.center();
    let size = (rect.w * 0.23).clamp(6.0, 20.0);
    let small = (size * 0.72).clamp(6.0, 12.0);
    let with_share = rect.w >= 30.0;
    let look = Type::new(size).bold().color(ink).centered();
    canvas.text(
        &format::thousands(count),
        x,
        y - if with_share { small * 0.6 } else { 0.0 },
        look,
    );
    if with_share {
        let text = format::share(count, total);
        canvas.text(
            &text,
            x,
            y + size * 0.8,
            Type::new(small).color(ink).centered(),
        );
    }
}
