//! Other shares of the classes: whether the images of the test split differ from those of the validation split only in how
//! many there are of each class, and what correcting the probabilities for that would do.

use anyhow::Result;
use metrics::{
    Bootstrap, ConfusionKind, Interval, LabelShiftTest, Probabilities, TargetSample,
    ValidationSample, bbse, label_shift_test, log_loss, prior_intervals, proportion, reweighted,
};
use report::text::escape;
use report::{Align, Document, Table, format};
use serde::{Deserialize, Serialize};

use crate::scored::Scored;
use crate::words::percent;

/// Most resamples of the test of the assumption, each of which estimates the shares again.
const RESAMPLES: usize = 200;

/// The shares of the classes on test, as they are estimated without its labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriorShiftOnTest {
    /// The shares on validation, where the probabilities are calibrated.
    pub validation: Vec<f64>,
    /// The true shares on test.
    pub test: Vec<f64>,
    /// Those estimated from the probabilities on test by expectation maximization (Saerens 2002).
    pub estimated: Vec<Interval>,
    /// Those estimated from the confusion on validation (BBSE, Lipton 2018); `None` where it cannot be inverted.
    pub bbse: Option<Vec<f64>>,
    /// Whether the images differ in the shares alone, which both estimates assume.
    pub assumption: LabelShiftTest,
    /// Share of the test images whose most probable class is the true one: as calibrated, and corrected.
    pub accuracy: [Interval; 2],
    /// Mean −ln p(true class) on test, in nats: as calibrated, and corrected.
    pub log_loss: [f64; 2],
}

impl PriorShiftOnTest {
    /// Of validation and test with their calibrated probabilities; `None` where a class has no validation image, or the
    /// shares cannot be estimated.
    pub(super) fn of(
        [(val, on_val), (test, on_test)]: [(&Scored, &Vec<f64>); 2],
        classes: usize,
        bootstrap: Bootstrap,
    ) -> Option<Self> {
        let found = estimated([(val, on_val), (test, on_test)], classes, bootstrap);
        found
            .inspect_err(|error| tracing::info!(%error, "the shares of the classes on test are not estimated"))
            .ok()
    }
}

fn estimated(
    [(val, on_val), (test, on_test)]: [(&Scored, &Vec<f64>); 2],
    classes: usize,
    bootstrap: Bootstrap,
) -> Result<PriorShiftOnTest> {
    let validation = shares(&val.labels, classes);
    let groups = Some(test.patients.as_slice());
    let estimated = prior_intervals(on_test, &validation, groups, &bootstrap)?;
    let target: Vec<f64> = estimated.iter().map(|share| share.estimate).collect();
    let corrected = reweighted(on_test, &validation, &target)?;
    let assumption = label_shift_test(
        classes,
        &ValidationSample {
            labels: &val.labels,
            probabilities: on_val,
            groups: Some(&val.patients),
        },
        &TargetSample {
            probabilities: on_test,
            groups,
        },
        &Bootstrap {
            resamples: bootstrap.resamples.min(RESAMPLES),
            ..bootstrap
        },
    )?;
    let accuracy = |p: &[f64]| {
        let right: Vec<bool> = p
            .chunks(classes)
            .zip(&test.labels)
            .map(|(p, label)| p.iter().all(|other| p[*label] >= *other))
            .collect();
        proportion(&right, groups, bootstrap.level)
    };
    let loss = |p: &[f64]| log_loss(&test.labels, &Probabilities::new(classes, p)?);
    Ok(PriorShiftOnTest {
        test: shares(&test.labels, classes),
        bbse: bbse(classes, &val.labels, on_val, on_test, ConfusionKind::Soft)?,
        accuracy: [accuracy(on_test)?, accuracy(&corrected)?],
        log_loss: [loss(on_test)?, loss(&corrected)?],
        validation,
        estimated,
        assumption,
    })
}

fn shares(labels: &[usize], classes: usize) -> Vec<f64> {
    let of = |class| labels.iter().filter(|label| **label == class).count() as f64;
    (0..classes)
        .map(|class| of(class) / labels.len().max(1) as f64)
        .collect()
}

/// Writes the part of the report.
pub(super) fn write(
    section: &mut Document,
    (classes, prior): (&[String], &PriorShiftOnTest),
) -> Result<()> {
    section.heading(3, "Shares of the classes");
    section.paragraph(
        "Calibrated probabilities hold for images among which the classes have the shares of the validation split. Where only \
         the shares differ, they can be estimated from the probabilities themselves, without labels, and the probabilities \
         corrected (Saerens 2002). The test split shows whether that would have worked.",
    );
    let mut table = Table::new([
        ("class", Align::Left),
        ("share on validation", Align::Right),
        ("on test, estimated without labels", Align::Right),
        ("by the confusion matrix (BBSE)", Align::Right),
        ("on test, true", Align::Right),
    ]);
    for (i, class) in classes.iter().enumerate() {
        let share = |all: &[f64]| format::percent(all.get(i).copied().unwrap_or(f64::NAN), 1);
        table.row([
            escape(class),
            share(&prior.validation),
            prior.estimated.get(i).map_or("–".into(), percent),
            prior.bbse.as_deref().map_or("–".into(), share),
            share(&prior.test),
        ])?;
    }
    section.table(&table);
    section.paragraph(&verdict(prior));
    Ok(())
}

fn verdict(prior: &PriorShiftOnTest) -> String {
    let test = &prior.assumption;
    let figures = format!(
        "p = {}, by {} resamples of patients, of a Kolmogorov–Smirnov distance of {}",
        format::fixed(test.p_value, 3),
        test.resamples,
        format::fixed(test.distance, 3)
    );
    let [before, after] = &prior.accuracy;
    let effect = format!(
        "correcting the probabilities changes the log loss on test from {} to {}, and the accuracy of the most probable class \
         from {} to {}",
        format::fixed(prior.log_loss[0], 3),
        format::fixed(prior.log_loss[1], 3),
        percent(before),
        percent(after)
    );
    // A difference that looks like other shares escapes the test, but not the labels.
    let missed = prior.estimated.iter().zip(&prior.test);
    let missed = missed.filter(|(found, truth)| !(found.low..=found.high).contains(*truth));
    match (test.holds, missed.count()) {
        (true, 0) => format!(
            "The test images do not contradict the assumption that only the shares differ ({figures}), and the true shares are \
             within the intervals of the estimates; {effect}."
        ),
        (true, _) => format!(
            "**The estimates are wrong**: the true shares lie outside their intervals, so the test images differ from the \
             validation images in more than the shares of the classes. Without labels this would have gone unnoticed, because \
             the difference looks like other shares ({figures}). The correction does not apply; for comparison, {effect}."
        ),
        (false, _) => format!(
            "**The test images differ from the validation images in more than the shares of the classes** ({figures}). \
             Estimates and correction do not apply, and are not to be used; for comparison, {effect}."
        ),
    }
}
