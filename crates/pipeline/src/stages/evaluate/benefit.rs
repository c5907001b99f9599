//! What the predictions are worth where the classes have other shares, and where errors have other costs: predictive values
//! at stated prevalences, and the decision curve. Two classes only.

use anyhow::Result;
use metrics::{
    BinaryEvaluation, Bootstrap, DecisionPoint, PredictiveValues, decision_curve, predictive_values,
};
use report::text::escape;
use report::{Align, DecisionCurve, Document, Table, format};
use serde::{Deserialize, Serialize};

use crate::run_dir::RunDir;
use crate::scored::Scored;
use crate::words::{or_dash, percent};

/// Probabilities from which to act, in twentieths.
const STEPS: usize = 20;

/// Predictive values and net benefit on test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Benefit {
    /// The predictive values at each prevalence of the settings.
    pub at_prevalence: Vec<AtPrevalence>,
    /// The net benefit at each threshold probability.
    pub decision_curve: Vec<DecisionPoint>,
}

/// Predictive values at a prevalence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtPrevalence {
    /// Share of the positive class.
    pub prevalence: f64,
    /// What a prediction is worth there.
    #[serde(flatten)]
    pub values: PredictiveValues,
}

impl Benefit {
    /// `positive` has the calibrated probability of the positive class of each test image; `None` where a class has no
    /// test image.
    pub(super) fn of(
        binary: &BinaryEvaluation,
        (test, positive): (&Scored, &[f64]),
        label: usize,
        (prevalences, bootstrap): (&[f64], &Bootstrap),
    ) -> Result<Option<Self>> {
        let (Some(sensitivity), Some(specificity)) = (binary.sensitivity, binary.specificity)
        else {
            return Ok(None);
        };
        let at = |prevalence: &f64| -> Result<AtPrevalence> {
            Ok(AtPrevalence {
                prevalence: *prevalence,
                values: predictive_values(&sensitivity, &specificity, *prevalence)?,
            })
        };
        let truth: Vec<bool> = test.labels.iter().map(|own| *own == label).collect();
        let thresholds: Vec<f64> = (1..STEPS).map(|i| i as f64 / STEPS as f64).collect();
        let patients = Some(test.patients.as_slice());
        Ok(Some(Benefit {
            at_prevalence: prevalences.iter().map(at).collect::<Result<_>>()?,
            decision_curve: decision_curve(
                &truth,
                positive,
                &thresholds,
                None,
                patients,
                bootstrap,
            )?,
        }))
    }
}

/// Writes the part of the report.
pub(super) fn write(
    run: &RunDir,
    section: &mut Document,
    (class, benefit): (&str, &Benefit),
) -> Result<()> {
    let positive = escape(class);
    section.heading(3, "What a prediction is worth");
    section.paragraph(&format!(
        "How many positive predictions are right depends on how common {positive} is. At the threshold of this run, from its \
         sensitivity and specificity on test (`evaluate.prevalences` names other prevalences):"
    ));
    let mut table = Table::new([
        ("prevalence", Align::Right),
        ("of the positive predictions are right (PPV)", Align::Right),
        ("of the negative predictions are right (NPV)", Align::Right),
    ]);
    for at in &benefit.at_prevalence {
        table.row([
            format::percent(at.prevalence, 1),
            or_dash(at.values.ppv.as_ref(), percent),
            or_dash(at.values.npv.as_ref(), percent),
        ])?;
    }
    section.table(&table);
    section.paragraph(&worth(benefit, &positive));
    let points = |of: fn(&DecisionPoint) -> f64| {
        let points = benefit.decision_curve.iter();
        points.map(|point| (point.threshold, of(point))).collect()
    };
    let figure = DecisionCurve {
        title: "Test: decision curve".into(),
        positive: class.to_owned(),
        network: points(|point| point.model),
        all: points(|point| point.all),
    };
    let alt = "Net benefit against the probability from which to act, on the test split";
    run.figure(section, "decision-curve", &figure.draw()?, alt, "")
}

/// Where acting by the network is shown to be better than acting on all or on none.
fn worth(benefit: &Benefit, positive: &str) -> String {
    let curve = &benefit.decision_curve;
    let better: Vec<f64> = curve
        .iter()
        .filter(|point| point.advantage.low > 0.0)
        .map(|point| point.threshold)
        .collect();
    let meaning = format!(
        "**Net benefit** (Vickers & Elkin 2006): whoever acts on an image from a probability p of {positive} holds a missed \
         case to be (1 − p)/p times as bad as a false alarm. The net benefit is the share of images acted on rightly, minus \
         the share acted on wrongly times p/(1 − p), at the shares of the test split."
    );
    match (better.first(), better.last()) {
        (Some(first), Some(last)) => {
            let steps = format::percent(1.0 / STEPS as f64, 0);
            let whole = better.len()
                == curve
                    .iter()
                    .filter(|p| (*first..=*last).contains(&p.threshold))
                    .count();
            format!(
                "{meaning} Acting by the network is shown to be better than acting on all images and than acting on none for p \
                 from {} to {}{} (in steps of {steps}).",
                format::percent(*first, 0),
                format::percent(*last, 0),
                if whole { "" } else { ", with gaps" }
            )
        }
        _ => format!(
            "{meaning} At no p is acting by the network shown to be better than both acting on all images and acting on none."
        ),
    }
}
