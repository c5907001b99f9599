//! The number of images of each class in each split.

use plotters_backend::text_anchor::{HPos, VPos};

use crate::draw::axes::{Axis, Plot};
use crate::draw::canvas::{Bounds, Canvas, MARGIN, WIDTH};
use crate::draw::legend::{Key, Mark, legend_row};
use crate::draw::palette;
use crate::draw::text::Type;
use crate::error::check_len;
use crate::{Error, Figure, format};

const HEIGHT: f64 = 300.0;
/// The share of a split's width that its bars occupy.
const FILL: f64 = 0.82;
const LABEL: f64 = 11.0;

/// A grouped bar chart: one group per split and one bar per class, with count and share above each bar.
#[derive(Debug, Clone, Default)]
pub struct ClassDistribution {
    /// Title above the figure.
    pub title: String,
    /// Class names, in the order of the counts.
    pub classes: Vec<String>,
    /// The splits, from left to right.
    pub splits: Vec<SplitCounts>,
}

/// The images of one split.
#[derive(Debug, Clone, Default)]
pub struct SplitCounts {
    /// Such as "train", "val", "test".
    pub name: String,
    /// Number of images of each class.
    pub counts: Vec<u64>,
}

impl ClassDistribution {
    /// Draws the bars. Every split must have one count per class.
    pub fn draw(&self) -> Result<Figure, Error> {
        for split in &self.splits {
            let what = format!("class distribution: counts of split `{}`", split.name);
            check_len(&what, self.classes.len(), split.counts.len())?;
        }
        if self.splits.iter().all(|split| split.total() == 0) {
            return Figure::empty(&self.title, "no images");
        }
        let mut canvas = Canvas::new()?;
        let top = canvas.header(&self.title, "");
        let keys: Vec<_> = self.classes.iter().enumerate().map(key).collect();
        let top = legend_row(&mut canvas, top, &keys);
        canvas.reserve(top + HEIGHT + 38.0);
        self.draw_bars(
            &mut canvas,
            Bounds::new(MARGIN, top, WIDTH - 2.0 * MARGIN, HEIGHT),
        )?;
        Ok(canvas.finish())
    }

    fn draw_bars(&self, canvas: &mut Canvas, rect: Bounds) -> Result<(), Error> {
        let groups = self.splits.len() as f64;
        let slot = rect.w * 0.9 / groups * FILL / self.classes.len() as f64;
        let labels = Labels::that_fit(canvas, slot, self.counts());
        let most = self.counts().max().unwrap_or(0) as f64;
        let high = most * HEIGHT / (HEIGHT - 24.0 - labels.height());
        let x = Axis::linear("", 0.0, groups, 1).bare();
        let y = Axis::linear("images", 0.0, high, 5);
        let mut plot = Plot::new(canvas, rect, "", x, y)?;
        for (index, split) in self.splits.iter().enumerate() {
            split.draw(&mut plot, index as f64, &labels);
        }
        Ok(())
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.splits
            .iter()
            .flat_map(|split| split.counts.iter().copied())
    }
}

impl SplitCounts {
    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn draw(&self, plot: &mut Plot, group: f64, labels: &Labels) {
        let width = FILL / self.counts.len() as f64;
        let start = group + (1.0 - FILL) / 2.0;
        for (class, &count) in self.counts.iter().enumerate() {
            let left = start + class as f64 * width;
            let (from, to) = (left + width * 0.06, left + width * 0.94);
            plot.bar(from, to, count as f64, palette::series(class), 1.0);
            if let Some(at) = plot.place(left + width / 2.0, count as f64) {
                labels.draw(plot.canvas, at, count, self.total());
            }
        }
        self.draw_name(plot, group);
    }

    fn draw_name(&self, plot: &mut Plot, group: f64) {
        let Some((x, y)) = plot.place(group + 0.5, 0.0) else {
            return;
        };
        let room = plot.inner.w * FILL;
        let name = plot.canvas.fonts().elided(&self.name, 13.0, true, room);
        plot.canvas
            .text(&name, x, y + 16.0, Type::new(13.0).bold().centered());
        let total = format!("n = {}", format::thousands(self.total()));
        plot.canvas.text(
            &total,
            x,
            y + 33.0,
            Type::new(LABEL).color(palette::MUTED).centered(),
        );
    }
}

/// How bars are labelled, depending on the available width.
enum Labels {
    /// Count above share.
    Stacked,
    /// One line of upward text.
    Upward(f64),
    None,
}

impl Labels {
    fn that_fit(canvas: &Canvas, slot: f64, counts: impl Iterator<Item = u64>) -> Self {
        let widest = counts.map(|n| canvas.fonts().width(&format::thousands(n), LABEL, true));
        let widest = widest.fold(canvas.fonts().width("100.0 %", LABEL, false), f64::max);
        match slot {
            slot if slot > widest + 4.0 => Self::Stacked,
            slot if slot > LABEL => Self::Upward(widest * 2.0),
            _ => Self::None,
        }
    }

    fn height(&self) -> f64 {
        match self {
            Self::Stacked => 2.6 * LABEL,
            Self::Upward(length) => *length,
            Self::None => 0.0,
        }
    }

    fn draw(&self, canvas: &mut Canvas, (x, y): (f64, f64), count: u64, total: u64) {
        let (count, share) = (format::thousands(count), format::share(count, total));
        let look = Type::new(LABEL);
        let stacked = look.at(HPos::Center, VPos::Bottom);
        match self {
            Self::Stacked => {
                canvas.text_on_paper(&share, x, y - 5.0, stacked.color(palette::MUTED));
                canvas.text_on_paper(&count, x, y - 5.0 - 1.25 * LABEL, stacked.bold());
            }
            Self::Upward(_) => {
                let both = format!("{count} · {share}");
                canvas.text_on_paper(&both, x, y - 5.0, look.upward());
            }
            Self::None => {}
        }
    }
}

fn key((index, class): (usize, &String)) -> Key {
    Key::new(Mark::Area, palette::series(index), class)
}
