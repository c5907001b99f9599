//! Selective classification: which predictions to leave to a person, and how many errors remain in the others.
//!
//! Examples are accepted by their confidence. The risk-coverage curve has the share of errors among the accepted ones
//! (El-Yaniv & Wiener 2010); the area under it (AURC; Geifman, Uziel & El-Yaniv 2019) is low if errors have the lowest
//! confidence. [`Abstention::choose`] finds the lowest confidence at which the errors of the accepted examples stay
//! below a limit, with high probability over the choice of the calibration patients (Geifman & El-Yaniv 2017;
//! Angelopoulos et al. 2021).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::risk_bound::{bentkus, binomial};

/// The errors that remain if the least confident examples are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskCoverage {
    /// `(share of the examples that is accepted, share of errors among them)`, from few to all; examples of equal
    /// confidence are accepted together.
    pub points: Vec<(f64, f64)>,
    /// Area under the curve: the mean risk over all numbers of accepted examples.
    pub aurc: f64,
    /// What of it is due to the order: the area minus the one with all errors last.
    pub excess_aurc: f64,
}

/// The confidence from which predictions are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Abstention {
    /// A prediction is accepted if its confidence is at least this.
    pub least_confidence: f64,
    /// The errors among accepted predictions that are allowed, averaged over patients.
    pub allowed: f64,
    /// The probability, over the calibration patients, that the limit holds.
    pub level: f64,
    /// Share of the calibration examples that is accepted.
    pub accepted: f64,
    /// Share of errors among them, averaged over patients.
    pub risk: f64,
    /// Patients with an accepted example.
    pub patients: usize,
}

/// Shares of the calibration examples that are tried.
const TRIED: usize = 20;

/// The risk-coverage curve of examples that were predicted correctly or not, with a confidence each. Within a tie the
/// errors are spread evenly, as they are on average over all orders.
///
/// # Errors
/// Empty input, different lengths, or a confidence that is not finite.
pub fn risk_coverage(correct: &[bool], confidence: &[f64]) -> Result<RiskCoverage> {
    check::scored(correct, confidence)?;
    let n = correct.len() as f64;
    let (mut accepted, mut errors, mut area) = (0.0, 0.0, 0.0);
    let mut points = vec![];
    for (size, wrong) in ties(correct, confidence) {
        let each = wrong / size as f64;
        for _ in 0..size {
            accepted += 1.0;
            errors += each;
            area += errors / accepted;
        }
        points.push((accepted / n, errors / accepted));
    }
    let wrong = correct.iter().filter(|right| !**right).count();
    let ideal = (0..wrong).map(|i| (i + 1) as f64 / (correct.len() - wrong + i + 1) as f64);
    let aurc = area / n;
    Ok(RiskCoverage {
        points,
        aurc,
        excess_aurc: aurc - ideal.sum::<f64>() / n,
    })
}

/// Number of examples and of errors at each confidence, highest first.
fn ties(correct: &[bool], confidence: &[f64]) -> Vec<(usize, f64)> {
    let mut sorted: Vec<(f64, bool)> = confidence
        .iter()
        .copied()
        .zip(correct.iter().copied())
        .collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let equal = sorted.chunk_by(|a, b| a.0 == b.0);
    equal
        .map(|tie| {
            (
                tie.len(),
                tie.iter().filter(|(_, right)| !right).count() as f64,
            )
        })
        .collect()
}

impl Abstention {
    /// Chooses the lowest confidence at which, with probability `level`, at most the share `allowed` of the accepted
    /// predictions is wrong for a patient to come, on average over patients (each example is its own without `groups`).
    /// `None` if no confidence is known to do so.
    ///
    /// Twenty shares of the examples are tried, and each is tested with a twentieth of `1 − level` (Bonferroni): by the
    /// binomial distribution if each patient is all right or all wrong, otherwise by Bentkus's bound for the mean of
    /// values in 0..=1 (Bates et al. 2021).
    ///
    /// # Errors
    /// As [`risk_coverage`]; a number of groups that is not that of the examples; a share or level outside 0..1.
    pub fn choose(
        correct: &[bool],
        confidence: &[f64],
        groups: Option<&[usize]>,
        (allowed, level): (f64, f64),
    ) -> Result<Option<Self>> {
        check::scored(correct, confidence)?;
        check::level(allowed)?;
        check::level(level)?;
        if let Some(groups) = groups {
            check::same_length("groups", groups.len(), "examples", correct.len())?;
        }
        let mut sorted = confidence.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let at = |step: usize| sorted[(sorted.len() * step / TRIED).max(1) - 1];
        let tried = (1..=TRIED).rev().map(at);
        let mut known = tried.filter_map(|least| {
            let losses = losses(correct, confidence, groups, least);
            let risk = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
            let p = p_value(&losses, allowed);
            let accepted = confidence.iter().filter(|c| **c >= least).count();
            (p <= (1.0 - level) / TRIED as f64).then(|| Self {
                least_confidence: least,
                allowed,
                level,
                accepted: accepted as f64 / correct.len() as f64,
                risk,
                patients: losses.len(),
            })
        });
        Ok(known.next())
    }
}

/// The share of errors of each group among its accepted examples.
fn losses(correct: &[bool], confidence: &[f64], groups: Option<&[usize]>, least: f64) -> Vec<f64> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for (i, (right, own)) in correct.iter().zip(confidence).enumerate() {
        if *own >= least {
            let (wrong, n) = sums
                .entry(groups.map_or(i, |groups| groups[i]))
                .or_default();
            *wrong += f64::from(u8::from(!right));
            *n += 1.0;
        }
    }
    sums.into_values().map(|(wrong, n)| wrong / n).collect()
}

/// Of the hypothesis that the mean of values in 0..=1 is above `mean`, which is rejected if the p-value is small.
fn p_value(values: &[f64], mean: f64) -> f64 {
    if values.is_empty() {
        return 1.0;
    }
    let sum: f64 = values.iter().sum();
    let whole = values.iter().all(|value| *value == 0.0 || *value == 1.0);
    match whole {
        true => binomial(sum, values.len(), mean),
        false => bentkus(sum, values.len(), mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_least_if_errors_have_the_lowest_confidence() {
        let correct = [true, true, false, true];
        let best = risk_coverage(&correct, &[0.9, 0.8, 0.1, 0.7]).unwrap();
        assert_eq!(
            best.points,
            [(0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (1.0, 0.25)]
        );
        assert!(best.excess_aurc.abs() < 1e-15 && (best.aurc - 0.0625).abs() < 1e-15);
        // Without any order the risk is the same everywhere.
        let none = risk_coverage(&correct, &[0.5; 4]).unwrap();
        assert_eq!(none.points, [(1.0, 0.25)]);
        assert!((none.aurc - 0.25).abs() < 1e-15);
    }

    #[test]
    fn a_rate_is_rejected_from_59_cases_without_an_error_on() {
        // Without an error in 59 cases a rate above 5 % is rejected at 5 %; 58 are too few.
        assert!(p_value(&[0.0; 59], 0.05) < 0.05 && p_value(&[0.0; 58], 0.05) > 0.05);
    }

    #[test]
    fn a_limit_that_cannot_be_known_is_none() {
        let few = Abstention::choose(&[true; 10], &[0.9; 10], None, (0.05, 0.9)).unwrap();
        assert_eq!(few, None);
        let many = Abstention::choose(&[true; 200], &[0.9; 200], None, (0.05, 0.9)).unwrap();
        assert_eq!(many.unwrap().accepted, 1.0);
        // As many images of few patients say no more than these.
        let patients: Vec<usize> = (0..200).map(|i| i / 20).collect();
        let grouped = Abstention::choose(&[true; 200], &[0.9; 200], Some(&patients), (0.05, 0.9));
        assert_eq!(grouped.unwrap(), None);
    }
}
