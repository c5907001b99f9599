//! Tables and sentences about a classifier's results.

use anyhow::Result;
use metrics::{BinaryEvaluation, Evaluation, Interval, ScoreIntervals};
use report::text::escape;
use report::{Align, Document, Table, format};

use crate::words::{count, number, or_dash, percent};

/// Accuracy, AUC and number of images in one line, for the terminal.
pub fn headline(evaluation: &Evaluation) -> String {
    let auc = or_dash(evaluation.auc.as_ref(), number);
    format!(
        "accuracy {}, AUC {auc} ({})",
        percent(&evaluation.accuracy),
        count(evaluation.n, "image")
    )
}

/// The results in two sentences; `images` is what an image is called, such as "test image".
pub fn summary(evaluation: &Evaluation, images: &str) -> String {
    let mut text = format!(
        "Of {}, {} were classified correctly",
        count(evaluation.n, images),
        percent(&evaluation.accuracy)
    );
    if let Some(binary) = &evaluation.binary {
        text += &format!(
            ": sensitivity {} for {}, specificity {}",
            or_dash(binary.sensitivity.as_ref(), percent),
            escape(&binary.positive),
            or_dash(binary.specificity.as_ref(), percent)
        );
    }
    text + &format!(
        ". The area under the ROC curve (AUC) is {}.",
        or_dash(evaluation.auc.as_ref(), number)
    )
}

/// Number of patients, if several images are of one patient. Where patients are unknown each image is a group of its
/// own; calling these groups patients would be misleading.
fn patients(evaluation: &Evaluation) -> Option<usize> {
    evaluation.groups.filter(|g| *g < evaluation.n)
}

/// " of 120 patients", or nothing where patients are unknown.
pub fn of_patients(evaluation: &Evaluation) -> String {
    patients(evaluation).map_or_else(String::new, |g| format!(" of {}", count(g, "patient")))
}

/// What the intervals in brackets are.
pub fn brackets(evaluation: &Evaluation) -> String {
    let (drawn, design) = match patients(evaluation) {
        Some(_) => (
            "whole patients",
            " Wilson intervals are widened by the design effect, because errors on images of the same patient are \
             correlated.",
        ),
        None => ("images", ""),
    };
    format!(
        "Brackets give {} intervals: Wilson's for proportions, Newcombe's for an AUC of 1, and otherwise a bootstrap that \
         resamples {drawn}.{design}",
        format::percent(evaluation.settings.level, 0),
    )
}

/// The metrics of several classifiers or sets of images, one column each; `corner` is the header of the metrics' names.
///
/// # Errors
/// As [`Table::row`], as for all tables.
pub fn evaluations(corner: &str, columns: &[(&str, &Evaluation)]) -> Result<Table> {
    let names = columns.iter().map(|(name, _)| (*name, Align::Right));
    let mut table = Table::new([(corner, Align::Left)].into_iter().chain(names));
    let mut row = |name: &str, cell: &dyn Fn(&Evaluation) -> String| -> Result<()> {
        let cells = columns.iter().map(|(_, evaluation)| cell(evaluation));
        table.row([name.to_owned()].into_iter().chain(cells))?;
        Ok(())
    };
    row("n", &|e| e.n.to_string())?;
    row("accuracy", &|e| percent(&e.accuracy))?;
    row("balanced accuracy", &|e| percent(&e.balanced_accuracy))?;
    row("AUC", &|e| or_dash(e.auc.as_ref(), number))?;
    if columns.iter().any(|(_, e)| e.binary.is_some()) {
        let rate = |e: &Evaluation, of: fn(&BinaryEvaluation) -> Option<Interval>| {
            or_dash(e.binary.as_ref().and_then(of).as_ref(), percent)
        };
        row("sensitivity", &|e| rate(e, |b| b.sensitivity))?;
        row("specificity", &|e| rate(e, |b| b.specificity))?;
    }
    row("average precision", &|e| {
        or_dash(e.average_precision.as_ref(), number)
    })?;
    row("macro F1", &|e| {
        or_dash(e.macro_average.f1.as_ref(), number)
    })?;
    row("MCC", &|e| number(&e.mcc))?;
    row("Cohen's kappa", &|e| {
        or_dash(e.cohen_kappa.as_ref(), number)
    })?;
    row("log loss (nats)", &|e| number(&e.log_loss))?;
    row("Brier score", &|e| number(&e.brier))?;
    row("calibration error (ECE)", &|e| {
        number(&e.expected_calibration_error)
    })?;
    Ok(table)
}

/// A caution if a bootstrap interval has no width because there was no error to resample.
pub fn without_width(section: &mut Document, evaluation: &Evaluation) {
    let resampled = [
        Some(evaluation.balanced_accuracy),
        Some(evaluation.mcc),
        evaluation.average_precision,
        evaluation.macro_average.f1,
    ];
    if resampled.iter().flatten().any(|i| i.low >= i.high) {
        section.paragraph(
            "**Intervals whose ends equal the estimate are uninformative**: the network made no error of that kind on these \
             images, so resampling them cannot produce any. Use the intervals of accuracy and AUC, which do not rely \
             on resampling in this case.",
        );
    }
}

/// Sensitivity, specificity and predictive values as answers to questions; `images` is the header of the values.
///
/// # Errors
/// As [`evaluations`].
pub fn questions(binary: &BinaryEvaluation, images: &str) -> Result<Table> {
    let positive = escape(&binary.positive);
    let mut table = Table::new([
        ("question", Align::Left),
        ("name", Align::Left),
        (images, Align::Right),
        ("n", Align::Right),
    ]);
    let rows = [
        (
            format!("Of the images with {positive}, how many are classified as such?"),
            "sensitivity",
            binary.sensitivity,
        ),
        (
            "Of those without it, how many are classified as negative?".to_owned(),
            "specificity",
            binary.specificity,
        ),
        (
            format!("Of those classified as {positive}, how many have it?"),
            "positive predictive value",
            binary.ppv,
        ),
        (
            "Of those classified as negative, how many are free of it?".to_owned(),
            "negative predictive value",
            binary.npv,
        ),
    ];
    for (question, name, value) in rows {
        let (text, n) = (
            or_dash(value.as_ref(), percent),
            or_dash(value.as_ref(), |v| v.n.to_string()),
        );
        table.row([question.as_str(), name, &text, &n])?;
    }
    Ok(table)
}

/// Precision, recall and F1 of each class, and their averages.
///
/// # Errors
/// As [`evaluations`].
pub fn classification_report(evaluation: &Evaluation) -> Result<Table> {
    let columns = ["precision", "recall", "F1", "support"].map(|name| (name, Align::Right));
    let mut table = Table::new([("class", Align::Left)].into_iter().chain(columns));
    let averages = [&evaluation.macro_average, &evaluation.weighted_average];
    for scores in evaluation.scores.iter().chain(averages) {
        let ScoreIntervals {
            name,
            precision,
            recall,
            f1,
            support,
        } = scores;
        let [precision, recall, f1] = [precision, recall, f1].map(|s| or_dash(s.as_ref(), number));
        table.row([escape(name), precision, recall, f1, support.to_string()])?;
    }
    Ok(table)
}

/// An empty table with the columns "as trained" and "calibrated".
pub fn calibration_table() -> Table {
    Table::new([
        ("", Align::Left),
        ("as trained", Align::Right),
        ("calibrated", Align::Right),
    ])
}

/// Adds log loss, Brier score and calibration error, each as trained and calibrated; `images` comes before the names.
///
/// # Errors
/// As [`evaluations`].
pub fn add_calibration(
    table: &mut Table,
    images: &str,
    [log_loss, brier, error]: [&[Interval; 2]; 3],
) -> Result<()> {
    let rows = [
        ("log loss (nats)", log_loss),
        ("Brier score", brier),
        ("calibration error (ECE)", error),
    ];
    for (name, [before, after]) in rows {
        table.row([format!("{images}{name}"), number(before), number(after)])?;
    }
    Ok(())
}

/// "a temperature of 1.300 (the network was overconfident), biases of +0.100 (A), -0.100 (B)".
pub fn fitted(classes: &[String], temperature: f64, bias: &[f64]) -> String {
    let confidence = match format::fixed(temperature, 3).as_str() {
        "1.000" => "the network's confidence needed no correction",
        _ if temperature > 1.0 => "the network was overconfident",
        _ => "the network was underconfident",
    };
    let biases = classes.iter().zip(bias);
    let biases: Vec<String> = biases
        .map(|(class, bias)| format!("{bias:+.3} ({})", escape(class)))
        .collect();
    format!(
        "a temperature of {} ({confidence}), biases of {}",
        format::fixed(temperature, 3),
        biases.join(", ")
    )
}
