//! The risk-coverage curve of predictions that are accepted by their confidence.

use super::roc::MarkedPoint;
use crate::draw::axes::{Axis, Plot};
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_column};
use crate::draw::palette;
use crate::{Error, Figure, format};

const SIDE: f64 = 460.0;

/// The share of errors among accepted predictions against the share that is accepted.
#[derive(Debug, Clone, Default)]
pub struct RiskCoverageCurve {
    /// Title above the figure.
    pub title: String,
    /// (share accepted, share of errors among them), from few to all.
    pub points: Vec<(f64, f64)>,
    /// Area under the curve.
    pub aurc: f64,
    /// The rule in use, marked on the curve.
    pub accepted: Option<MarkedPoint>,
}

impl RiskCoverageCurve {
    /// Draws the curve, and the errors without abstention as a dashed line.
    pub fn draw(&self) -> Result<Figure, Error> {
        let finite = self
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite());
        let highest = finite.clone().map(|(_, y)| *y).fold(f64::NAN, f64::max);
        let Some((_, all)) = finite.clone().next_back() else {
            return Figure::empty(&self.title, "no predictions");
        };
        let mut canvas = Canvas::new()?;
        let top = canvas.header(&self.title, "");
        canvas.reserve(top + SIDE);
        let rect = Bounds::new(MARGIN, top, SIDE, SIDE);
        let x = Axis::unit("share of the images that is accepted, the most confident first");
        let y = Axis::linear("share of errors among them", 0.0, highest.max(0.01), 6);
        let mut plot = Plot::new(&mut canvas, rect, "", x, y)?;
        let color = palette::series(0);
        plot.dashed((0.0, *all), (1.0, *all), palette::MUTED);
        plot.line(&self.points, color, 2.4);
        let area = format!("AURC {}", format::fixed(self.aurc, 4));
        let mut keys = vec![Key::new(Mark::Line, color, "network").detail(area)];
        if let Some(mark) = &self.accepted {
            plot.dot(mark.x, mark.y, 5.5, color);
            let place = format!(
                "{} accepted, {} wrong",
                format::percent(mark.x, 1),
                format::percent(mark.y, 1)
            );
            keys.push(Key::new(Mark::Dot, color, &mark.label).detail(place));
        }
        let without = format!("all accepted: {} wrong", format::percent(*all, 1));
        keys.push(Key::new(Mark::Dashed, palette::MUTED, without));
        let x = rect.right() + 20.0;
        legend_column(&mut canvas, x, top + 4.0, WIDTH - MARGIN - x, &keys);
        Ok(canvas.finish())
    }
}
