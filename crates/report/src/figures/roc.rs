//! ROC and precision–recall curves.

use crate::draw::axes::{Axis, Plot};
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_column};
use crate::draw::palette;
use crate::{Error, Figure, format};

const SIDE: f64 = 460.0;

/// Receiver operating characteristics, a single curve or one per class.
#[derive(Debug, Clone, Default)]
pub struct RocCurves {
    /// Title above the figure.
    pub title: String,
    /// The curves.
    pub curves: Vec<RocLine>,
}

/// One ROC curve.
#[derive(Debug, Clone, Default)]
pub struct RocLine {
    /// The positive class, or the model.
    pub name: String,
    /// (false-positive rate, true-positive rate), in order.
    pub points: Vec<(f64, f64)>,
    /// Area under the curve.
    pub auc: Option<f64>,
    /// Interval of the area.
    pub interval: Option<(f64, f64)>,
    /// The threshold in use, marked on the curve.
    pub operating_point: Option<MarkedPoint>,
}

/// The operating point of a threshold on a curve.
#[derive(Debug, Clone, Default)]
pub struct MarkedPoint {
    /// Label of the point, such as "threshold 0.43".
    pub label: String,
    /// False-positive rate on an ROC curve, recall on a precision–recall curve.
    pub x: f64,
    /// True-positive rate on an ROC curve, precision on a precision–recall curve.
    pub y: f64,
}

/// Precision–recall curves, a single curve or one per class.
#[derive(Debug, Clone, Default)]
pub struct PrCurves {
    /// Title above the figure.
    pub title: String,
    /// The curves.
    pub curves: Vec<PrLine>,
}

/// One precision–recall curve.
#[derive(Debug, Clone, Default)]
pub struct PrLine {
    /// The positive class, or the model.
    pub name: String,
    /// (recall, precision), in order.
    pub points: Vec<(f64, f64)>,
    /// Average precision.
    pub average_precision: Option<f64>,
    /// Interval of the average precision.
    pub interval: Option<(f64, f64)>,
    /// Share of positives: the precision at chance level, drawn as a dashed line.
    pub prevalence: Option<f64>,
    /// The threshold in use, marked on the curve.
    pub operating_point: Option<MarkedPoint>,
}

impl RocCurves {
    /// Draws the curves with the diagonal of chance; areas and intervals are in the legend.
    pub fn draw(&self) -> Result<Figure, Error> {
        let curves: Vec<_> = self
            .curves
            .iter()
            .map(|curve| Curve {
                name: &curve.name,
                points: &curve.points,
                score: score("AUC", curve.auc, curve.interval),
                chance: None,
                marked: curve.operating_point.as_ref(),
            })
            .collect();
        let chance = Key::new(Mark::Dashed, palette::MUTED, "chance").detail("AUC 0.5");
        let axes = (
            "false-positive rate (1 − specificity)",
            "true-positive rate (sensitivity)",
        );
        draw_square(&self.title, axes, &curves, Some(chance))
    }
}

impl PrCurves {
    /// Draws the curves with their prevalences; average precision and intervals are in the legend.
    pub fn draw(&self) -> Result<Figure, Error> {
        let curves: Vec<_> = self
            .curves
            .iter()
            .map(|curve| Curve {
                name: &curve.name,
                points: &curve.points,
                score: score("AP", curve.average_precision, curve.interval),
                chance: curve.prevalence,
                marked: curve.operating_point.as_ref(),
            })
            .collect();
        draw_square(
            &self.title,
            ("recall (sensitivity)", "precision"),
            &curves,
            None,
        )
    }
}

/// The data shared by both kinds of curve.
struct Curve<'a> {
    name: &'a str,
    points: &'a [(f64, f64)],
    score: String,
    chance: Option<f64>,
    marked: Option<&'a MarkedPoint>,
}

fn score(name: &str, value: Option<f64>, interval: Option<(f64, f64)>) -> String {
    match (value, interval) {
        (Some(value), Some(interval)) => format!("{name} {}", format::interval(value, interval, 3)),
        (Some(value), None) => format!("{name} {}", format::fixed(value, 3)),
        (None, _) => String::new(),
    }
}

/// Draws unit axes on the left and a legend on the right. `diagonal` is the legend key of the line of chance.
fn draw_square(
    title: &str,
    (x, y): (&str, &str),
    curves: &[Curve],
    diagonal: Option<Key>,
) -> Result<Figure, Error> {
    let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
    if !curves.iter().any(|curve| curve.points.iter().any(finite)) {
        return Figure::empty(title, "no curve: cases of both classes are needed");
    }
    let mut canvas = Canvas::new()?;
    let top = canvas.header(title, "");
    canvas.reserve(top + SIDE);
    let rect = Bounds::new(MARGIN, top, SIDE, SIDE);
    let mut plot = Plot::new(&mut canvas, rect, "", Axis::unit(x), Axis::unit(y))?;
    if diagonal.is_some() {
        plot.dashed((0.0, 0.0), (1.0, 1.0), palette::MUTED);
    }
    draw_curves(&mut plot, curves);
    let keys: Vec<_> = keys(curves).into_iter().chain(diagonal).collect();
    let x = rect.right() + 20.0;
    legend_column(&mut canvas, x, top + 4.0, WIDTH - MARGIN - x, &keys);
    Ok(canvas.finish())
}

/// Draws marks last, so that no line hides them.
fn draw_curves(plot: &mut Plot, curves: &[Curve]) {
    for (index, curve) in curves.iter().enumerate() {
        let color = palette::series(index);
        if let Some(level) = curve.chance {
            plot.dashed((0.0, level), (1.0, level), color);
        }
        plot.line(curve.points, color, 2.4);
        if let [(x, y)] = curve.points {
            plot.dot(*x, *y, 3.0, color);
        }
    }
    for (index, mark) in curves
        .iter()
        .enumerate()
        .filter_map(|(i, c)| Some((i, c.marked?)))
    {
        plot.dot(mark.x, mark.y, 5.5, palette::series(index));
    }
}

fn keys(curves: &[Curve]) -> Vec<Key> {
    let mut keys = Vec::new();
    for (index, curve) in curves.iter().enumerate() {
        let color = palette::series(index);
        keys.push(Key::new(Mark::Line, color, curve.name).detail(&curve.score));
        if let Some(mark) = curve.marked {
            let place = format!(
                "at ({}, {})",
                format::fixed(mark.x, 3),
                format::fixed(mark.y, 3)
            );
            keys.push(Key::new(Mark::Dot, color, &mark.label).detail(place));
        }
        if let Some(level) = curve.chance {
            let label = format!("chance: prevalence {}", format::fixed(level, 3));
            keys.push(Key::new(Mark::Dashed, color, label));
        }
    }
    keys
}
