//! The interval of a proportion over grouped examples, such as images of patients.

use crate::check;
use crate::error::Result;
use crate::interval::{Interval, wilson, wilson_of};

/// The share of `true` with Wilson's interval. If `groups` gives the group of each example, the interval is computed
/// for an effective number of examples.
///
/// Images of one patient are often correct or incorrect together, and then carry less information than the same number
/// of patients would. The design effect (Kish 1965) is the variance of the share as a ratio over groups, with the
/// finite factor G / (G − 1), divided by that of independent examples; Wilson's interval is computed for `n / effect`
/// examples (Franco et al. 2019), never for more than `n`. If all examples are correct, or all incorrect, the effect
/// cannot be estimated: a group then counts as one example, as if its members always agreed (`Σ size² / Σ size`).
///
/// # Errors
/// No examples, a number of groups that is not that of the examples, or a level outside 0..1.
pub fn proportion(hits: &[bool], groups: Option<&[usize]>, level: f64) -> Result<Interval> {
    let (successes, n) = (check::count_true(hits), hits.len());
    let Some(groups) = groups else {
        return wilson(successes as u64, n as u64, level);
    };
    check::not_empty("trials", n)?;
    check::level(level)?;
    check::same_length("groups", groups.len(), "examples", n)?;
    let effective = n as f64 / design_effect(hits, groups).max(1.0);
    Ok(wilson_of(successes, n, effective, level))
}

/// The variance of the share divided by that of the same number of independent examples.
fn design_effect(hits: &[bool], groups: &[usize]) -> f64 {
    let mut sums: std::collections::BTreeMap<usize, (f64, f64)> = std::collections::BTreeMap::new();
    for (hit, group) in hits.iter().zip(groups) {
        let (right, size) = sums.entry(*group).or_default();
        *right += f64::from(u8::from(*hit));
        *size += 1.0;
    }
    let n = hits.len() as f64;
    let share = sums.values().map(|(right, _)| right).sum::<f64>() / n;
    let g = sums.len() as f64;
    if share == 0.0 || share == 1.0 || g < 2.0 {
        return sums.values().map(|(_, size)| size * size).sum::<f64>() / n;
    }
    let squares: f64 = sums
        .values()
        .map(|(right, size)| (right - share * size).powi(2))
        .sum();
    let variance = g / (g - 1.0) * squares / (n * n);
    variance / (share * (1.0 - share) / n)
}
