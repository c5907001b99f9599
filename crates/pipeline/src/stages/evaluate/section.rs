//! The report section on the results: text and tables.

use anyhow::Result;
use metrics::{Comparison, Evaluation, Unbounded};
use report::text::escape;
use report::{Align, Document, Table, format};

use super::judge::{Chosen, Judged, Metrics, Rule};
use super::{benefit, operating, prior, sets, shifts, subgroups};
use crate::context::{Context, Data};
use crate::results::{self, Results};
use crate::words::{count, number, or_dash, percent, points};

pub(super) fn write(context: &Context<'_>, data: &Data, judged: &Judged) -> Result<Document> {
    let metrics = &judged.metrics;
    let mut section = Document::fragment();
    section.heading(2, "Results");
    section.paragraph(&reading(metrics));
    section.table(&comparison(metrics)?);
    results::without_width(&mut section, &metrics.test);
    section.paragraph(&verdict(metrics));
    if metrics.threshold.is_some() {
        operating_point(&mut section, metrics)?;
        operating::write(&mut section, metrics)?;
    }
    let on_test = on_test(judged);
    section.heading(3, "Errors by class");
    results::confusion(context.run, &mut section, &on_test)?;
    section.table(&results::classification_report(&metrics.test)?);
    if let Some(table) = &metrics.subgroups {
        subgroups::write(&mut section, table)?;
    }
    section.heading(3, "Across all thresholds");
    results::roc(context.run, &mut section, &on_test)?;
    results::precision_recall(context.run, &mut section, &on_test)?;
    results::probabilities(context.run, &mut section, &on_test)?;
    calibration(&mut section, metrics)?;
    results::reliability(context.run, &mut section, &on_test)?;
    beyond_this_test(context, &mut section, metrics)?;
    validation_against_test(&mut section, metrics)?;
    shifts::write(&mut section, metrics)?;
    limits(&mut section, context, data, metrics);
    Ok(section)
}

/// What the predictions are worth where shares, costs and images differ from those of the test split.
fn beyond_this_test(
    context: &Context<'_>,
    section: &mut Document,
    metrics: &Metrics,
) -> Result<()> {
    let classes = metrics.classes.as_slice();
    if let (Some(benefit), Some(positive)) = (&metrics.benefit, classes.get(metrics.positive)) {
        benefit::write(context.run, section, (positive, benefit))?;
    }
    if let Some(sets) = &metrics.sets {
        sets::write(context.run, section, (classes, sets))?;
    }
    match &metrics.prior_shift {
        Some(prior) => prior::write(section, (classes, prior)),
        None => Ok(()),
    }
}

/// What the figures show.
fn on_test(judged: &Judged) -> Results<'_> {
    let metrics = &judged.metrics;
    let [calibrated, as_trained] = &judged.curves;
    let linear = &metrics.baselines.linear;
    Results {
        title: "Test",
        images: "the test split",
        classifier: "network",
        evaluation: &metrics.test,
        curves: [as_trained, calibrated],
        calibration_error: metrics.calibration.test_ece,
        labels: &judged.test_labels,
        probabilities: &judged.probabilities[1],
        threshold: metrics.threshold.map(|chosen| chosen.probability),
        other: Some(("linear baseline", linear, &judged.linear_curves)),
    }
}

fn reading(metrics: &Metrics) -> String {
    let frozen = match &metrics.baselines.frozen_encoder {
        Some(frozen) => format!(
            " *Frozen encoder* is the same regression on {} features of the pretrained encoder before any training (mean and \
             standard deviation of each channel of its last two feature maps): what training adds is the difference.",
            format::thousands(frozen.features as u64)
        ),
        None => String::new(),
    };
    format!(
        "Results on the {}{} of the test split, which was not used to choose anything. {} *Majority* is the majority-class \
         baseline; *linear* is a logistic regression on {3}×{3} grey pixels, with penalty, threshold and calibration \
         chosen on validation as for the network. A network that does not beat it has learned no more than brightness \
         and position.{frozen}",
        count(metrics.test.n, "image"),
        results::of_patients(&metrics.test),
        results::brackets(&metrics.test),
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
    results::evaluations("test split", &all)
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
    section.table(&results::questions(binary, "test")?);
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

fn calibration(section: &mut Document, metrics: &Metrics) -> Result<()> {
    let c = &metrics.calibration;
    section.heading(3, "Calibration");
    section.paragraph(&format!(
        "Of the images with a predicted probability of 80 %, 80 % should have the finding. Before softmax, the scores \
         are divided by a temperature and a bias is added for each class, both fitted on validation: {}.{} Neither \
         changes a ranking or a decision, which are made from the scores.",
        results::fitted(&metrics.classes, c.temperature, &c.bias),
        caution(c.unbounded)
    ));
    let mut table = results::calibration_table();
    let [before, after] = c.validation_nll.map(|nll| format::fixed(nll, 3));
    table.row(["validation: log loss (nats)".to_owned(), before, after])?;
    results::add_calibration(
        &mut table,
        "test: ",
        [&c.test_nll, &c.test_brier, &c.test_ece],
    )?;
    section.table(&table);
    Ok(())
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
