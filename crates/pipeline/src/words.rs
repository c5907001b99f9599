//! Numbers in sentences and tables.

use metrics::Interval;
use report::format;

/// "1 image", "1,341 images".
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        format::thousands(n as u64),
        if n == 1 { "" } else { "s" }
    )
}

/// "92.8 % [90.5, 94.7]".
pub(crate) fn percent(interval: &Interval) -> String {
    format::percent_interval(interval.estimate, (interval.low, interval.high), 1)
}

/// "0.952 [0.941, 0.963]".
pub(crate) fn number(interval: &Interval) -> String {
    format::interval(interval.estimate, (interval.low, interval.high), 3)
}

/// The value as formatted by `write`, or "–".
pub(crate) fn or_dash<T>(value: Option<T>, write: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".into(), write)
}
