//! The model card, in the form of the Hugging Face hub: a header in YAML, then sections.

use anyhow::Result;
use metrics::Interval;
use report::text::escape;
use report::{Align, Document, Table};
use serde_json::{Value, json};
use settings::StageId;
use train::Task;

use super::facts::{AUTHOR, Facts};
use super::{answers, yaml};
use crate::results;
use crate::words::percent;

/// The file's text.
pub(super) fn card(facts: &Facts) -> Result<String> {
    let header = yaml::block(&header(facts));
    let body = body(facts)?.to_markdown();
    Ok(format!("---\n{header}---\n\n{body}"))
}

/// What the hub reads. A run knows no license: `other` obliges the author to name one.
fn header(facts: &Facts) -> Value {
    let (task, name) = task(facts);
    let mut tags = vec!["medical-imaging", task];
    tags.extend(facts.phantoms().then_some("phantoms"));
    let metrics = metrics(facts);
    let ids: Vec<&Value> = metrics.iter().map(|metric| &metric["type"]).collect();
    json!({
        "license": "other",
        "license_name": "to-be-stated-by-the-author",
        "library_name": "eff-unet",
        "pipeline_tag": task,
        "tags": tags,
        "metrics": ids,
        "model-index": [{
            "name": facts.settings.name,
            "results": [{
                "task": { "type": task, "name": name },
                "dataset": {
                    "name": dataset(facts),
                    "type": "imagefolder",
                    "split": "test",
                    "revision": facts.record.data_fingerprint,
                },
                "metrics": metrics,
            }],
        }],
    })
}

fn task(facts: &Facts) -> (&'static str, &'static str) {
    match facts.settings.train.task() {
        Task::Segment => ("image-segmentation", "Image segmentation"),
        Task::Classify | Task::Both => ("image-classification", "Image classification"),
    }
}

fn dataset(facts: &Facts) -> String {
    let root = &facts.settings.data.index.root;
    match facts.phantoms() {
        true => "phantoms drawn by a program".into(),
        false => root
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    }
}

/// The test results as the hub's metrics, each with its interval in its name.
fn metrics(facts: &Facts) -> Vec<Value> {
    let mut found = vec![];
    if let Some(metrics) = &facts.metrics {
        let (test, binary) = (&metrics.test, metrics.test.binary.as_ref());
        found.push(("accuracy", "Accuracy", Some(test.accuracy)));
        found.push(("roc_auc", "AUC", test.auc));
        found.push((
            "sensitivity",
            "Sensitivity",
            binary.and_then(|b| b.sensitivity),
        ));
        found.push((
            "specificity",
            "Specificity",
            binary.and_then(|b| b.specificity),
        ));
        found.push(("f1", "Macro F1", test.macro_average.f1));
        found.push(("brier_score", "Brier score", Some(test.brier)));
    }
    if let Some(segmentation) = &facts.segmentation {
        found.push(("dice", "Mean Dice", segmentation.test.mean_dice));
        found.push(("mean_iou", "Mean IoU", segmentation.test.mean_iou));
    }
    let level = percent_of(facts.settings.evaluate.confidence);
    let known = found
        .into_iter()
        .filter_map(|(id, name, value)| Some((id, name, value?)));
    known
        .map(|(id, name, value)| metric(id, name, &value, &level))
        .collect()
}

fn metric(id: &str, name: &str, value: &Interval, level: &str) -> Value {
    let rounded = |x: f64| (x * 1e4).round() / 1e4;
    json!({
        "type": id,
        "name": format!("{name}, {level} interval {:.3} to {:.3}", value.low, value.high),
        "value": rounded(value.estimate),
    })
}

fn percent_of(share: f64) -> String {
    report::format::percent(share, 0)
}

fn body(facts: &Facts) -> Result<Document> {
    let mut card = Document::new(&escape(&facts.settings.title));
    if facts.phantoms() {
        card.warning(
            "This network was trained and evaluated on phantoms drawn by a program. It shows that the pipeline works, \
             and knows nothing about any disease.",
        );
    }
    if let Some(text) = answers::results(facts) {
        card.paragraph(&text);
    }
    uses(&mut card);
    data(&mut card, facts);
    training(&mut card, facts)?;
    evaluation(&mut card, facts)?;
    technical(&mut card, facts);
    for heading in ["License", "Citation", "Contact"] {
        card.heading(2, heading).paragraph(AUTHOR);
    }
    Ok(card)
}

fn uses(card: &mut Document) {
    card.heading(2, "Intended use")
        .paragraph(&format!("Research on methods. {AUTHOR}"))
        .heading(2, "Out-of-scope use")
        .list([
            "Any decision about a patient: this is not a medical device.",
            "Images of other origin (site, device, view, age group) without an evaluation on them.",
            "Probabilities and predictive values at another prevalence without new calibration.",
            AUTHOR,
        ])
        .heading(2, "How to use it")
        .code("sh", &commands());
}

fn commands() -> String {
    let program = terminal::program();
    format!(
        "{program} predict RUN IMAGES --out DIR\n{program} serve RUN\n{program} evaluate RUN --data DIR"
    )
}

fn data(card: &mut Document, facts: &Facts) {
    let known = [
        answers::source(facts),
        answers::outcome(facts),
        answers::characteristics(facts),
        answers::disjoint(facts).map(|text| format!("What the splits do not share: {text}")),
        answers::exclusions(facts),
        answers::missing(facts),
    ];
    card.heading(2, "Data").list(known.into_iter().flatten());
    card.paragraph(&format!(
        "Who the patients are, how and where the images were taken, who labelled them, consent and approval: {AUTHOR}"
    ));
}

fn training(card: &mut Document, facts: &Facts) -> Result<()> {
    let rows = [
        ("method", answers::technology(facts)),
        ("preprocessing", answers::preprocessing(facts)),
        ("initial weights", answers::initial(facts)),
        ("training", answers::training(facts)),
        ("final model", answers::selection(facts)),
        ("class imbalance", answers::balance(facts)),
        ("output", answers::output(facts)),
    ];
    card.heading(2, "Training").table(&known(&rows)?);
    Ok(())
}

/// A table of what is known.
fn known(rows: &[(&str, Option<String>)]) -> Result<Table> {
    let mut table = Table::new([("", Align::Left), ("this run", Align::Left)]);
    for (name, text) in rows {
        if let Some(text) = text {
            table.row([*name, text])?;
        }
    }
    Ok(table)
}

fn evaluation(card: &mut Document, facts: &Facts) -> Result<()> {
    card.heading(2, "Evaluation");
    if let Some(metrics) = &facts.metrics {
        let all = [
            ("this network", &metrics.test),
            ("linear model", &metrics.baselines.linear),
            ("majority class", &metrics.baselines.majority),
        ];
        card.table(&results::evaluations("test split", &all)?);
    }
    let known = [
        answers::uncertainty(facts),
        answers::detailed(facts),
        answers::external(facts),
    ];
    card.list(known.into_iter().flatten());
    card.heading(2, "Bias, risks and limitations");
    let points = limits(facts);
    card.list(points);
    Ok(())
}

fn limits(facts: &Facts) -> Vec<String> {
    let mut points: Vec<String> = answers::limits(facts).into_iter().collect();
    if let Some(binary) = facts.metrics.as_ref().and_then(|m| m.test.binary.as_ref())
        && let Some(missed) = &binary.sensitivity
    {
        let positive = escape(&binary.positive);
        let found = percent(missed);
        points.push(format!(
            "Of the test images with {positive}, {found} are found; the rest are missed."
        ));
    }
    points.extend(facts.settings.notes.iter().cloned());
    points.push(format!("Results by age, sex, device and site: {AUTHOR}"));
    points
}

fn technical(card: &mut Document, facts: &Facts) {
    let known = [
        answers::model(facts),
        answers::software(facts),
        answers::protocol(facts),
    ];
    card.heading(2, "Technical details")
        .list(known.into_iter().flatten());
    if facts.has(StageId::Report) {
        card.paragraph("How long each stage took is in the [report](report.md#time).");
    }
}
