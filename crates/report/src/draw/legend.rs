//! Legends: a row above a figure, or a column next to it.

use super::canvas::{Canvas, MARGIN, WIDTH};
use super::palette::{self, Color};
use super::text::Type;

const SIZE: f64 = 12.0;
const SWATCH: f64 = 18.0;
const ROW: f64 = 20.0;

/// The symbol of a series.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    Area,
    Line,
    Dashed,
    Dot,
}

/// One entry of a legend; `detail` is a second, muted text (only in a column).
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) mark: Mark,
    pub(crate) color: Color,
    pub(crate) label: String,
    pub(crate) detail: String,
}

impl Key {
    pub(crate) fn new(mark: Mark, color: Color, label: impl Into<String>) -> Self {
        Self {
            mark,
            color,
            label: label.into(),
            detail: String::new(),
        }
    }

    pub(crate) fn detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }
}

/// Places the keys side by side from the left margin, in as many rows as needed; returns the y below.
pub(crate) fn legend_row(canvas: &mut Canvas, top: f64, keys: &[Key]) -> f64 {
    if keys.is_empty() {
        return top;
    }
    let (mut x, mut y) = (MARGIN, top);
    for key in keys {
        let label = canvas.fonts().elided(&key.label, SIZE, false, WIDTH / 2.0);
        let width = SWATCH + 6.0 + canvas.fonts().width(&label, SIZE, false) + 18.0;
        if x > MARGIN && x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + ROW);
        }
        canvas.reserve(y + ROW);
        draw_mark(canvas, key, x, y + ROW / 2.0);
        canvas.text(&label, x + SWATCH + 6.0, y + ROW / 2.0, Type::new(SIZE));
        x += width;
    }
    y + ROW + 6.0
}

/// Places the keys below one another, wrapped to `width`; returns the y below.
pub(crate) fn legend_column(
    canvas: &mut Canvas,
    x: f64,
    top: f64,
    width: f64,
    keys: &[Key],
) -> f64 {
    let room = width - SWATCH - 6.0;
    let mut y = top;
    for key in keys {
        let label = canvas.fonts().wrapped(&key.label, SIZE, room, 2);
        let detail = canvas.fonts().wrapped(&key.detail, SIZE - 1.0, room, 3);
        draw_mark(canvas, key, x, y + ROW / 2.0);
        let muted = Type::new(SIZE - 1.0).color(palette::MUTED);
        let lines = label.iter().map(|line| (line, Type::new(SIZE)));
        for (line, look) in lines.chain(detail.iter().map(|line| (line, muted))) {
            if !line.is_empty() {
                canvas.reserve(y + ROW);
                canvas.text(line, x + SWATCH + 6.0, y + ROW / 2.0, look);
                y += look.line_height() + 1.0;
            }
        }
        y += 8.0;
    }
    y
}

fn draw_mark(canvas: &mut Canvas, key: &Key, x: f64, y: f64) {
    let (left, right) = ((x, y), (x + SWATCH, y));
    match key.mark {
        Mark::Area => {
            let rect = super::canvas::Bounds::new(x + 2.0, y - 6.0, 12.0, 12.0);
            canvas.fill(rect, key.color, 1.0);
        }
        Mark::Line => canvas.polyline(&[left, right], key.color, 2.2),
        Mark::Dashed => canvas.dashed(left, right, key.color, 1.4),
        Mark::Dot => canvas.dot((x + SWATCH / 2.0, y), 4.5, key.color),
    }
}
