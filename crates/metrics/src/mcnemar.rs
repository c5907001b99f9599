//! McNemar's test of two classifiers on the same examples.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;

/// The number of examples that only one of two classifiers gets right, and McNemar's p-value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Examples that only the first classifies correctly.
    pub first_only: u64,
    /// Examples that only the second classifies correctly.
    pub second_only: u64,
    /// Two-sided p-value of the hypothesis that both are equally often right: exact, from the binomial distribution.
    pub p: f64,
}

/// McNemar's exact test (1947), from whether each example is classified correctly by the first and by the second.
///
/// The test assumes independent examples. If patients have several images, use the paired bootstrap over patients
/// ([`crate::compare`]) instead.
///
/// # Errors
/// No examples, or lists of different lengths.
pub fn mcnemar(first: &[bool], second: &[bool]) -> Result<McNemar> {
    check::not_empty("first", first.len())?;
    check::same_length("second", second.len(), "first", first.len())?;
    let only = |a: bool| {
        let differ = first.iter().zip(second).filter(|(x, y)| x != y);
        differ.filter(|(x, _)| **x == a).count() as u64
    };
    let (first_only, second_only) = (only(true), only(false));
    Ok(McNemar {
        first_only,
        second_only,
        p: sign_test(first_only, second_only),
    })
}

/// Two-sided p-value of `a` heads and `b` tails of a fair coin: twice the smaller tail, at most 1.
fn sign_test(a: u64, b: u64) -> f64 {
    let (n, least) = ((a + b) as f64, a.min(b));
    let ln_choose =
        |k: f64| libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    let ln_half = -n * std::f64::consts::LN_2;
    let tail: f64 = (0..=least)
        .map(|k| (ln_choose(k as f64) + ln_half).exp())
        .sum();
    (2.0 * tail).min(1.0)
}
