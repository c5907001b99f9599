//! The results in words and tables.

use anyhow::Result;
use metrics::{Evaluation, ScoreIntervals, Unbounded};
use report::text::escape;
use report::{Align, Document, Table, format};

use super::judge::{Chosen, Judged, Metrics, Rule};
use super::{figures, operating};
use crate::context::{Context, Data};
use crate::words::{count, number, or_dash, percent, points};

pub(super) fn write(context: &Context<'_>, data: &Data, judged: &Judged) -> Result<Document> {
    let metrics = &judged.metrics;
    let mut section = Document::fragment();
    section.heading(2, "Results");
    section.paragraph(&reading(context, metrics));
    section.table(&comparison(metrics)?);
    if without_width(&metrics.test) {
        section.paragraph(
            "**Intervals whose ends equal the estimate are uninformative**: the network made no error of that kind on these \
             images, and resampling them cannot show any. Use the intervals of accuracy and AUC, which do not rest on \
             resampling there.",
        );
    }
    section.paragraph(&verdict(metrics));
    if metrics.threshold.is_some() {
        operating_point(&mut section, metrics)?;
        operating::write(&mut section, metrics)?;
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
    let (groups, drawn, design) = match patients {
        Some(g) => (
            format!(" of {}", count(g, "patient")),
            "whole patients",
            " Wilson's are widened by the design effect, for images of one patient are often right or wrong together.",
        ),
        None => (String::new(), "images", ""),
    };
    format!(
        "On the {}{groups} of the test split, which chose nothing. In brackets stand {} intervals: Wilson's for shares, \
         for the others a bootstrap that draws {drawn}, and Newcombe's for an AUC of 1.{design} *Majority* is the majority-class baseline; *linear* is a \
         logistic regression on {2}×{2} grey pixels, its penalty, threshold and calibration chosen on validation like the \
         network's: what a network must beat to have seen more than brightness and position.",
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

/// Whether a bootstrap has found nothing to resample.
fn without_width(test: &Evaluation) -> bool {
    let resampled = [
        Some(test.balanced_accuracy),
        Some(test.mcc),
        test.average_precision,
        test.macro_average.f1,
    ];
    resampled.iter().flatten().any(|i| i.low >= i.high)
}

/// Whether the network beats the linear model, by the difference on the same images.
fn verdict(metrics: &Metrics) -> String {
    let against = &metrics.against_linear;
    let Some(auc) = &against.auc else {
        return "A class has no example in the test split, so there is no AUC to compare.".into();
    };
    let figures = format!(
        "AUC by {}, accuracy by {} (differences on the same images, resampled together)",
        number(auc),
        points(&against.accuracy)
    );
    let text = if auc.low > 0.0 {
        "The network ranks the images better than the linear model does"
    } else if auc.high < 0.0 {
        "The network ranks the images **worse** than a linear model on small pixels does. It has not learned what it should: train longer, look at the augmentation and the learning rate. The differences"
    } else {
        "On this many images it is not shown that the network sees more than a linear model on small pixels does"
    };
    format!("{text}: {figures}.")
}

fn operating_point(section: &mut Document, metrics: &Metrics) -> Result<()> {
    let (Some(chosen), Some(binary)) = (metrics.threshold, &metrics.test.binary) else {
        return Ok(());
    };
    let positive = escape(&binary.positive);
    section.heading(3, "At the threshold");
    section.paragraph(&format!(
        "{} An image counts as {positive} from a probability of {} on{}.",
        rule(&chosen),
        format::fixed(chosen.probability, 3),
        steadiness(&chosen)
    ));
    let mut table = Table::new([
        ("question", Align::Left),
        ("name", Align::Left),
        ("test", Align::Right),
        ("n", Align::Right),
    ]);
    let rows = [
        (
            format!("Of the images with {positive}, how many are classified so?"),
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
    section.table(&table);
    section.paragraph(
        "The two predictive values hold for this test split's share of positives only; where the finding is rarer, fewer \
         of those classified as positive have it.",
    );
    Ok(())
}

/// How far another sample of validation images might have moved the threshold.
fn steadiness(chosen: &Chosen) -> String {
    match chosen.interval {
        Some([low, high]) => format!(
            "; other validation images of as many patients would have put that between {} and {}",
            format::fixed(low, 3),
            format::fixed(high, 3)
        ),
        None => String::new(),
    }
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

fn calibration(context: &Context<'_>, section: &mut Document, judged: &Judged) -> Result<()> {
    let metrics = &judged.metrics;
    let c = &metrics.calibration;
    section.heading(3, "What a probability means");
    section.paragraph(&format!(
        "Of the images that get a probability of 80 %, 80 % should have the finding. The scores are divided by a \
         temperature and get a bias for each class before they become probabilities, both fitted on validation: {}.{} \
         Neither changes a ranking or a decision, which go by the scores.",
        fitted(metrics),
        caution(c.unbounded)
    ));
    let mut table = Table::new([
        ("", Align::Left),
        ("as trained", Align::Right),
        ("calibrated", Align::Right),
    ]);
    let [before, after] = c.validation_nll.map(|nll| format::fixed(nll, 3));
    table.row(["validation: log loss (nats)".to_owned(), before, after])?;
    let rows = [
        ("test: log loss (nats)", &c.test_nll),
        ("test: Brier score", &c.test_brier),
        ("test: calibration error (ECE)", &c.test_ece),
    ];
    for (name, [before, after]) in rows {
        table.row([name.to_owned(), number(before), number(after)])?;
    }
    section.table(&table);
    figures::reliability(context, section, judged)
}

/// "a temperature of 1.300 (the network was too sure of itself), biases of +0.100 (A) and −0.100 (B)".
fn fitted(metrics: &Metrics) -> String {
    let c = &metrics.calibration;
    let confidence = match format::fixed(c.temperature, 3).as_str() {
        "1.000" => "the network was as sure as it should be",
        _ if c.temperature > 1.0 => "the network was too sure of itself",
        _ => "the network was not sure enough",
    };
    let biases = metrics.classes.iter().zip(&c.bias);
    let biases: Vec<String> = biases
        .map(|(class, bias)| format!("{bias:+.3} ({})", escape(class)))
        .collect();
    format!(
        "a temperature of {} ({confidence}), biases of {}",
        format::fixed(c.temperature, 3),
        biases.join(", ")
    )
}

/// Where the validation images alone would not have settled it.
fn caution(unbounded: Option<Unbounded>) -> &'static str {
    match unbounded {
        None => "",
        Some(Unbounded::Separable) => {
            " **Validation tells the classes apart without a mistake, so it cannot say how sure the network may be**: a weak \
             prior, which holds the temperature near 1 and the biases near 0, has decided."
        }
        Some(Unbounded::Uninformative) => {
            " **On validation the scores say nothing of the classes**: a weak prior has kept the temperature finite."
        }
        Some(Unbounded::AbsentClass) => {
            " **Validation lacks a class**: a weak prior has kept its bias finite."
        }
    }
}

fn validation_against_test(section: &mut Document, metrics: &Metrics) -> Result<()> {
    section.heading(3, "Validation beside test");
    section.paragraph(
        "Epoch, threshold and calibration were chosen on validation, so its figures are optimistic. A test far below it \
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
    let positive = escape(&metrics.classes[metrics.positive]);
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
