//! A metric with its confidence interval, and the Wilson interval of a proportion.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{MetricsError, Result};
use crate::normal::normal_quantile;

/// A metric with its confidence interval and its number of examples.
///
/// Displays as `0.928 (0.905–0.947)`; `format!("{interval:.2}")` sets the digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The value on the data.
    pub estimate: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Confidence level, such as 0.95.
    pub level: f64,
    /// Number of examples.
    pub n: usize,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        let Self {
            estimate,
            low,
            high,
            ..
        } = self;
        write!(f, "{estimate:.digits$} ({low:.digits$}–{high:.digits$})")
    }
}

/// Wilson's score interval (1927) of the proportion `successes / n`: valid for small n and near 0 and 1, where the
/// textbook ± interval extends beyond 0..1 or has zero width.
///
/// # Errors
/// `n == 0`, more successes than trials, or a level outside 0..1.
pub fn wilson(successes: u64, n: u64, level: f64) -> Result<Interval> {
    check::level(level)?;
    if n == 0 {
        return Err(MetricsError::Empty { what: "trials" });
    }
    if successes > n {
        return Err(check::setting(
            "successes",
            successes,
            "at most the number of trials",
        ));
    }
    Ok(wilson_of(successes as usize, n as usize, n as f64, level))
}

/// Wilson's interval of `successes / n` for an effective number of examples; `effective` must be positive.
pub(crate) fn wilson_of(successes: usize, n: usize, effective: f64, level: f64) -> Interval {
    wilson_at(successes as f64 / n as f64, n, effective, level)
}

/// Wilson's interval of an estimate in 0..=1 for an effective number of examples; `effective` must be positive.
pub(crate) fn wilson_at(estimate: f64, n: usize, effective: f64, level: f64) -> Interval {
    let trials = effective;
    let z = normal_quantile((1.0 + level) / 2.0);
    let shrink = 1.0 + z * z / trials;
    let centre = (estimate + z * z / (2.0 * trials)) / shrink;
    let variance = estimate * (1.0 - estimate) / trials + z * z / (4.0 * trials * trials);
    let half = z * variance.sqrt() / shrink;
    // Exactly 0 and 1 at the ends, where rounding would leave an error of 1e-17.
    let low = if estimate <= 0.0 { 0.0 } else { centre - half };
    let high = if estimate >= 1.0 { 1.0 } else { centre + half };
    Interval {
        estimate,
        low,
        high,
        level,
        n,
    }
}
