//! Thresholds chosen on validation by several rules, and their test results.

use anyhow::Result;
use metrics::{Interval, ThresholdRule, log_odds, proportion};
use report::{Align, Document, Table, format};
use serde::{Deserialize, Serialize};

use super::judge::{Chosen, Metrics, Rule};
use crate::scored::Scored;
use crate::words::{or_dash, percent};

/// The rules that every report lists, in addition to the one in use.
pub(super) const RULES: [ThresholdRule; 5] = [
    ThresholdRule::Youden,
    ThresholdRule::Sensitivity(0.9),
    ThresholdRule::Sensitivity(0.95),
    ThresholdRule::Sensitivity(0.975),
    ThresholdRule::Sensitivity(0.99),
];

/// A threshold chosen on validation, and its test results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operating {
    /// The threshold.
    pub chosen: Chosen,
    /// Share of the test images classified correctly.
    pub accuracy: Interval,
    /// Share of the positive images classified correctly.
    pub sensitivity: Option<Interval>,
    /// Share of the negative images classified correctly.
    pub specificity: Option<Interval>,
}

impl Operating {
    pub(super) fn new(chosen: Chosen, test: &Scored, positive: usize, level: f64) -> Result<Self> {
        let correct: Vec<bool> = test
            .logits
            .chunks(2)
            .zip(&test.labels)
            .map(|(logits, label)| {
                let called = log_odds(logits, positive) >= chosen.log_odds;
                called == (*label == positive)
            })
            .collect();
        let share = |among: &dyn Fn(usize) -> bool| {
            let counted = (0..correct.len()).filter(|i| among(test.labels[*i]));
            let (hits, patients): (Vec<bool>, Vec<usize>) =
                counted.map(|i| (correct[i], test.patients[i])).unzip();
            proportion(&hits, Some(&patients), level)
        };
        Ok(Self {
            chosen,
            accuracy: share(&|_| true)?,
            // A class without an example has no rate.
            sensitivity: share(&|label| label == positive).ok(),
            specificity: share(&|label| label != positive).ok(),
        })
    }
}

/// Writes the table of the report, if there is a threshold.
pub(super) fn write(section: &mut Document, metrics: &Metrics) -> Result<()> {
    if metrics.operating_points.is_empty() {
        return Ok(());
    }
    section.heading(3, "At other thresholds");
    section.paragraph(
        "Each row is a threshold chosen on the validation images by a different rule, with its results on the test images. \
         The interval of a threshold is over resamples of the validation patients: if it is wide, other patients would \
         have led to another threshold. Selecting a row by its test results would make them optimistic.",
    );
    let mut table = Table::new([
        ("chosen on validation for", Align::Left),
        ("threshold", Align::Right),
        ("sensitivity", Align::Right),
        ("specificity", Align::Right),
        ("accuracy", Align::Right),
    ]);
    for point in &metrics.operating_points {
        let Chosen {
            rule,
            probability,
            interval,
            ..
        } = point.chosen;
        let name = match rule {
            Rule::Youden => "Youden's index".to_owned(),
            Rule::Sensitivity(s) => format!("sensitivity {}", format::percent(s, 1)),
            Rule::Fixed => "fixed beforehand".to_owned(),
        };
        let in_use = metrics.threshold.is_some_and(|used| used.rule == rule);
        let threshold = match interval {
            Some([low, high]) => format::interval(probability, (low, high), 3),
            None => format::fixed(probability, 3),
        };
        table.row([
            if in_use {
                format!("{name} (in use)")
            } else {
                name
            },
            threshold,
            or_dash(point.sensitivity.as_ref(), percent),
            or_dash(point.specificity.as_ref(), percent),
            percent(&point.accuracy),
        ])?;
    }
    section.table(&table);
    Ok(())
}
