//! The reliability diagram.

use crate::draw::axes::{Axis, Plot};
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_column};
use crate::draw::palette;
use crate::{Error, Figure, format};

const SIDE: f64 = 430.0;
const COUNTS: f64 = 130.0;

/// Observed frequency against predicted probability, with the number of cases per bin below.
#[derive(Debug, Clone, Default)]
pub struct ReliabilityDiagram {
    /// Title above the figure.
    pub title: String,
    /// One curve, or several to compare (such as "as trained" and "temperature-scaled").
    pub curves: Vec<ReliabilityLine>,
}

/// The bins of one set of probabilities.
#[derive(Debug, Clone, Default)]
pub struct ReliabilityLine {
    /// Name in the legend.
    pub name: String,
    /// Bins from low to high; empty ones (count 0) are skipped.
    pub bins: Vec<ReliabilityMark>,
    /// A summary for the legend, such as "ECE 0.031".
    pub note: String,
}

/// The cases whose predicted probability falls into one bin.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReliabilityMark {
    /// Lower and upper bound of the bin.
    pub bounds: (f64, f64),
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share of positive cases.
    pub observed: f64,
    /// Confidence interval of that share, drawn as an error bar.
    pub interval: Option<(f64, f64)>,
    /// Number of cases.
    pub count: u64,
}

impl ReliabilityDiagram {
    /// Draws diagram, bin counts and legend.
    pub fn draw(&self) -> Result<Figure, Error> {
        let most = self
            .curves
            .iter()
            .flat_map(|c| &c.bins)
            .map(|bin| bin.count)
            .max();
        let Some(most) = most.filter(|&most| most > 0) else {
            return Figure::empty(&self.title, "no predicted probabilities");
        };
        let mut canvas = Canvas::new()?;
        let top = canvas.header(&self.title, "");
        canvas.reserve(top + SIDE + COUNTS);
        let rect = Bounds::new(MARGIN, top, SIDE + 20.0, SIDE);
        let y = Axis::unit("observed frequency");
        let mut plot = Plot::new(&mut canvas, rect, "", Axis::unit(""), y)?;
        plot.dashed((0.0, 0.0), (1.0, 1.0), palette::MUTED);
        self.draw_curves(&mut plot);
        // The two panels share their x axis, so the lower one is aligned with the upper one.
        let left = plot.inner.x;
        self.draw_counts(&mut canvas, rect, left, most)?;
        let x = rect.right() + 20.0;
        legend_column(&mut canvas, x, top + 4.0, WIDTH - MARGIN - x, &self.keys());
        Ok(canvas.finish())
    }

    fn draw_curves(&self, plot: &mut Plot) {
        for (index, curve) in self.curves.iter().enumerate() {
            let color = palette::series(index);
            let filled: Vec<_> = curve.filled().collect();
            for bin in &filled {
                if let Some((low, high)) = bin.interval {
                    plot.line(&[(bin.predicted, low), (bin.predicted, high)], color, 1.2);
                }
            }
            let points: Vec<_> = filled
                .iter()
                .map(|bin| (bin.predicted, bin.observed))
                .collect();
            plot.line(&points, color, 2.2);
            for (x, y) in points {
                plot.dot(x, y, 3.6, color);
            }
        }
    }

    fn draw_counts(
        &self,
        canvas: &mut Canvas,
        above: Bounds,
        left: f64,
        most: u64,
    ) -> Result<(), Error> {
        let axis = Axis::linear("cases", 0.0, most as f64 * 1.08, 3);
        let own = Plot::left_margin(canvas, &axis);
        let rect = Bounds::new(
            left - own,
            above.bottom(),
            above.right() - left + own,
            COUNTS,
        );
        let mut plot = Plot::new(canvas, rect, "", Axis::unit("predicted probability"), axis)?;
        let lanes = self.curves.len() as f64;
        for (index, curve) in self.curves.iter().enumerate() {
            for bin in curve.filled() {
                let (low, high) = bin.bounds;
                let lane = (high - low) / lanes;
                let from = low + lane * index as f64;
                let gap = lane * 0.06;
                plot.bar(
                    from + gap,
                    from + lane - gap,
                    bin.count as f64,
                    palette::series(index),
                    1.0,
                );
            }
        }
        Ok(())
    }

    fn keys(&self) -> Vec<Key> {
        let curve = |(index, curve): (usize, &ReliabilityLine)| {
            let cases: u64 = curve.bins.iter().map(|bin| bin.count).sum();
            let detail = format!("{}\nn = {}", curve.note, format::thousands(cases));
            Key::new(Mark::Line, palette::series(index), &curve.name).detail(detail)
        };
        let ideal = Key::new(Mark::Dashed, palette::MUTED, "perfectly calibrated");
        self.curves
            .iter()
            .enumerate()
            .map(curve)
            .chain([ideal])
            .collect()
    }
}

impl ReliabilityLine {
    fn filled(&self) -> impl Iterator<Item = &ReliabilityMark> {
        self.bins.iter().filter(|bin| bin.count > 0)
    }
}
