//! Numbers in sentences and tables.

use metrics::Interval;
use report::format;

/// "1 image", "1,341 images".
pub fn count(n: usize, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        format::thousands(n as u64),
        if n == 1 { "" } else { "s" }
    )
}

/// "92.8 % [90.5, 94.7]".
pub fn percent(interval: &Interval) -> String {
    format::percent_interval(interval.estimate, (interval.low, interval.high), 1)
}

/// "0.952 [0.941, 0.963]".
pub fn number(interval: &Interval) -> String {
    format::interval(interval.estimate, (interval.low, interval.high), 3)
}

/// The value as formatted by `write`, or "–".
pub fn or_dash<T>(value: Option<T>, write: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".into(), write)
}

/// A difference of shares: "+12.3 points [9.8, 14.9]".
pub fn points(difference: &Interval) -> String {
    let [d, low, high] =
        [difference.estimate, difference.low, difference.high].map(|share| 100.0 * share);
    format!("{d:+.1} points [{low:.1}, {high:.1}]")
}
