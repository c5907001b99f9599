//! The results in words and tables.

use anyhow::Result;
use metrics::{ClassScores, Evaluation};
use report::{Align, Document, Table, format};

use super::figures;
use super::judge::{Chosen, Judged, Metrics, Rule};
use crate::context::{Context, Data};
use crate::words::{count, number, or_dash, percent};

pub(super) fn write(context: &Context<'_>, data: &Data, judged: &Judged) -> Result<Document> {
    let metrics = &judged.metrics;
    let mut section = Document::fragment();
    section.heading(2, "Results");
    section.paragraph(&reading(context, metrics));
    section.table(&comparison(metrics)?);
    section.paragraph(&verdict(metrics));
    if metrics.threshold.is_some() {
        operating_point(&mut section, metrics)?;
    }
    section.heading(3, "Which mistakes");
    figures::confusion(context, &mut section, metrics)?;
    section.table(&classification_report(&metrics.test)?);
    section.heading(3, "At every threshold");
    figures::roc(context, &mut section, judged)?;
    figures::pr(context, &mut section, judged)?;
    figures::histogram(context, &mut section, judged)?;
    calibration(context, &mut section, judged)?;
    validation_against_test(&mut section, metrics)?;
    limits(&mut section, context, data, metrics);
    Ok(section)
}

/// One line for the terminal and the head of the report.
pub(super) fn headline(metrics: &Metrics) -> String {
    let auc = or_dash(metrics.test.auc.as_ref(), number);
    format!(
        "accuracy {}, AUC {auc} ({})",
        percent(&metrics.test.accuracy),
        count(metrics.test.n, "image")
    )
}

fn reading(context: &Context<'_>, metrics: &Metrics) -> String {
    // Where nothing says which patient an image is of, each is its own: to call them patients would flatter.
    let patients = metrics.test.groups.filter(|g| *g < metrics.test.n);
    let (groups, drawn) = match patients {
        Some(g) => (format!(" of {}", count(g, "patient")), "whole patients"),
        None => (String::new(), "images"),
    };
    format!(
        "On the {}{groups} of the test split, which chose nothing. In brackets stand {} intervals: Wilson's for shares, \
         for the others a bootstrap that draws {drawn}. *Majority* answers the larger class always; *linear* is a \
         logistic regression on {2}×{2} grey pixels, with its threshold chosen like the network's: what a network must beat \
         to have seen more than brightness and position.",
        count(metrics.test.n, "image"),
        format::percent(context.settings.evaluate.confidence, 0),
        metrics.baselines.linear_side
    )
}

fn comparison(metrics: &Metrics) -> Result<Table> {
    let mut table = Table::new([
        ("test split", Align::Left),
        ("network", Align::Right),
        ("linear", Align::Right),
        ("majority", Align::Right),
    ]);
    let all = [
        &metrics.test,
        &metrics.baselines.linear,
        &metrics.baselines.majority,
    ];
    let mut row = |name: &str, cell: &dyn Fn(&Evaluation) -> String| -> Result<()> {
        table.row(
            [name.to_owned()]
                .into_iter()
                .chain(all.iter().map(|e| cell(e))),
        )?;
        Ok(())
    };
    row("n", &|e| e.n.to_string())?;
    row("accuracy", &|e| percent(&e.accuracy))?;
    row("balanced accuracy", &|e| percent(&e.balanced_accuracy))?;
    row("AUC", &|e| or_dash(e.auc.as_ref(), number))?;
    if metrics.threshold.is_some() {
        row("sensitivity", &|e| {
            or_dash(
                e.binary.as_ref().and_then(|b| b.sensitivity.as_ref()),
                percent,
            )
        })?;
        row("specificity", &|e| {
            or_dash(
                e.binary.as_ref().and_then(|b| b.specificity.as_ref()),
                percent,
            )
        })?;
    }
    row("average precision", &|e| {
        or_dash(e.average_precision, |v| format::fixed(v, 3))
    })?;
    row("macro F1", &|e| format::fixed(e.report.macro_average.f1, 3))?;
    row("MCC", &|e| number(&e.mcc))?;
    row("log loss (nats)", &|e| format::fixed(e.log_loss, 3))?;
    row("Brier score", &|e| format::fixed(e.brier, 3))?;
    row("calibration error (ECE)", &|e| {
        format::fixed(e.expected_calibration_error, 3)
    })?;
    Ok(table)
}

/// Whether the network's AUC lies above the linear model's by more than the intervals.
fn verdict(metrics: &Metrics) -> String {
    let (Some(network), Some(linear)) = (metrics.test.auc, metrics.baselines.linear.auc) else {
        return "A class has no example in the test split, so there is no AUC to compare.".into();
    };
    if network.low > linear.high {
        "The network ranks the images better than the linear model does: their intervals do not meet.".into()
    } else if network.high < linear.low {
        "The network ranks the images **worse** than a linear model on small pixels does. It has not learned what it should: train longer, look at the augmentation and the learning rate.".into()
    } else {
        "The intervals of the network's AUC and the linear model's overlap: on this many images it is not shown that the network sees more than a linear model on small pixels does.".into()
    }
}

fn operating_point(section: &mut Document, metrics: &Metrics) -> Result<()> {
    let (Some(chosen), Some(binary)) = (metrics.threshold, &metrics.test.binary) else {
        return Ok(());
    };
    let positive = &binary.positive;
    section.heading(3, "At the threshold");
    section.paragraph(&format!(
        "{} An image counts as {positive} from a probability of {} on.",
        rule(&chosen),
        format::fixed(chosen.threshold, 3)
    ));
    let mut table = Table::new([
        ("question", Align::Left),
        ("name", Align::Left),
        ("test", Align::Right),
        ("n", Align::Right),
    ]);
    let rows = [
        (
            format!("Of the images with {positive}, how many are found?"),
            "sensitivity",
            binary.sensitivity,
        ),
        (
            "Of those without, how many are cleared?".to_owned(),
            "specificity",
            binary.specificity,
        ),
        (
            format!("Of those called {positive}, how many have it?"),
            "positive predictive value",
            binary.ppv,
        ),
        (
            "Of those cleared, how many are free of it?".to_owned(),
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
    section.table(&table);
    section.paragraph(
        "The two predictive values hold for this test split's share of positives only; where the finding is rarer, fewer \
         of those called positive have it.",
    );
    Ok(())
}

fn rule(chosen: &Chosen) -> String {
    match chosen.rule {
        Rule::Youden => format!(
            "The threshold is the one with the largest sensitivity + specificity on the {} (Youden's index).",
            count(chosen.n, "validation image")
        ),
        Rule::Sensitivity(s) => format!(
            "The threshold is the highest with a sensitivity of at least {} on the {}.",
            format::percent(s, 1),
            count(chosen.n, "validation image")
        ),
        Rule::Fixed => "The threshold was set beforehand.".into(),
    }
}

fn classification_report(evaluation: &Evaluation) -> Result<Table> {
    let columns = ["precision", "recall", "F1", "support"].map(|name| (name, Align::Right));
    let mut table = Table::new([("class", Align::Left)].into_iter().chain(columns));
    let cells = |name: &str, s: &ClassScores| {
        [
            name.to_owned(),
            format::fixed(s.precision, 3),
            format::fixed(s.recall, 3),
            format::fixed(s.f1, 3),
            s.support.to_string(),
        ]
    };
    for class in &evaluation.report.classes {
        table.row(cells(&class.name, &class.scores))?;
    }
    table.row(cells("macro average", &evaluation.report.macro_average))?;
    table.row(cells(
        "weighted average",
        &evaluation.report.weighted_average,
    ))?;
    Ok(table)
}

fn calibration(context: &Context<'_>, section: &mut Document, judged: &Judged) -> Result<()> {
    let c = &judged.metrics.calibration;
    section.heading(3, "What a probability means");
    section.paragraph(&format!(
        "Of the images that get a probability of 80 %, 80 % should have the finding. One number, the temperature, divides \
         the scores before they become probabilities; it was fitted on validation to {} ({} than 1: the network was {}). It \
         changes no ranking.",
        format::fixed(c.temperature, 3),
        if c.temperature > 1.0 { "more" } else { "less" },
        if c.temperature > 1.0 { "too sure of itself" } else { "not sure enough" },
    ));
    let mut table = Table::new([
        ("", Align::Left),
        ("as trained", Align::Right),
        ("temperature-scaled", Align::Right),
    ]);
    let rows = [
        ("validation: log loss (nats)", c.validation_nll),
        ("test: log loss (nats)", c.test_nll),
        ("test: Brier score", c.test_brier),
        ("test: calibration error (ECE)", c.test_ece),
    ];
    for (name, [before, after]) in rows {
        table.row([
            name.to_owned(),
            format::fixed(before, 3),
            format::fixed(after, 3),
        ])?;
    }
    section.table(&table);
    figures::reliability(context, section, judged)
}

fn validation_against_test(section: &mut Document, metrics: &Metrics) -> Result<()> {
    section.heading(3, "Validation beside test");
    section.paragraph(
        "Epoch, threshold and temperature were chosen on validation, so its figures are optimistic. A test far below it \
         says that the splits differ: other children, another machine, another share of positives.",
    );
    let mut table = Table::new([
        ("", Align::Left),
        ("validation", Align::Right),
        ("test", Align::Right),
    ]);
    let both = [&metrics.validation, &metrics.test];
    let mut row = |name: &str, cell: &dyn Fn(&Evaluation) -> String| {
        table
            .row([name.to_owned(), cell(both[0]), cell(both[1])])
            .map(drop)
    };
    row("n", &|e| e.n.to_string())?;
    row("accuracy", &|e| percent(&e.accuracy))?;
    row("AUC", &|e| or_dash(e.auc.as_ref(), number))?;
    if metrics.threshold.is_some() {
        row("sensitivity", &|e| {
            or_dash(
                e.binary.as_ref().and_then(|b| b.sensitivity.as_ref()),
                percent,
            )
        })?;
        row("specificity", &|e| {
            or_dash(
                e.binary.as_ref().and_then(|b| b.specificity.as_ref()),
                percent,
            )
        })?;
    }
    section.table(&table);
    Ok(())
}

fn limits(section: &mut Document, context: &Context<'_>, data: &Data, metrics: &Metrics) {
    section.heading(3, "What these numbers show, and what they do not");
    let share = |counts: &[usize]| {
        counts.get(metrics.positive).copied().unwrap_or(0) as f64
            / counts.iter().sum::<usize>().max(1) as f64
    };
    let [train, _, test] = &metrics.counts;
    let positive = &metrics.classes[metrics.positive];
    let mut points = vec![format!(
        "The share of {positive} is {} in training and {} in the test. Thresholds, probabilities and predictive values carry \
         such a share in them and must be chosen anew where it differs.",
        format::percent(share(train), 1),
        format::percent(share(test), 1)
    )];
    if metrics.phantom {
        points.push("The images are phantoms: the figures show that the pipeline works, and nothing about any disease.".into());
    } else {
        points.push(
            "One data set stands for the patients, machines and habits of the place that it comes from. Nothing here is \
             shown for others."
                .into(),
        );
    }
    points.push(
        "Markers, tubes, borders and exposure can tell classes apart without a finding. The linear baseline and the \
         overlays are there to notice it; they do not rule it out."
            .into(),
    );
    if !data.manifest.bad_images().is_empty() {
        points.push(format!(
            "{} could not be read and count nowhere.",
            count(data.manifest.bad_images().len(), "file")
        ));
    }
    points.push("It is no medical device. No decision about a patient may rest on it.".into());
    points.extend(context.settings.notes.iter().cloned());
    section.list(points);
}
