//! The report of an evaluation on other data.

use std::collections::BTreeSet;

use anyhow::Result;
use dataset::Split;
use pipeline::RunDir;
use pipeline::results::{self, Results};
use pipeline::words::{count, number, or_dash, percent, points};
use report::text::{code, escape};
use report::{Align, Document, Table, format};
use settings::Settings;

use super::images::Images;
use super::judge::Judged;
use super::shift::{Quantity, Shift};
use super::trained::Trained;
use super::{Data, ExternalEvaluation};

/// What the report is about.
pub(super) struct About<'a> {
    pub(super) settings: &'a Settings,
    pub(super) trained: &'a Trained,
    pub(super) images: &'a Images,
    pub(super) judged: &'a Judged,
    pub(super) result: &'a ExternalEvaluation,
}

/// The report; its figures are written into the folder.
pub(super) fn write(folder: &RunDir, about: &About<'_>) -> Result<Document> {
    let (judged, result) = (about.judged, about.result);
    let mut report = Document::new(&format!(
        "Evaluation of {} on other data",
        escape(&about.settings.name)
    ));
    report.paragraph(&results::summary(&judged.evaluation, "image"));
    for warning in warnings(result) {
        report.warning(&warning);
    }
    report.heading(2, "Images and model");
    report.list(inputs(about));
    report.heading(2, "Results");
    report.paragraph(&reading(about));
    report.table(&comparison(about)?);
    results::without_width(&mut report, &judged.evaluation);
    operating_point(&mut report, about)?;
    members(&mut report, about)?;
    curves(folder, &mut report, about)?;
    calibration(folder, &mut report, about)?;
    shift(&mut report, result)?;
    limits(&mut report, about);
    Ok(report)
}

/// What makes the results mean something else than the performance on new images.
pub(super) fn warnings(result: &ExternalEvaluation) -> Vec<String> {
    let data = &result.data;
    let n: usize = data.counts.iter().sum();
    let mut warnings = vec![];
    if result.model.phantoms {
        warnings.push(
            "The model was trained on phantoms only: the results show nothing about any disease."
                .into(),
        );
    }
    if data.own_test {
        warnings.push(
            "These are exactly the images of the run's own test split: the results repeat those of the run, and are \
             not an external validation."
                .into(),
        );
    }
    let seen = [
        (
            data.seen_in_training,
            "training",
            "the network was fitted to them",
        ),
        (
            data.seen_in_validation,
            "validation",
            "epoch, threshold and calibration were chosen on them",
        ),
    ];
    for (seen, split, why) in seen {
        if let Some(seen @ 1..) = seen {
            warnings.push(format!(
                "{} of {} are files of the {split} split of the run: {why}, so the results are optimistic.",
                count(seen, "image"),
                format::thousands(n as u64),
            ));
        }
    }
    warnings
}

fn inputs(about: &About<'_>) -> Vec<String> {
    let (result, images) = (about.result, about.images);
    let data = &result.data;
    let classes = about.trained.classes().iter().zip(&data.counts);
    let counts: Vec<String> = classes
        .map(|(class, n)| format!("{} {}", format::thousands(*n as u64), escape(class)))
        .collect();
    let pipelines: BTreeSet<&String> = result.model.pipelines.iter().collect();
    let pipelines: Vec<String> = pipelines.into_iter().map(|name| code(name)).collect();
    vec![
        format!(
            "Images: {} ({}), {}; fingerprint of the data set {}.",
            code(&images.manifest.root().display().to_string()),
            match data.split {
                Some(split) => format!("split {split}"),
                None => "all images".into(),
            },
            counts.join(", "),
            code(&data.fingerprint)
        ),
        escape(&images.manifest.patients_in_words()),
        format!("Files that could not be used: {}.", data.left_out),
        format!(
            "Model: {} trained by {}; SHA-256 of the checkpoint {}.",
            count(result.model.pipelines.len(), "network"),
            pipelines.join(", "),
            code(&result.model.sha256)
        ),
        seen(data),
    ]
}

fn seen(data: &Data) -> String {
    match (data.seen_in_training, data.seen_in_validation) {
        (Some(training), Some(validation)) => format!(
            "Files that were also in the run's training split: {training}; in its validation split: {validation}."
        ),
        _ => "The run's folder is not available, so it is unknown whether images were in its training split.".into(),
    }
}

fn reading(about: &About<'_>) -> String {
    let evaluation = &about.judged.evaluation;
    let run = match beside(about) {
        Some(_) => {
            " *Test split of the run* repeats the results of the run on its own test images."
        }
        None => "",
    };
    format!(
        "Results on {}{}. Threshold, temperature and biases are those of the checkpoint; nothing was chosen on these \
         images. {}{run}",
        count(evaluation.n, "image"),
        results::of_patients(evaluation),
        results::brackets(evaluation),
    )
}

/// The run's own results, unless these are the same images.
fn beside<'a>(about: &About<'a>) -> Option<&'a metrics::Evaluation> {
    let of_run = about.trained.metrics.as_ref().map(|metrics| &metrics.test);
    of_run.filter(|_| !about.result.data.own_test)
}

fn comparison(about: &About<'_>) -> Result<Table> {
    let here = [("these images", &about.judged.evaluation)];
    let run = beside(about).map(|test| ("test split of the run", test));
    let columns: Vec<_> = here.into_iter().chain(run).collect();
    results::evaluations("", &columns)
}

fn operating_point(report: &mut Document, about: &About<'_>) -> Result<()> {
    let (Some(threshold), Some(binary)) = (about.result.threshold, &about.judged.evaluation.binary)
    else {
        return Ok(());
    };
    report.heading(3, "At the threshold of the checkpoint");
    let origin = match about.result.members.is_empty() {
        true => "This threshold was chosen on validation images when the model was trained.",
        false => {
            "This threshold is the mean of those of the networks, each of which was chosen on validation images when the \
             network was trained."
        }
    };
    report.paragraph(&format!(
        "An image is classified as {} if its probability is at least {}. {origin}",
        escape(&binary.positive),
        format::fixed(threshold.probability, 3)
    ));
    report.table(&results::questions(binary, "these images")?);
    report.paragraph(
        "The two predictive values hold only for the prevalence in these images; where the finding is rarer, fewer of \
         the images classified as positive have it.",
    );
    Ok(())
}

fn members(report: &mut Document, about: &About<'_>) -> Result<()> {
    if about.result.members.is_empty() {
        return Ok(());
    }
    report.heading(3, "Each network on its own");
    report.paragraph(
        "Each network is evaluated at its own threshold. The differences are the ensemble minus the network, on the same \
         resamples of the patients; an interval that contains 0 shows no difference.",
    );
    let columns = [
        "threshold",
        "AUC",
        "accuracy",
        "sensitivity",
        "specificity",
        "AUC: ensemble − network",
        "accuracy: ensemble − network",
    ];
    let columns = columns.map(|name| (name, Align::Right));
    let mut table = Table::new([("", Align::Left)].into_iter().chain(columns));
    let evaluation = &about.judged.evaluation;
    let binary = evaluation.binary.as_ref();
    let probability = |p: Option<f64>| or_dash(p, |p| format::fixed(p, 3));
    table.row([
        "ensemble".to_owned(),
        probability(about.result.threshold.map(|t| t.probability)),
        or_dash(evaluation.auc.as_ref(), number),
        percent(&evaluation.accuracy),
        or_dash(binary.and_then(|b| b.sensitivity.as_ref()), percent),
        or_dash(binary.and_then(|b| b.specificity.as_ref()), percent),
        String::new(),
        String::new(),
    ])?;
    for (i, member) in about.result.members.iter().enumerate() {
        let difference = &member.ensemble_minus;
        table.row([
            format!("network {} ({})", i + 1, code(&member.pipeline)),
            probability(member.threshold),
            or_dash(member.auc.as_ref(), number),
            percent(&member.accuracy),
            or_dash(member.sensitivity.as_ref(), percent),
            or_dash(member.specificity.as_ref(), percent),
            or_dash(difference.auc.as_ref(), number),
            points(&difference.accuracy),
        ])?;
    }
    report.table(&table);
    Ok(())
}

/// What the figures show.
fn shown<'a>(about: &About<'a>) -> Results<'a> {
    let judged = about.judged;
    let (before, curves) = &judged.as_trained;
    Results {
        title: "Other data",
        images: "these images",
        classifier: about.trained.noun(),
        evaluation: &judged.evaluation,
        curves: [curves, &judged.curves],
        calibration_error: [before, &judged.evaluation].map(|e| e.expected_calibration_error),
        labels: &about.images.labels,
        probabilities: &judged.answers.probabilities,
        threshold: judged.threshold.map(|threshold| threshold.probability),
        other: None,
    }
}

fn curves(folder: &RunDir, report: &mut Document, about: &About<'_>) -> Result<()> {
    let shown = shown(about);
    report.heading(3, "Errors by class");
    results::confusion(folder, report, &shown)?;
    report.table(&results::classification_report(&about.judged.evaluation)?);
    report.heading(3, "Across all thresholds");
    match about.judged.curves.classes.is_empty() {
        true => {
            report.paragraph("All images are of one class, so there are no curves.");
        }
        false => {
            results::roc(folder, report, &shown)?;
            results::precision_recall(folder, report, &shown)?;
        }
    }
    results::probabilities(folder, report, &shown)
}

fn calibration(folder: &RunDir, report: &mut Document, about: &About<'_>) -> Result<()> {
    let result = about.result;
    report.heading(3, "Calibration");
    let scores = match result.members.is_empty() {
        true => "the scores",
        false => "the means of the networks' calibrated scores",
    };
    report.paragraph(&format!(
        "Of the images with a predicted probability of 80 %, 80 % should have the finding. Before softmax, {scores} are \
         divided by a temperature and a bias is added for each class, as the checkpoint specifies: {}.",
        results::fitted(about.trained.classes(), result.temperature, &result.bias)
    ));
    let (before, after) = (&result.as_trained, &result.evaluation);
    let mut table = results::calibration_table();
    results::add_calibration(
        &mut table,
        "",
        [
            &[before.log_loss, after.log_loss],
            &[before.brier, after.brier],
            &[
                before.expected_calibration_error,
                after.expected_calibration_error,
            ],
        ],
    )?;
    report.table(&table);
    results::reliability(folder, report, &shown(about))
}

fn shift(report: &mut Document, result: &ExternalEvaluation) -> Result<()> {
    report.heading(2, "Differences from the training images");
    let Some(shift) = &result.shift else {
        report.paragraph(
            "The run's folder is not available, so the images cannot be compared with those of the training.",
        );
        return Ok(());
    };
    report.paragraph(
        "Mean ± standard deviation over images. The standardized difference is the mean of these images minus that of the \
         training images, divided by the pooled standard deviation. The Kolmogorov-Smirnov distance is the largest \
         difference of the cumulative distributions, from 0 (the same distribution) to 1 (no overlap). They describe \
         the images as stored in the files, before any preprocessing.",
    );
    report.table(&shift_table(shift)?);
    Ok(())
}

fn shift_table(shift: &Shift) -> Result<Table> {
    let n = |n: usize| format::thousands(n as u64);
    let mut table = Table::new([
        (String::new(), Align::Left),
        (
            format!("training (n = {})", n(shift.trained_on)),
            Align::Right,
        ),
        (
            format!("these images (n = {})", n(shift.evaluated)),
            Align::Right,
        ),
        ("standardized difference".into(), Align::Right),
        ("KS distance".into(), Align::Right),
    ]);
    let mut row = |quantity: &Quantity, name: String, cells: [String; 2]| -> Result<()> {
        let [training, here] = cells;
        let difference = or_dash(quantity.standardized_difference, |d| format!("{d:+.2}"));
        let distance = format::fixed(quantity.ks_distance, 3);
        table.row([name, training, here, difference, distance])?;
        Ok(())
    };
    for share in &shift.shares {
        let cells =
            [share.trained_on, share.evaluated].map(|sample| format::percent(sample.mean, 1));
        row(share, format!("share of {}", escape(&share.name)), cells)?;
    }
    for property in &shift.properties {
        let digits = match property.trained_on.mean.max(property.evaluated.mean) {
            large if large >= 10.0 => 0,
            _ => 3,
        };
        let cells = [property.trained_on, property.evaluated].map(|sample| {
            let sd = or_dash(sample.sd, |sd| format::fixed(sd, digits));
            format!("{} ± {sd}", format::fixed(sample.mean, digits))
        });
        row(property, property.name.clone(), cells)?;
    }
    Ok(table)
}

fn limits(report: &mut Document, about: &About<'_>) {
    report.heading(2, "What these results show and do not show");
    let mut points = vec![
        "One more data set is evidence for the patients, scanners and practices that it comes from, not for others."
            .to_owned(),
        "Thresholds, probabilities and predictive values depend on the prevalence. Choosing a threshold or a calibration \
         on these images would require yet other images to evaluate it on."
            .to_owned(),
        "Labels of different data sets may follow different definitions: part of a difference in performance can be a \
         difference of the labels."
            .to_owned(),
        "This is not a medical device. No decision about a patient may be based on it.".to_owned(),
    ];
    if about.result.data.split == Some(Split::Train) {
        points.insert(0, "The split is called train in this data set; it was not used for training here unless stated above.".into());
    }
    report.list(points);
    report.paragraph(
        "This folder contains `evaluation.json` (all metrics), `predictions.csv` (results per image) and `figures`.",
    );
}
