//! The report section on the results: text and tables.

use anyhow::Result;
use metrics::{Comparison, Evaluation, ScoreIntervals, Unbounded};
use report::text::escape;
use report::{Align, Document, Table, format};

use super::judge::{Chosen, Judged, Metrics, Rule};
use super::{figures, operating, shifts};
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
             images, so resampling them cannot produce any. Use the intervals of accuracy and AUC, which do not rely \
             on resampling in this case.",
        );
    }
    section.paragraph(&verdict(metrics));
    if metrics.threshold.is_some() {
        operating_point(&mut section, metrics)?;
        operating::write(&mut section, metrics)?;
    }
    section.heading(3, "Errors by class");
    figures::confusion(context, &mut section, metrics)?;
    section.table(&classification_report(&metrics.test)?);
    section.heading(3, "Across all thresholds");
    figures::roc(context, &mut section, judged)?;
    figures::pr(context, &mut section, judged)?;
    figures::histogram(context, &mut section, judged)?;
    calibration(context, &mut section, judged)?;
    validation_against_test(&mut section, metrics)?;
    shifts::write(&mut section, metrics)?;
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
    // Where patients are unknown each image is a group of its own; calling these groups patients would be misleading.
    let patients = metrics.test.groups.filter(|g| *g < metrics.test.n);
    let (groups, drawn, design) = match patients {
        Some(g) => (
            format!(" of {}", count(g, "patient")),
            "whole patients",
            " Wilson intervals are widened by the design effect, because errors on images of the same patient are \
             correlated.",
        ),
        None => (String::new(), "images", ""),
    };
    let frozen = match &metrics.baselines.frozen_encoder {
        Some(frozen) => format!(
            " *Frozen encoder* is the same regression on {} features of the pretrained encoder before any training (mean and \
             standard deviation of each channel of its last two feature maps): what training adds is the difference.",
            format::thousands(frozen.features as u64)
        ),
        None => String::new(),
    };
    format!(
        "Results on the {}{groups} of the test split, which was not used to choose anything. Brackets give {} \
         intervals: Wilson's for proportions, Newcombe's for an AUC of 1, and otherwise a bootstrap that resamples \
         {drawn}.{design} *Majority* is the majority-class baseline; *linear* is a logistic regression on {2}×{2} grey \
         pixels, with penalty, threshold and calibration chosen on validation as for the network. A network that does \
         not beat it has learned no more than brightness and position.{frozen}",
        count(metrics.test.n, "image"),
        format::percent(context.settings.evaluate.confidence, 0),
        metrics.baselines.linear_side
    )
}

fn comparison(metrics: &Metrics) -> Result<Table> {
    let baselines = &metrics.baselines;
    let frozen = baselines.frozen_encoder.as_ref();
    let all: Vec<(&str, &Evaluation)> = [("network", &metrics.test)]
        .into_iter()
        .chain(frozen.map(|frozen| ("frozen encoder", &frozen.test)))
        .chain([
            ("linear", &baselines.linear),
            ("majority", &baselines.majority),
        ])
        .collect();
    let names = all.iter().map(|(name, _)| (*name, Align::Right));
    let mut table = Table::new([("test split", Align::Left)].into_iter().chain(names));
    let mut row = |name: &str, cell: &dyn Fn(&Evaluation) -> String| -> Result<()> {
        table.row(
            [name.to_owned()]
                .into_iter()
                .chain(all.iter().map(|(_, evaluation)| cell(evaluation))),
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

/// Whether a bootstrap interval has no width because there was no error to resample.
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
        return "A class has no image in the test split, so there is no AUC to compare.".into();
    };
    let figures = format!(
        "the AUC differs by {}, the accuracy by {} (network minus linear model, on the same resamples of the test \
         images)",
        number(auc),
        points(&against.accuracy)
    );
    let frozen = metrics.baselines.frozen_encoder.as_ref();
    let frozen = frozen.map_or_else(String::new, |frozen| against_frozen(&frozen.against));
    let (text, advice) = if auc.low > 0.0 {
        (
            "The network ranks the images better than the linear model does",
            "",
        )
    } else if auc.high < 0.0 {
        (
            "The network ranks the images **worse** than a linear model on small images does",
            " Train longer, or check the augmentation and the learning rate.",
        )
    } else {
        (
            "On this many images the network is not shown to rank better than a linear model on small images",
            "",
        )
    };
    format!("{text}: {figures}.{advice}{frozen}")
}

/// What training adds to the pretrained encoder.
fn against_frozen(against: &Comparison) -> String {
    let Some(auc) = &against.auc else {
        return String::new();
    };
    let text = if auc.low > 0.0 {
        "Training adds to what the pretrained encoder already tells"
    } else if auc.high < 0.0 {
        "The pretrained encoder ranks the images **better** before training than the network does after it"
    } else {
        "Training is not shown to improve the ranking over that of the frozen encoder"
    };
    format!(
        " {text}: AUC {}, accuracy {} (network minus frozen encoder).",
        number(auc),
        points(&against.accuracy)
    )
}

fn operating_point(section: &mut Document, metrics: &Metrics) -> Result<()> {
    let (Some(chosen), Some(binary)) = (metrics.threshold, &metrics.test.binary) else {
        return Ok(());
    };
    let positive = escape(&binary.positive);
    section.heading(3, "At the chosen threshold");
    section.paragraph(&format!(
        "{} An image is classified as {positive} if its probability is at least {}{}.",
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
    section.table(&table);
    section.paragraph(
        "The two predictive values hold only for the prevalence in this test split; where the finding is rarer, fewer \
         of the images classified as positive have it.",
    );
    Ok(())
}

/// How much the threshold varies over resamples of the validation images.
fn steadiness(chosen: &Chosen) -> String {
    match chosen.interval {
        Some([low, high]) => format!(
            "; over resamples of the validation images this threshold lies between {} and {}",
            format::fixed(low, 3),
            format::fixed(high, 3)
        ),
        None => String::new(),
    }
}

fn rule(chosen: &Chosen) -> String {
    match chosen.rule {
        Rule::Youden => format!(
            "The threshold maximizes sensitivity + specificity on the {} (Youden's index).",
            count(chosen.n, "validation image")
        ),
        Rule::Sensitivity(s) => format!(
            "The threshold is the highest that reaches a sensitivity of at least {} on the {}.",
            format::percent(s, 1),
            count(chosen.n, "validation image")
        ),
        Rule::Fixed => "The threshold was fixed in the settings.".into(),
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
    section.heading(3, "Calibration");
    section.paragraph(&format!(
        "Of the images with a predicted probability of 80 %, 80 % should have the finding. Before softmax, the scores \
         are divided by a temperature and a bias is added for each class, both fitted on validation: {}.{} Neither \
         changes a ranking or a decision, which are made from the scores.",
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

/// "a temperature of 1.300 (the network was overconfident), biases of +0.100 (A), -0.100 (B)".
fn fitted(metrics: &Metrics) -> String {
    let c = &metrics.calibration;
    let confidence = match format::fixed(c.temperature, 3).as_str() {
        "1.000" => "the network's confidence needed no correction",
        _ if c.temperature > 1.0 => "the network was overconfident",
        _ => "the network was underconfident",
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

/// A caution where the validation images alone do not determine the calibration.
fn caution(unbounded: Option<Unbounded>) -> &'static str {
    match unbounded {
        None => "",
        Some(Unbounded::Separable) => {
            " **The scores separate the validation classes without error, so validation does not determine how \
             confident the network should be**: the values come from a weak prior, which keeps the temperature near 1 \
             and the biases near 0."
        }
        Some(Unbounded::Uninformative) => {
            " **On validation the scores carry no information about the classes**: a weak prior keeps the temperature \
             finite."
        }
        Some(Unbounded::AbsentClass) => {
            " **Validation has no image of one class**: a weak prior keeps the bias of that class finite."
        }
    }
}

fn validation_against_test(section: &mut Document, metrics: &Metrics) -> Result<()> {
    section.heading(3, "Validation and test");
    section.paragraph(
        "Epoch, threshold and calibration were chosen on validation, so its results are optimistic. Test results far \
         below them indicate that the splits differ, for example in patients, scanner or prevalence.",
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
    section.heading(3, "What these results show and do not show");
    let share = |counts: &[usize]| {
        counts.get(metrics.positive).copied().unwrap_or(0) as f64
            / counts.iter().sum::<usize>().max(1) as f64
    };
    let [train, _, test] = &metrics.counts;
    let positive = escape(&metrics.classes[metrics.positive]);
    let mut points = vec![format!(
        "The prevalence of {positive} is {} in training and {} in test. Thresholds, probabilities and predictive \
         values depend on it and must be determined again where it differs.",
        format::percent(share(train), 1),
        format::percent(share(test), 1)
    )];
    if metrics.phantom {
        points.push("The images are phantoms: the results show that the pipeline works, and nothing about any disease.".into());
    } else {
        points.push(
            "One data set represents the patients, scanners and practices of the site that it comes from. Nothing here \
             shows that the results hold at other sites."
                .into(),
        );
    }
    points.push(
        "Markers, tubes, borders and exposure can separate the classes without any finding. The linear baseline and \
         the overlays help to detect this; they do not rule it out."
            .into(),
    );
    if !data.manifest.bad_images().is_empty() {
        points.push(format!(
            "Unreadable and excluded from all results: {}.",
            count(data.manifest.bad_images().len(), "file")
        ));
    }
    points.push(
        "This is not a medical device. No decision about a patient may be based on it.".into(),
    );
    points.extend(context.settings.notes.iter().cloned());
    section.list(points);
}
