//! Positive and negative predictive value at a named prevalence.
//!
//! The predictive values counted in a study hold for its prevalence only. At another prevalence π they follow from
//! sensitivity and specificity by Bayes' theorem, through the likelihood ratios LR+ = sensitivity / (1 − specificity)
//! and LR− = (1 − sensitivity) / specificity: the odds of disease after a positive result are LR+ · π / (1 − π).
//!
//! **Interval.** At a given π the predictive values are monotone functions of the likelihood ratios, which are ratios of
//! two independent proportions. Their interval is computed on the logarithmic scale by the method of variance estimates
//! recovery (Zou & Donner, "Construction of confidence limits about effect measures: a general approach", 2008) from
//! the intervals of sensitivity and specificity; Wilson's are best. The two obvious alternatives are worse. Inserting
//! the ends of both intervals at once assumes that both are at their ends together, and is wider than its level
//! requires. The bootstrap gives an interval of width 0 if no false positive was observed, as if a few dozen healthy people
//! could prove a specificity of 1.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{MetricsError, Result};
use crate::interval::Interval;

/// The predictive values at a prevalence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PredictiveValues {
    /// Share of diseased among positive results; `None` if no result is positive (sensitivity 0 and specificity 1).
    pub ppv: Option<Interval>,
    /// Share of healthy among negative results; `None` if no result is negative (sensitivity 1 and specificity 0).
    pub npv: Option<Interval>,
}

/// The predictive values in a population with this prevalence, from sensitivity and specificity with their intervals,
/// such as those of [`crate::proportion`].
///
/// The intervals assume that the estimates of sensitivity and specificity are independent, as they are if no patient has
/// both diseased and healthy examples, and that the prevalence is known. Their `n` is that of both together.
///
/// # Errors
/// A prevalence outside 0 < π < 1, intervals of different levels, or bounds that are not in order within 0..=1.
pub fn predictive_values(
    sensitivity: &Interval,
    specificity: &Interval,
    prevalence: f64,
) -> Result<PredictiveValues> {
    check::prevalence(prevalence)?;
    check_proportion("sensitivity", sensitivity)?;
    check_proportion("specificity", specificity)?;
    if sensitivity.level != specificity.level {
        return Err(check::setting(
            "level of the specificity",
            specificity.level,
            "that of the sensitivity",
        ));
    }
    let odds = prevalence / (1.0 - prevalence);
    Ok(PredictiveValues {
        ppv: predictive_value(sensitivity, &complement(specificity), odds),
        npv: predictive_value(specificity, &complement(sensitivity), 1.0 / odds),
    })
}

fn check_proportion(what: &'static str, interval: &Interval) -> Result<()> {
    let Interval {
        low,
        estimate,
        high,
        ..
    } = *interval;
    check::probabilities(what, &[low, estimate, high])?;
    if low <= estimate && estimate <= high {
        return Ok(());
    }
    Err(MetricsError::InvalidSetting {
        name: what,
        value: interval.to_string(),
        expected: "an interval that contains its estimate",
    })
}

/// The interval of 1 − x.
fn complement(interval: &Interval) -> Interval {
    Interval {
        estimate: 1.0 - interval.estimate,
        low: 1.0 - interval.high,
        high: 1.0 - interval.low,
        ..*interval
    }
}

/// `odds · a / b` as a probability, for `a` and `b` the shares of right and wrong positive (or negative) results.
/// `None` if both are 0.
fn predictive_value(a: &Interval, b: &Interval, odds: f64) -> Option<Interval> {
    if a.estimate == 0.0 && b.estimate == 0.0 {
        return None;
    }
    let at = |log_ratio: f64| probability(odds.ln() + log_ratio);
    let [a_low, a_at, a_high] = logarithms(a);
    let [b_low, b_at, b_high] = logarithms(b);
    Some(Interval {
        estimate: at(a_at - b_at),
        low: at(lower_difference([a_low, a_at], [b_at, b_high])),
        high: at(-lower_difference([b_low, b_at], [a_at, a_high])),
        level: a.level,
        n: a.n + b.n,
    })
}

fn logarithms(interval: &Interval) -> [f64; 3] {
    [interval.low, interval.estimate, interval.high].map(f64::ln)
}

/// The lower limit of x − y: `x − y − √((x − x_low)² + (y_high − y)²)`. If y is the logarithm of 0, this is ∞ − ∞, and
/// its limit for y → −∞ is `x − y_high`.
fn lower_difference([x_low, x]: [f64; 2], [y, y_high]: [f64; 2]) -> f64 {
    if y == f64::NEG_INFINITY {
        return x - y_high;
    }
    if x_low == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    x - y - (x - x_low).hypot(y_high - y)
}

/// The probability with these log-odds, which may be infinite.
fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}
