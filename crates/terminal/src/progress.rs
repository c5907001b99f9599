//! Progress bars on a terminal, plain lines in logs.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::print::say;
use crate::visible::visible;

/// How often a job prints a line if stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bars if stderr is a terminal, otherwise plain lines.
    Shown,
    /// Nothing (tests, library use).
    Silent,
}

impl Progress {
    /// Prints a separate line: the start of a stage, a warning, a result.
    pub fn say(self, text: impl AsRef<str>) {
        if self == Progress::Shown {
            say(text.as_ref());
        }
    }

    /// Starts a job of `total` steps (images, batches); it ends when dropped.
    pub fn job(self, what: &str, unit: &'static str, total: u64) -> Job {
        let bars = self == Progress::Shown && std::io::stderr().is_terminal();
        let target = if bars {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style(unit));
        bar.set_prefix(visible(what).into_owned());
        let lines = self == Progress::Shown && !bars;
        Job {
            bar,
            what: what.into(),
            unit,
            lines,
            last_line: Mutex::new(Instant::now()),
            start: Instant::now(),
        }
    }
}

/// One running job.
#[derive(Debug)]
pub struct Job {
    bar: ProgressBar,
    what: String,
    unit: &'static str,
    lines: bool,
    last_line: Mutex<Instant>,
    start: Instant,
}

impl Job {
    /// Sets the total number of steps, if it was not known at the start.
    pub fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Sets the number of steps done.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
        self.maybe_line();
    }

    /// Adds `by` to the number of steps done.
    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
        self.maybe_line();
    }

    /// Sets the text next to the bar: running loss and metric.
    pub fn note(&self, text: impl Into<String>) {
        self.bar.set_message(visible(&text.into()).into_owned());
    }

    /// Prints a line above the bar.
    pub fn say(&self, text: &str) {
        if self.lines {
            say(text);
        } else {
            self.bar.println(visible(text));
        }
    }

    fn maybe_line(&self) {
        if !self.lines {
            return;
        }
        let mut last = self
            .last_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            say(&self.line());
        }
    }

    fn line(&self) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let rate = done as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let left = (total.saturating_sub(done)) as f64 / rate.max(1e-9);
        format!(
            "  {}: {done}/{total} {} ({rate:.1}/s, {left:.0} s left) {}",
            self.what,
            self.unit,
            self.bar.message()
        )
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(unit: &str) -> ProgressStyle {
    let template =
        format!("  {{prefix}} {{wide_bar}} {{pos}}/{{len}} {unit} {{per_sec}} eta {{eta}} {{msg}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
