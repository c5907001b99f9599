//! Sets of classes that contain the true one with a promised probability, and predictions that are left to a person: both
//! calibrated on validation, and measured on test.

use anyhow::Result;
use formats::checkpoint::{AbstentionRule, SetRule};
use metrics::{
    Abstention, ConformalSets, DecisionRule, Interval, RiskCoverage, Scaling, SetEvaluation,
    proportion, risk_coverage,
};
use report::text::escape;
use report::{Align, Document, MarkedPoint, RiskCoverageCurve, Table, format};
use serde::{Deserialize, Serialize};
use settings::EvaluateSettings;

use crate::run_dir::RunDir;
use crate::scored::Scored;
use crate::words::{or_dash, percent};

/// Certainty of the limit on errors, over the patients of the validation split.
const CERTAINTY: f64 = 0.9;

/// Most points of a curve in `metrics.json`.
const POINTS: usize = 200;

/// Sets of classes and abstention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sets {
    /// What each class needs to be in a set.
    pub calibrated: ConformalSets,
    /// How the sets do on test.
    pub test: SetEvaluation,
    /// From which confidence predictions are accepted; `None` if no confidence is known to keep errors rare enough.
    pub abstention: Option<Abstention>,
    /// The accepted predictions on test.
    pub accepted: Option<Accepted>,
    /// The errors that remain on test if the least confident predictions are left to a person.
    pub risk_coverage: RiskCoverage,
}

/// Accepted predictions on test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Their share.
    pub share: Interval,
    /// The share of errors among them; `None` if there are none.
    pub errors: Option<Interval>,
}

impl Sets {
    /// Of validation and test, with their calibrated probabilities.
    pub(super) fn of(
        [(val, on_val), (test, on_test)]: [(&Scored, &Vec<f64>); 2],
        decision: (DecisionRule, &Scaling),
        settings: &EvaluateSettings,
    ) -> Result<Self> {
        let level = settings.confidence;
        let calibrated = ConformalSets::calibrate(
            &val.labels,
            on_val,
            Some(&val.patients),
            settings.set_coverage,
        )?;
        let [seen, new] =
            [(val, on_val), (test, on_test)].map(|(scored, p)| decided(scored, p, decision));
        let limits = (settings.allowed_error, CERTAINTY);
        let abstention = Abstention::choose(&seen.0, &seen.1, Some(&val.patients), limits)?;
        let mut risk_coverage = risk_coverage(&new.0, &new.1)?;
        risk_coverage.points = thinned(&risk_coverage.points);
        Ok(Sets {
            test: calibrated.evaluate(&test.labels, on_test, Some(&test.patients), level)?,
            calibrated,
            accepted: abstention
                .map(|rule| Accepted::of(&rule, &new, test, level))
                .transpose()?,
            abstention,
            risk_coverage,
        })
    }

    /// What a checkpoint stores of the sets.
    pub(super) fn rule(&self) -> SetRule {
        SetRule {
            coverage: self.calibrated.coverage,
            least: self.calibrated.least.clone(),
        }
    }

    /// What it stores of the abstention.
    pub(super) fn abstention_rule(&self) -> Option<AbstentionRule> {
        let rule = self.abstention?;
        Some(AbstentionRule {
            least_confidence: rule.least_confidence,
            allowed: rule.allowed,
            level: rule.level,
        })
    }
}

/// Whether each prediction is right, and its confidence.
type Decided = (Vec<bool>, Vec<f64>);

fn decided(
    scored: &Scored,
    probabilities: &[f64],
    (rule, scaling): (DecisionRule, &Scaling),
) -> Decided {
    let classes = scaling.bias().len();
    let rows = scored.logits.chunks(classes);
    let each = rows.zip(probabilities.chunks(classes)).zip(&scored.labels);
    each.map(|((logits, probabilities), label)| {
        (
            rule.decide(logits, probabilities) == *label,
            rule.confidence(logits, scaling),
        )
    })
    .unzip()
}

impl Accepted {
    fn of(
        rule: &Abstention,
        (correct, confidence): &Decided,
        scored: &Scored,
        level: f64,
    ) -> Result<Self> {
        let accepted: Vec<bool> = confidence
            .iter()
            .map(|own| *own >= rule.least_confidence)
            .collect();
        let rows: Vec<usize> = (0..accepted.len()).filter(|i| accepted[*i]).collect();
        let wrong: Vec<bool> = rows.iter().map(|i| !correct[*i]).collect();
        let patients: Vec<usize> = rows.iter().map(|i| scored.patients[*i]).collect();
        let errors = (!rows.is_empty()).then(|| proportion(&wrong, Some(&patients), level));
        Ok(Accepted {
            share: proportion(&accepted, Some(&scored.patients), level)?,
            errors: errors.transpose()?,
        })
    }
}

/// Evenly spaced points, the last one among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    match points.len() {
        0..=POINTS => points.to_vec(),
        n => (1..=POINTS).map(|i| points[i * n / POINTS - 1]).collect(),
    }
}

/// Writes the part of the report.
pub(super) fn write(
    run: &RunDir,
    section: &mut Document,
    (classes, sets): (&[String], &Sets),
) -> Result<()> {
    section.heading(3, "Sets and abstention");
    section.paragraph(&promise(sets));
    section.table(&coverage(classes, sets)?);
    section.paragraph(&verdict(classes, sets));
    section.paragraph(&abstention(sets));
    let accepted = sets.accepted.and_then(|accepted| {
        Some(MarkedPoint {
            label: "accepted".into(),
            x: accepted.share.estimate,
            y: accepted.errors?.estimate,
        })
    });
    let figure = RiskCoverageCurve {
        title: "Test: errors that remain".into(),
        points: sets.risk_coverage.points.clone(),
        aurc: sets.risk_coverage.aurc,
        accepted,
    };
    let alt = "Errors against the share of accepted predictions on the test split";
    run.figure(section, "risk-coverage", &figure.draw()?, alt, "")
}

fn promise(sets: &Sets) -> String {
    format!(
        "Instead of one class a prediction can have a set of classes, which contains the true one with a probability of \
         {promised} for an image of a new patient (split conformal prediction by class, each patient with the same weight). \
         The promise is for patients like those of the validation split, on which epoch and calibration were chosen as \
         well. `predict` writes the set of each image.",
        promised = format::percent(sets.calibrated.coverage, 0),
    )
}

fn coverage(classes: &[String], sets: &Sets) -> Result<Table> {
    let mut table = Table::new([
        ("test images", Align::Left),
        ("n", Align::Right),
        ("their set contains the true class", Align::Right),
        ("a class needs", Align::Right),
        ("patients of the calibration", Align::Right),
    ]);
    let all = &sets.test.coverage;
    table.row([
        "all".into(),
        all.n.to_string(),
        percent(all),
        "–".into(),
        "–".into(),
    ])?;
    for (i, class) in classes.iter().enumerate() {
        let own = sets.test.by_class.get(i).and_then(Option::as_ref);
        let least = sets.calibrated.least.get(i).copied().unwrap_or(0.0);
        let patients = sets.calibrated.patients.get(i).copied().unwrap_or(0);
        table.row([
            escape(class),
            own.map_or(0, |own| own.n).to_string(),
            or_dash(own, percent),
            format::percent(least, 1),
            patients.to_string(),
        ])?;
    }
    Ok(table)
}

/// What was kept of the promise, and how large the sets are.
fn verdict(classes: &[String], sets: &Sets) -> String {
    let promised = sets.calibrated.coverage;
    let broken: Vec<String> = classes
        .iter()
        .zip(&sets.test.by_class)
        .filter(|(_, own)| own.is_some_and(|own| own.high < promised))
        .map(|(class, _)| escape(class))
        .collect();
    let kept = match broken.as_slice() {
        [] => "The test images do not contradict the promise.".to_owned(),
        classes => format!(
            "**The promise is broken for {}**: the test images are not like the validation images, and the probabilities do \
             not hold for them.",
            classes.join(", ")
        ),
    };
    let total = sets.test.sizes.iter().sum::<usize>().max(1) as u64;
    let sizes = sets.test.sizes.iter().enumerate().filter(|(_, n)| **n > 0);
    let sizes = sizes.map(|(size, n)| {
        let words = match size {
            0 => "are empty".to_owned(),
            1 => "have one class".to_owned(),
            size => format!("have {size} classes"),
        };
        format!("{} {words}", format::share(*n as u64, total))
    });
    let right = or_dash(sets.test.singletons.as_ref(), percent);
    format!(
        "{kept} Of the sets {}; those of one class are right in {right}.",
        sizes.collect::<Vec<_>>().join(", ")
    )
}

fn abstention(sets: &Sets) -> String {
    let area = format!(
        " The area under the risk-coverage curve (AURC) is {}, {} more than if all errors had the lowest confidence.",
        format::fixed(sets.risk_coverage.aurc, 4),
        format::fixed(sets.risk_coverage.excess_aurc, 4)
    );
    let Some((rule, accepted)) = sets.abstention.zip(sets.accepted) else {
        return format!(
            "**Abstention**: on the validation images no confidence is known to keep the share of errors below the limit \
             of the settings (`evaluate.allowed_error`), so the network does not say which predictions to leave to a \
             person.{area}"
        );
    };
    format!(
        "**Abstention**: predictions of lower confidence are left to a person, so that with {} certainty at most {} of the \
         others are wrong, averaged over patients like those of the validation split. On test, {} of the images are accepted, and {} of \
         their predictions are wrong. `predict --abstain` predicts no class for the others.{area}",
        format::percent(rule.level, 0),
        format::percent(rule.allowed, 0),
        percent(&accepted.share),
        or_dash(accepted.errors.as_ref(), percent),
    )
}
