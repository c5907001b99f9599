//! Net benefit and decision curves: is it better to act by the model than to treat everybody, or nobody?
//!
//! Vickers & Elkin ("Decision curve analysis", 2006): whoever treats from a probability t on considers t / (1 − t)
//! unnecessary treatments acceptable for one necessary treatment. The net benefit is the number of true positives less
//! the false positives at this rate of exchange, per example. Discrimination alone cannot answer the question: a model
//! with a high AUC can be worse than treating everybody if its probabilities are badly calibrated.
//!
//! At a prevalence other than the sample's, as in a case-control study, the net benefit follows from sensitivity and
//! specificity: `sensitivity · π − (1 − specificity) · (1 − π) · t / (1 − t)`. The decision is still `probability ≥ t`
//! with the probabilities given, which are therefore to be those for that prevalence ([`crate::reweighted`]).

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Resampling};
use crate::check;
use crate::error::Result;
use crate::interval::Interval;
use crate::threshold::BinaryCounts;

/// The net benefits at one threshold. That of treating nobody is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DecisionPoint {
    /// Treatment is given if `probability ≥ threshold`.
    pub threshold: f64,
    /// Net benefit of treating by the model, in true positives per example.
    pub model: f64,
    /// Net benefit of treating everybody.
    pub all: f64,
    /// Net benefit of the model less the larger one of treating everybody and treating nobody.
    pub advantage: Interval,
}

/// The net benefit of treating if `probability ≥ threshold`: true positives less weighted false positives, per example.
///
/// At most the prevalence; 0 is the net benefit of treating nobody. With `prevalence`, that of a population with this
/// share of positives; otherwise with the sample's.
///
/// # Errors
/// Empty input, different lengths, a value that is not a probability, a threshold outside 0 ≤ t < 1, a prevalence
/// outside 0 < π < 1, or, with a prevalence, only one class.
pub fn net_benefit(
    labels: &[bool],
    probabilities: &[f64],
    threshold: f64,
    prevalence: Option<f64>,
) -> Result<f64> {
    check_inputs(labels, probabilities, &[threshold], prevalence)?;
    let counts = BinaryCounts::at_threshold(labels, probabilities, threshold)?;
    let rates = Rates::new(&counts, prevalence).ok_or(UNDEFINED)?;
    Ok(rates.net_benefit(threshold))
}

/// The net benefit of treating everybody, `π − (1 − π) · t / (1 − t)`, which depends on no model.
///
/// # Errors
/// A threshold outside 0 ≤ t < 1, or a prevalence outside 0..=1.
pub fn net_benefit_of_all(prevalence: f64, threshold: f64) -> Result<f64> {
    check::probabilities("prevalence", &[prevalence])?;
    check_thresholds(&[threshold])?;
    Ok(of_all(prevalence, threshold))
}

/// The decision curve: net benefits at each threshold, by increasing threshold, with the bootstrap interval of the
/// model's advantage over the better of treating everybody and treating nobody.
///
/// The better of the two is determined anew in each resample. If `groups` gives the group of each example, such as its
/// patient, whole groups are resampled. The intervals hold for each threshold on its own, not for all together.
///
/// # Errors
/// No thresholds; otherwise as [`net_benefit`] and [`Bootstrap::interval`].
pub fn decision_curve(
    labels: &[bool],
    probabilities: &[f64],
    thresholds: &[f64],
    prevalence: Option<f64>,
    groups: Option<&[usize]>,
    bootstrap: &Bootstrap,
) -> Result<Vec<DecisionPoint>> {
    check::not_empty("thresholds", thresholds.len())?;
    check_inputs(labels, probabilities, thresholds, prevalence)?;
    let curve = Curve::new(labels, probabilities, thresholds, prevalence);
    let all_examples: Vec<usize> = (0..labels.len()).collect();
    let rates = curve.rates(&all_examples).ok_or(UNDEFINED)?;
    let resampling = groups.map_or(Resampling::Simple, Resampling::Grouped);
    let advantages = bootstrap.intervals(labels.len(), resampling, |sample| {
        let rates = curve.rates(sample)?;
        let points = rates.iter().zip(&curve.thresholds);
        Some(points.map(|(rates, t)| rates.advantage(*t)).collect())
    })?;
    let points = curve.thresholds.iter().zip(rates).zip(advantages);
    Ok(points
        .map(|((threshold, rates), advantage)| DecisionPoint {
            threshold: *threshold,
            model: rates.net_benefit(*threshold),
            all: of_all(rates.prevalence, *threshold),
            advantage,
        })
        .collect())
}

const UNDEFINED: crate::MetricsError = crate::MetricsError::StatisticUndefined {
    place: "on the data",
};

fn check_inputs(
    labels: &[bool],
    probabilities: &[f64],
    thresholds: &[f64],
    prevalence: Option<f64>,
) -> Result<()> {
    check::scored(labels, probabilities)?;
    check::probabilities("probabilities", probabilities)?;
    check_thresholds(thresholds)?;
    if let Some(prevalence) = prevalence {
        check::prevalence(prevalence)?;
        check::both_classes("net benefit at another prevalence", labels)?;
    }
    Ok(())
}

fn check_thresholds(thresholds: &[f64]) -> Result<()> {
    match thresholds.iter().find(|t| !(0.0..1.0).contains(*t)) {
        Some(threshold) => {
            let expected = "a probability of at least 0 and below 1";
            Err(check::setting("threshold", threshold, expected))
        }
        None => Ok(()),
    }
}

/// Acceptable false positives per true positive.
fn odds(threshold: f64) -> f64 {
    threshold / (1.0 - threshold)
}

fn of_all(prevalence: f64, threshold: f64) -> f64 {
    prevalence - (1.0 - prevalence) * odds(threshold)
}

/// Shares of a population.
struct Rates {
    true_positives: f64,
    false_positives: f64,
    prevalence: f64,
}

impl Rates {
    /// `None` without examples, or with a prevalence but only one class.
    fn new(counts: &BinaryCounts, prevalence: Option<f64>) -> Option<Self> {
        match prevalence {
            Some(prevalence) => Some(Self {
                true_positives: counts.sensitivity()? * prevalence,
                false_positives: (1.0 - counts.specificity()?) * (1.0 - prevalence),
                prevalence,
            }),
            None => {
                let n = counts.positives() + counts.negatives();
                let share = |count: u64| (n > 0).then(|| count as f64 / n as f64);
                Some(Self {
                    true_positives: share(counts.true_positives)?,
                    false_positives: share(counts.false_positives)?,
                    prevalence: share(counts.positives())?,
                })
            }
        }
    }

    fn net_benefit(&self, threshold: f64) -> f64 {
        self.true_positives - self.false_positives * odds(threshold)
    }

    fn advantage(&self, threshold: f64) -> f64 {
        self.net_benefit(threshold) - of_all(self.prevalence, threshold).max(0.0)
    }
}

/// The examples as a function of the threshold.
struct Curve<'a> {
    labels: &'a [bool],
    /// In increasing order.
    thresholds: Vec<f64>,
    /// At how many thresholds, the lowest ones, each example is treated.
    treated: Vec<usize>,
    prevalence: Option<f64>,
}

impl<'a> Curve<'a> {
    fn new(
        labels: &'a [bool],
        probabilities: &[f64],
        thresholds: &[f64],
        prevalence: Option<f64>,
    ) -> Self {
        let mut thresholds = thresholds.to_vec();
        thresholds.sort_by(f64::total_cmp);
        let treated = probabilities.iter();
        let treated = treated
            .map(|p| thresholds.partition_point(|t| t <= p))
            .collect();
        Self {
            labels,
            thresholds,
            treated,
            prevalence,
        }
    }

    /// The rates of the examples with these indices at each threshold, in one pass over the examples.
    fn rates(&self, sample: &[usize]) -> Option<Vec<Rates>> {
        // [negatives, positives] by the number of thresholds at which they are treated.
        let mut ends = vec![[0_u64; 2]; self.thresholds.len() + 1];
        for i in sample {
            ends[self.treated[*i]][usize::from(self.labels[*i])] += 1;
        }
        let sum = |class: usize| ends.iter().map(|end| end[class]).sum();
        let mut treated: [u64; 2] = [sum(0), sum(1)];
        let [negatives, positives] = treated;
        let at = |end: &[u64; 2]| {
            treated = [treated[0] - end[0], treated[1] - end[1]];
            let counts = BinaryCounts {
                true_positives: treated[1],
                false_positives: treated[0],
                true_negatives: negatives - treated[0],
                false_negatives: positives - treated[1],
            };
            Rates::new(&counts, self.prevalence)
        };
        ends[..self.thresholds.len()].iter().map(at).collect()
    }
}
