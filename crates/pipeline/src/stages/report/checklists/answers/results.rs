//! Answers about the evaluation.

use report::text::escape;

use super::super::super::summary;
use super::super::facts::Facts;
use super::text::{OVERLAYS, RESULTS, SEGMENTATION, join, see};
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
    let metrics = facts.metrics.as_ref().filter(|m| !m.shifts.is_empty())?;
    let names: Vec<String> = metrics.shifts.iter().map(|s| escape(&s.name)).collect();
    let text = format!(
        "Validation images under stated changes: {}.",
        names.join(", ")
    );
    join([Some(text), see(facts, [RESULTS])])
}

pub(in crate::stages::report::checklists) fn explanation(facts: &Facts) -> Option<String> {
    see(facts, [OVERLAYS]).map(|see| {
        format!("Class maps over the images, and how much of them is inside known regions. {see}")
    })
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
