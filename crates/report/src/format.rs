//! Formatting of numbers for readers.

use std::time::Duration;

/// A share as a percentage with `digits` decimals: `percent(0.9283, 1)` is "92.8 %"; NaN is "–".
pub fn percent(share: f64, digits: usize) -> String {
    if share.is_finite() {
        format!("{:.digits$} %", share * 100.0)
    } else {
        "–".into()
    }
}

/// A share and its interval as percentages: "92.8 % [90.5, 94.7]".
pub fn percent_interval(share: f64, (low, high): (f64, f64), digits: usize) -> String {
    let bounds = [low, high].map(|v| fixed(v * 100.0, digits));
    format!("{} [{}, {}]", percent(share, digits), bounds[0], bounds[1])
}

/// A number and its interval: "0.952 [0.941, 0.963]".
pub fn interval(value: f64, (low, high): (f64, f64), digits: usize) -> String {
    format!(
        "{} [{}, {}]",
        fixed(value, digits),
        fixed(low, digits),
        fixed(high, digits)
    )
}

/// A number with `digits` decimals; NaN and infinities are "–".
pub fn fixed(value: f64, digits: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits$}")
    } else {
        "–".into()
    }
}

/// A number with thousands separators: 12,345,678.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `part` of `whole` as a percentage with one decimal; "–" if `whole` is 0.
pub fn share(part: u64, whole: u64) -> String {
    percent(part as f64 / whole as f64, 1)
}

/// As [`duration`], for seconds read from a file: invalid values (negative, NaN) count as 0.
pub fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A time span in at most two units: "350 ms", "4.2 s", "3 min 07 s", "2 h 05 min".
pub fn duration(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!(
            "{} h {:02} min",
            (whole + 30) / 3600,
            (whole + 30) % 3600 / 60
        ),
    }
}

/// A size in binary units: "512 B", "33.4 MiB".
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A number in its shortest form, for learning rates and the like: "0.0001", "1e-7", "0.25".
pub fn compact(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".into()
    } else if size != 0.0 && !(1e-4..1e7).contains(&size) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// The label of a tick when ticks are `step` apart: just enough decimals to distinguish them.
pub(crate) fn tick(value: f64, step: f64) -> String {
    if step < 1e-4 || value.abs() >= 1e9 {
        return format!("{value:.1e}");
    }
    if step >= 1.0 {
        let sign = if value < 0.0 { "−" } else { "" };
        return format!("{sign}{}", thousands(value.abs().round() as u64));
    }
    let digits = (-step.log10() - 1e-9).ceil() as usize;
    format!("{:.digits$}", value + 0.0)
}
