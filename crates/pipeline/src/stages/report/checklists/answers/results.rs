//! Answers about the evaluation.

use report::text::escape;

use super::super::super::summary;
use super::super::facts::Facts;
use super::text::{EXPLAIN, NOVELTY, OVERLAYS, PROBE, RESULTS, SEGMENTATION, STRESS, join, see};
use crate::words::count;

/// The results in the sentences that the report begins with.
pub(in crate::stages::report::checklists) fn results(facts: &Facts) -> Option<String> {
    let classes = facts.metrics.as_ref().map(summary::classification);
    let masks = facts.segmentation.as_ref().map(summary::segmentation);
    join([classes, masks])
}

pub(in crate::stages::report::checklists) fn measures(facts: &Facts) -> Option<String> {
    let classes = facts.metrics.is_some().then(|| {
        "Accuracy, balanced accuracy, AUC, average precision, F1, MCC, Cohen's kappa, log loss, Brier score and \
         calibration error; with two classes sensitivity, specificity and predictive values; ROC, precision-recall and \
         reliability curves. Compared with the majority class and a linear model."
            .to_owned()
    });
    let masks = facts.segmentation.is_some().then(|| {
        "Dice, IoU, precision, recall and the 95th-percentile Hausdorff distance at the images' own size, compared with \
         the mean of the training masks."
            .to_owned()
    });
    join([classes, masks])
}

pub(in crate::stages::report::checklists) fn uncertainty(facts: &Facts) -> Option<String> {
    let classes = facts.metrics.as_ref();
    let classes = classes.map(|m| crate::results::brackets(&m.test));
    let masks = facts.segmentation.as_ref().map(|_| {
        "Intervals of segmentation results are a bootstrap that resamples patients, where they are known, or images."
            .to_owned()
    });
    join([classes, masks])
}

pub(in crate::stages::report::checklists) fn robustness(facts: &Facts) -> Option<String> {
    let metrics = facts.metrics.as_ref()?;
    let names: Vec<String> = metrics.shifts.iter().map(|s| escape(&s.name)).collect();
    let shifts = (!names.is_empty()).then(|| {
        format!(
            "Validation images under stated changes: {}.",
            names.join(", ")
        )
    });
    let stress = metrics.stress.as_ref().map(|stress| {
        format!(
            "Test images under {} kinds of change at five strengths.",
            stress.changes.len()
        )
    });
    let probe = metrics.probe.as_ref().map(|_| {
        "Models that see only what should not predict the class, and the network on images from which parts are taken away."
            .to_owned()
    });
    let novelty = metrics
        .novelty
        .as_ref()
        .map(|_| "Images of other kinds, which the network should not know.".to_owned());
    let found = join([shifts, stress, probe, novelty])?;
    join([Some(found), see(facts, [RESULTS, STRESS, PROBE, NOVELTY])])
}

pub(in crate::stages::report::checklists) fn explanation(facts: &Facts) -> Option<String> {
    let maps = see(facts, [OVERLAYS]).map(|see| {
        format!("Class maps over the images, and how much of them is inside known regions. {see}")
    });
    let methods = see(facts, [EXPLAIN]).map(|see| {
        format!(
            "Grad-CAM, Grad-CAM++, integrated gradients and occlusion, each judged by deletion, insertion, masks and random \
             weights. {see}"
        )
    });
    join([maps, methods])
}

/// Results on the run's own test split, with the section that has them all.
pub(in crate::stages::report::checklists) fn performance(facts: &Facts) -> Option<String> {
    join([results(facts), detailed(facts)])
}

/// Where all results are.
pub(in crate::stages::report::checklists) fn detailed(facts: &Facts) -> Option<String> {
    see(facts, [RESULTS, SEGMENTATION])
}

pub(in crate::stages::report::checklists) fn external(_: &Facts) -> Option<String> {
    Some(format!(
        "Not by this run. `{} evaluate RUN --data DIR` evaluates the model on other data, unchanged.",
        terminal::program()
    ))
}

pub(in crate::stages::report::checklists) fn no_updating(_: &Facts) -> Option<String> {
    Some("None: nothing was changed after the test images had been evaluated.".into())
}

pub(in crate::stages::report::checklists) fn failures(facts: &Facts) -> Option<String> {
    let wrong = facts.metrics.as_ref().map(|m| {
        let errors = (m.test.n as f64 * (1.0 - m.test.accuracy.estimate)).round() as usize;
        format!(
            "Misclassified: {} of {}.",
            errors,
            count(m.test.n, "test image")
        )
    });
    join([wrong, see(facts, [OVERLAYS, SEGMENTATION])])
}

pub(in crate::stages::report::checklists) fn limits(facts: &Facts) -> Option<String> {
    let anchor = "[report, section “What these results show and do not show”](report.md#what-these-results-show-and-do-not-show)";
    let evaluated = facts.metrics.is_some() || facts.segmentation.is_some();
    evaluated.then(|| format!("See {anchor}."))
}
