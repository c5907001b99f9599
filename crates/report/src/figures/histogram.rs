//! Histograms: predicted probabilities, intensities, image sizes.

use plotters_backend::text_anchor::{HPos, VPos};

use crate::draw::axes::{Axis, Plot};
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_row};
use crate::draw::palette;
use crate::draw::text::Type;
use crate::{Error, Figure, format};

const HEIGHT: f64 = 300.0;

/// Step histograms of one or more series over a common range, with bins of equal width.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Title above the figure.
    pub title: String,
    /// Name and unit of the values.
    pub x_label: String,
    /// Lower edge of the first bin and upper edge of the last.
    pub range: (f64, f64),
    /// The binned series.
    pub series: Vec<HistogramSeries>,
    /// Whether to show each series as shares of its own total, so that classes of different sizes can be compared.
    pub as_share: bool,
    /// Labelled vertical lines, such as a threshold.
    pub markers: Vec<Marker>,
}

/// The counts of one series.
#[derive(Debug, Clone, Default)]
pub struct HistogramSeries {
    /// Name in the legend, printed with the total.
    pub name: String,
    /// Number of values in each bin.
    pub counts: Vec<u64>,
}

/// A labelled vertical line.
#[derive(Debug, Clone, Default)]
pub struct Marker {
    /// Position on the x axis.
    pub at: f64,
    /// Such as "threshold 0.43".
    pub label: String,
}

impl HistogramSeries {
    /// Counts raw values in `bins` bins of equal width over the range, including both ends; values outside the range
    /// and NaN are ignored.
    pub fn from_values(name: &str, values: &[f64], (low, high): (f64, f64), bins: usize) -> Self {
        let mut counts = vec![0; bins];
        for &value in values.iter().filter(|&&v| v >= low && v <= high) {
            let bin = ((value - low) / (high - low) * bins as f64) as usize;
            if let Some(count) = counts.get_mut(bin.min(bins.saturating_sub(1))) {
                *count += 1;
            }
        }
        Self {
            name: name.to_owned(),
            counts,
        }
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Histogram {
    /// Draws the histograms. Series may differ in their number of bins.
    pub fn draw(&self) -> Result<Figure, Error> {
        let (low, high) = self.range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            let found = format!("{low}..{high}");
            return Err(Error::shape(
                "histogram: range",
                "finite bounds, the lower first",
                found,
            ));
        }
        if self.series.iter().all(|series| series.total() == 0) {
            return Figure::empty(&self.title, "no values in the range");
        }
        let mut canvas = Canvas::new()?;
        let top = canvas.header(&self.title, "");
        let top = legend_row(&mut canvas, top, &self.keys());
        canvas.reserve(top + HEIGHT);
        let rect = Bounds::new(MARGIN, top, WIDTH - 2.0 * MARGIN, HEIGHT);
        self.draw_steps(&mut canvas, rect)?;
        Ok(canvas.finish())
    }

    fn draw_steps(&self, canvas: &mut Canvas, rect: Bounds) -> Result<(), Error> {
        let heights: Vec<_> = self
            .series
            .iter()
            .map(|series| self.heights(series))
            .collect();
        let most = heights.iter().flatten().copied().fold(0.0, f64::max);
        // Leaves room above the bars for the markers' labels.
        let high = most * (1.06 + 0.08 * self.markers.len() as f64);
        let x = Axis::linear(&self.x_label, self.range.0, self.range.1, 10);
        let y = Axis::linear(
            if self.as_share { "share (%)" } else { "count" },
            0.0,
            high,
            5,
        );
        let mut plot = Plot::new(canvas, rect, "", x, y)?;
        let fill = if self.series.len() <= 3 { 0.3 } else { 0.0 };
        // Draws all outlines above all fills, so that no line is tinted by another series.
        for (index, heights) in heights.iter().enumerate() {
            self.fill_series(&mut plot, index, heights, fill);
        }
        for (index, heights) in heights.iter().enumerate() {
            self.outline_series(&mut plot, index, heights);
        }
        for marker in &self.markers {
            marker.draw_line(&mut plot);
        }
        for (row, marker) in self.markers.iter().enumerate() {
            marker.draw_label(&mut plot, row);
        }
        Ok(())
    }

    fn fill_series(&self, plot: &mut Plot, index: usize, heights: &[f64], alpha: f64) {
        for (bin, &height) in heights.iter().enumerate() {
            let (from, to) = self.edges(bin, heights.len());
            plot.bar(from, to, height, palette::series(index), alpha);
        }
    }

    fn outline_series(&self, plot: &mut Plot, index: usize, heights: &[f64]) {
        let mut outline = vec![(self.range.0, 0.0)];
        for (bin, &height) in heights.iter().enumerate() {
            let (from, to) = self.edges(bin, heights.len());
            outline.extend([(from, height), (to, height)]);
        }
        outline.push((self.range.1, 0.0));
        plot.line(&outline, palette::series(index), 1.8);
    }

    fn edges(&self, bin: usize, bins: usize) -> (f64, f64) {
        let (low, high) = self.range;
        let edge = |bin: usize| low + (high - low) * bin as f64 / bins as f64;
        (edge(bin), edge(bin + 1))
    }

    fn heights(&self, series: &HistogramSeries) -> Vec<f64> {
        let total = series.total().max(1) as f64;
        let scale = if self.as_share { 100.0 / total } else { 1.0 };
        series
            .counts
            .iter()
            .map(|&count| count as f64 * scale)
            .collect()
    }

    fn keys(&self) -> Vec<Key> {
        let key = |(index, series): (usize, &HistogramSeries)| {
            let label = format!(
                "{} (n = {})",
                series.name,
                format::thousands(series.total())
            );
            Key::new(Mark::Area, palette::series(index), label)
        };
        self.series.iter().enumerate().map(key).collect()
    }
}

impl Marker {
    fn draw_line(&self, plot: &mut Plot) {
        let Some((x, bottom)) = plot.place(self.at, 0.0) else {
            return;
        };
        let top = plot.inner.y;
        plot.canvas.dashed((x, top), (x, bottom), palette::INK, 1.2);
    }

    /// Draws the marker's label in its own row, on the side with more room.
    fn draw_label(&self, plot: &mut Plot, row: usize) {
        let Some((x, _)) = plot.place(self.at, 0.0) else {
            return;
        };
        let leftward = x > plot.inner.center().0;
        let (side, dx) = if leftward {
            (HPos::Right, -6.0)
        } else {
            (HPos::Left, 6.0)
        };
        let y = plot.inner.y + 9.0 + 17.0 * row as f64;
        plot.canvas.text_on_paper(
            &self.label,
            x + dx,
            y,
            Type::new(11.0).at(side, VPos::Center),
        );
    }
}
