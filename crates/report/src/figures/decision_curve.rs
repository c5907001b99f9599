//! Decision curves: the net benefit of deciding by a prediction.

use crate::draw::axes::{Axis, Plot};
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_column};
use crate::draw::palette;
use crate::{Error, Figure};

const SIDE: f64 = 460.0;

/// The net benefit against the threshold probability, beside treating everyone and no one.
#[derive(Debug, Clone, Default)]
pub struct DecisionCurve {
    /// Title above the figure.
    pub title: String,
    /// Name of the class that is acted on.
    pub positive: String,
    /// (threshold, net benefit) of deciding by the prediction.
    pub network: Vec<(f64, f64)>,
    /// (threshold, net benefit) of treating everyone.
    pub all: Vec<(f64, f64)>,
}

impl DecisionCurve {
    /// Draws the curves. What lies far below 0, as treating everyone at a high threshold does, is left out.
    pub fn draw(&self) -> Result<Figure, Error> {
        let values = self.network.iter().chain(&self.all).map(|(_, y)| *y);
        let highest = values.filter(|y| y.is_finite()).fold(f64::NAN, f64::max);
        if highest.is_nan() {
            return Figure::empty(&self.title, "no predictions");
        }
        let (low, high) = (-0.25 * highest.max(0.02), highest.max(0.02));
        let mut canvas = Canvas::new()?;
        let top = canvas.header(&self.title, "");
        canvas.reserve(top + SIDE);
        let rect = Bounds::new(MARGIN, top, SIDE, SIDE);
        let x = Axis::unit(&format!(
            "probability of {} from which to act",
            self.positive
        ));
        let y = Axis::linear("net benefit per image", low, high, 6);
        let mut plot = Plot::new(&mut canvas, rect, "", x, y)?;
        let shown = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            let near = points.iter().filter(|(_, y)| (low..=high).contains(y));
            near.copied().collect()
        };
        plot.dashed((0.0, 0.0), (1.0, 0.0), palette::MUTED);
        plot.line(&shown(&self.all), palette::series(1), 1.8);
        plot.line(&shown(&self.network), palette::series(0), 2.4);
        let keys = [
            Key::new(Mark::Line, palette::series(0), "by the network"),
            Key::new(Mark::Line, palette::series(1), "act on all"),
            Key::new(Mark::Dashed, palette::MUTED, "act on none"),
        ];
        let x = rect.right() + 20.0;
        legend_column(&mut canvas, x, top + 4.0, WIDTH - MARGIN - x, &keys);
        Ok(canvas.finish())
    }
}
