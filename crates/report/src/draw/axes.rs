//! Axes with round tick values, drawn by plotters; [`Plot`] then places the series.

use plotters::chart::ChartBuilder;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::Color as _;
use plotters::style::{FontDesc, FontFamily, FontStyle, RGBColor, TextStyle};

use super::canvas::{Bounds, Canvas, device_len};
use super::palette::{self, Color};
use super::text::{FAMILY, Type};
use crate::{Error, format};

const TICK_SIZE: f64 = 11.0;
const LABEL_SIZE: f64 = 12.0;

/// One axis: its label, range and ticks.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    label: String,
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis over at least `low..high` with about `count` round tick values; a range of zero width (or with a
    /// bound that is not finite) is widened to one that can be drawn.
    pub(crate) fn linear(label: &str, low: f64, high: f64, count: usize) -> Self {
        let (low, high) = drawable(low, high);
        let step = round_step((high - low) / count.max(1) as f64);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let ticks = (first..=last)
            .map(|i| i as f64 * step)
            .map(|value| (value, format::tick(value, step)))
            .collect();
        Self {
            label: label.to_owned(),
            low,
            high,
            log: false,
            ticks,
        }
    }

    /// An axis over 0..=1 with a tick every 0.2.
    pub(crate) fn unit(label: &str) -> Self {
        Self::linear(label, 0.0, 1.0, 5)
    }

    /// An axis with integer ticks only (epochs), padded on both sides.
    pub(crate) fn whole(label: &str, low: f64, high: f64, count: usize) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() {
            (low, high)
        } else {
            (0.0, 1.0)
        };
        let step = round_step((high - low) / count.max(1) as f64)
            .max(1.0)
            .round();
        let first = (low / step).ceil() as i64;
        let ticks = (first..)
            .map(|i| i as f64 * step)
            .take_while(|&value| value <= high)
            .map(|value| (value, format::tick(value, 1.0)))
            .collect();
        let pad = ((high - low) * 0.03).max(0.3);
        Self {
            label: label.to_owned(),
            low: low - pad,
            high: high + pad,
            log: false,
            ticks,
        }
    }

    /// An axis with a name at each of 0, 1, 2 …, padded on both sides.
    pub(crate) fn named(label: &str, names: &[String]) -> Self {
        let ticks = names.iter().enumerate();
        Self {
            label: label.to_owned(),
            low: -0.5,
            high: names.len().max(1) as f64 - 0.5,
            log: false,
            ticks: ticks.map(|(i, name)| (i as f64, name.clone())).collect(),
        }
    }

    /// A logarithmic axis over positive values that spans whole decades, with ticks at powers of ten.
    pub(crate) fn log(label: &str, low: f64, high: f64) -> Self {
        let usable = low.is_finite() && high.is_finite() && low > 0.0;
        let (low, high) = if usable {
            (low, high.max(low))
        } else {
            (0.1, 1.0)
        };
        let bottom = (low.log10() + 1e-9).floor();
        let top = (high.log10() - 1e-9).ceil().max(bottom + 1.0);
        let every = (((top - bottom) / 6.0).ceil() as i64).max(1);
        let ticks = (bottom as i64..=top as i64)
            .filter(|power| (power - bottom as i64) % every == 0)
            .map(|power| (10f64.powi(power as i32), format!("1e{power}")))
            .collect();
        Self {
            label: label.to_owned(),
            // Keeps lines at a power of ten away from the frame.
            low: bottom - 0.1,
            high: top + 0.1,
            log: true,
            ticks,
        }
    }

    /// Removes the ticks, for an axis that the figure labels itself.
    pub(crate) fn bare(mut self) -> Self {
        self.ticks.clear();
        self
    }

    /// Position on the axis: 0 at the low end, 1 at the high end, clamped; `None` if undefined (NaN, log of 0).
    fn fraction(&self, value: f64) -> Option<f64> {
        let value = if self.log { value.log10() } else { value };
        let fraction = (value - self.low) / (self.high - self.low);
        fraction.is_finite().then(|| fraction.clamp(0.0, 1.0))
    }
}

/// Provides plotters with the ticks, their positions and their labels.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let along = self.fraction(*value).unwrap_or(0.0) * f64::from(to - from);
        from + along.round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        let bold = !hint.weight().allow_light_points();
        self.ticks
            .iter()
            .filter(|_| bold)
            .map(|tick| tick.0)
            .collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.0 == *value);
        tick.map_or_else(String::new, |tick| tick.1.clone())
    }
}

/// The area inside a pair of axes; maps values to positions on the canvas.
pub(crate) struct Plot<'a> {
    pub(crate) canvas: &'a mut Canvas,
    /// The rectangle between the axes.
    pub(crate) inner: Bounds,
    x: Axis,
    y: Axis,
}

impl<'a> Plot<'a> {
    /// Draws grid, ticks, labels and an optional title into `rect`.
    pub(crate) fn new(
        canvas: &'a mut Canvas,
        rect: Bounds,
        title: &str,
        x: Axis,
        y: Axis,
    ) -> Result<Self, Error> {
        let top = if title.is_empty() { 6.0 } else { 24.0 };
        let rect = Bounds::new(rect.x, rect.y + top, rect.w, rect.h - top);
        let left = Self::left_margin(canvas, &y);
        let bottom = if x.ticks.is_empty() { 8.0 } else { 20.0 }
            + if x.label.is_empty() { 0.0 } else { 17.0 };
        let right = 8.0;
        let inner = Bounds::new(
            rect.x + left,
            rect.y,
            rect.w - left - right,
            rect.h - bottom,
        );
        draw_frame(
            canvas,
            Bounds::new(rect.x, rect.y, rect.w - right, rect.h),
            left,
            bottom,
            &x,
            &y,
        )
        .map_err(Error::Draw)?;
        let look = Type::new(13.0).bold();
        let title = canvas.fonts().elided(title, look.size, true, inner.w);
        canvas.text(&title, inner.x, rect.y - 11.0, look);
        Ok(Self {
            canvas,
            inner,
            x,
            y,
        })
    }

    /// The width of the tick labels and axis label to the left of the axes.
    pub(crate) fn left_margin(canvas: &Canvas, y: &Axis) -> f64 {
        let widths = y
            .ticks
            .iter()
            .map(|tick| canvas.fonts().width(&tick.1, TICK_SIZE, false));
        let name = if y.label.is_empty() { 0.0 } else { 20.0 };
        widths.fold(0.0, f64::max) + name + 10.0
    }

    /// Position of a value on the canvas; `None` if undefined.
    pub(crate) fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (fx, fy) = (self.x.fraction(x)?, self.y.fraction(y)?);
        Some((
            self.inner.x + fx * self.inner.w,
            self.inner.bottom() - fy * self.inner.h,
        ))
    }

    /// Draws a line through the points; undefined values (NaN) leave a gap.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], color: Color, width: f64) {
        let placed: Vec<_> = points.iter().map(|&(x, y)| self.place(x, y)).collect();
        for run in placed.split(Option::is_none) {
            let run: Vec<_> = run.iter().flatten().copied().collect();
            self.canvas.polyline(&run, color, width);
        }
    }

    pub(crate) fn dashed(&mut self, from: (f64, f64), to: (f64, f64), color: Color) {
        if let (Some(from), Some(to)) = (self.place(from.0, from.1), self.place(to.0, to.1)) {
            self.canvas.dashed(from, to, color, 1.2);
        }
    }

    pub(crate) fn dot(&mut self, x: f64, y: f64, radius: f64, color: Color) {
        if let Some(at) = self.place(x, y) {
            self.canvas.dot(at, radius, color);
        }
    }

    /// Draws a filled bar between two x values, from the bottom axis up to `top`.
    pub(crate) fn bar(&mut self, from: f64, to: f64, top: f64, color: Color, alpha: f64) {
        if let (Some((left, y)), Some((right, _))) = (self.place(from, top), self.place(to, top)) {
            let rect = Bounds::new(left, y, right - left, self.inner.bottom() - y);
            self.canvas.fill(rect, color, alpha);
        }
    }
}

fn draw_frame(
    canvas: &mut Canvas,
    rect: Bounds,
    left: f64,
    bottom: f64,
    x: &Axis,
    y: &Axis,
) -> Result<(), String> {
    let area = canvas.area(rect);
    let text = |size: f64, color: Color| {
        let font = FontDesc::new(
            FontFamily::Name(FAMILY),
            f64::from(device_len(size)),
            FontStyle::Normal,
        );
        TextStyle {
            color: color.backend(),
            ..TextStyle::from(font)
        }
    };
    let mut chart = ChartBuilder::on(&area)
        .y_label_area_size(device_len(left))
        .x_label_area_size(device_len(bottom))
        .build_cartesian_2d(x.clone(), y.clone())
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(rgb(palette::GRID).stroke_width(device_len(0.75) as u32))
        .axis_style(rgb(palette::MUTED).stroke_width(device_len(1.0) as u32))
        .set_all_tick_mark_size(device_len(3.0))
        .label_style(text(TICK_SIZE, palette::MUTED))
        .axis_desc_style(text(LABEL_SIZE, palette::INK))
        .x_desc(x.label.as_str())
        .y_desc(y.label.as_str())
        .draw()
        .map_err(|error| error.to_string())
}

fn rgb(color: Color) -> RGBColor {
    RGBColor(color.0, color.1, color.2)
}

fn drawable(low: f64, high: f64) -> (f64, f64) {
    match (low.is_finite() && high.is_finite(), high > low) {
        (false, _) => (0.0, 1.0),
        (true, true) if (high - low) > low.abs().max(high.abs()) * 1e-9 => (low, high),
        (true, _) => {
            let pad = (low.abs() * 0.1).max(0.1);
            (low.min(high) - pad, low.max(high) + pad)
        }
    }
}

/// The smallest value of the form 1, 2 or 5 · 10^k that is at least `raw`.
fn round_step(raw: f64) -> f64 {
    if !raw.is_finite() || raw <= 0.0 {
        return 1.0;
    }
    let decade = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|f| f * decade >= raw * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * decade
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(axis: Axis, expected: &[&str]) {
        let labels: Vec<_> = axis.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(labels, expected);
    }

    #[test]
    fn ticks_are_round() {
        check(Axis::unit(""), &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(
            Axis::linear("", 0.0, 3875.0, 5),
            &["0", "1,000", "2,000", "3,000"],
        );
        check(Axis::linear("", 0.31, 0.52, 4), &["0.4", "0.5"]);
        check(
            Axis::whole("", 1.0, 8.0, 8),
            &["1", "2", "3", "4", "5", "6", "7", "8"],
        );
        check(Axis::whole("", 1.0, 1.0, 8), &["1"]);
        check(Axis::log("", 3e-6, 1e-3), &["1e-6", "1e-5", "1e-4", "1e-3"]);
    }

    #[test]
    fn every_range_can_be_drawn() {
        for (low, high) in [
            (f64::NAN, 1.0),
            (1.0, 1.0),
            (2.0, 1.0),
            (0.0, f64::INFINITY),
            (0.0, 0.0),
        ] {
            let axis = Axis::linear("", low, high, 5);
            assert!(
                axis.high > axis.low && axis.ticks.len() < 20,
                "{low}..{high}: {axis:?}"
            );
            let axis = Axis::log("", low, high);
            assert!(
                axis.high > axis.low && axis.ticks.len() < 20,
                "{low}..{high}: {axis:?}"
            );
        }
    }
}
