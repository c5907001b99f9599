//! The network and its training in words.

use std::time::Duration;

use anyhow::Result;
use model::network::Network;
use model::train::{EpochRecord, Outcome, Stopped};
use model::weights::LoadReport;
use report::{Align, CurveLine, CurvePanel, Document, Table, TrainingCurves, format};

use crate::context::Context;

pub(super) fn write(
    context: &Context<'_>,
    network: &Network,
    outcome: &Outcome,
    loaded: Option<&LoadReport>,
) -> Result<Document> {
    let mut section = Document::fragment();
    section
        .heading(2, "Network")
        .table(&network_table(context, network, loaded)?);
    section
        .heading(2, "Training")
        .paragraph(&course(context, outcome));
    context.figure(
        &mut section,
        "training",
        &curves(outcome).draw()?,
        "Training curves",
        "",
    )?;
    if let Some(best) = outcome
        .best_epoch
        .and_then(|b| outcome.history.iter().find(|e| e.epoch == b))
    {
        section.table(&best_epoch(best, outcome)?);
    }
    Ok(section)
}

fn network_table(
    context: &Context<'_>,
    network: &Network,
    loaded: Option<&LoadReport>,
) -> Result<Table> {
    let (settings, graph) = (context.settings, network.graph());
    let (h, w, c) = (
        settings.image.height,
        settings.image.width,
        settings.image.channels,
    );
    let cost = graph.cost(h, w)?;
    let start = match (loaded, &settings.pretrained) {
        (Some(report), Some(path)) => {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            format!(
                "encoder from `{name}` ({} tensors), the rest random",
                report.applied.len()
            )
        }
        _ => "random".into(),
    };
    let train = &settings.train;
    let mut table = Table::new([("setting", Align::Left), ("value", Align::Left)]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]).map(drop);
    row("network", settings.model.label())?;
    row(
        "input",
        format!(
            "{h}×{w}×{c}, (x − {:?}) / {:?}",
            settings.image.mean, settings.image.std
        ),
    )?;
    row("parameters", format::thousands(cost.parameters as u64))?;
    row(
        "one forward pass",
        format!(
            "{} GFLOP",
            format::fixed(2e-9 * cost.multiply_adds as f64, 2)
        ),
    )?;
    row("first weights", start)?;
    row("optimizer", named(&train.optimizer))?;
    row("learning rate over time", named(&train.schedule))?;
    row(
        "batch, epochs",
        format!(
            "{} images, at most {} epochs",
            train.batch_size, train.epochs
        ),
    )?;
    row(
        "loss",
        format!(
            "{}, class weights {}",
            plain(&train.loss),
            plain(&train.class_weights)
        ),
    )?;
    row("best epoch by", format!("{} on validation", train.monitor))?;
    Ok(table)
}

/// A setting as JSON has it, without its quotes.
fn plain(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value)
        .unwrap_or_default()
        .replace('"', "")
        .replace('_', " ")
}

/// `{ name, … }` as "adam (lr 0.0001, …)".
fn named(value: &impl serde::Serialize) -> String {
    let Ok(serde_json::Value::Object(map)) = serde_json::to_value(value) else {
        return plain(value);
    };
    let name = map
        .get("name")
        .and_then(|n| n.as_str())
        .unwrap_or_default()
        .replace('_', " ");
    let rest: Vec<String> = map
        .iter()
        .filter(|(k, v)| *k != "name" && !v.is_null())
        .map(|(k, v)| format!("{} {}", k.replace('_', " "), plain(v)))
        .collect();
    if rest.is_empty() {
        name
    } else {
        format!("{name} ({})", rest.join(", "))
    }
}

fn course(context: &Context<'_>, outcome: &Outcome) -> String {
    let epochs = outcome.history.len();
    let seconds: f64 = outcome.history.iter().map(|e| e.seconds).sum();
    let rate = outcome
        .history
        .iter()
        .map(|e| e.images_per_second)
        .sum::<f64>()
        / epochs.max(1) as f64;
    let end = match outcome.stopped {
        Stopped::EarlyStopped => {
            format!("stopped after {epochs} epochs without further improvement")
        }
        _ => format!("ran for {epochs} epochs"),
    };
    let best = match outcome.best_epoch {
        Some(best) if context.settings.train.restore_best => format!(
            "Epoch {best} has the best {} and is the one that is judged below.",
            context.settings.train.monitor
        ),
        _ => "The last epoch is the one that is judged below.".into(),
    };
    format!(
        "Training {end}, {} in all at {} images a second. {best}",
        format::duration(Duration::from_secs_f64(seconds)),
        format::fixed(rate, 1)
    )
}

fn curves(outcome: &Outcome) -> TrainingCurves {
    let line = |name: &str, of: &dyn Fn(&EpochRecord) -> Option<f64>| CurveLine {
        name: name.into(),
        points: outcome
            .history
            .iter()
            .filter_map(|e| Some((e.epoch as f64, of(e)?)))
            .collect(),
    };
    let panel = |title: &str, log_scale, lines| CurvePanel {
        title: title.into(),
        log_scale,
        lines,
    };
    let pair = |name: &'static str, validation: &'static str| {
        vec![
            line("train", &|e| e.value(name)),
            line("validation", &|e| e.value(validation)),
        ]
    };
    TrainingCurves {
        title: "Training".into(),
        panels: vec![
            panel("Loss", false, pair("loss", "val_loss")),
            panel("Accuracy", false, pair("accuracy", "val_accuracy")),
            panel(
                "AUC",
                false,
                vec![line("validation", &|e| e.value("val_auc"))],
            ),
            panel(
                "Learning rate",
                true,
                vec![line("learning rate", &|e| Some(e.lr))],
            ),
        ],
        best_epoch: outcome.best_epoch.map(|b| b as f64),
    }
}

fn best_epoch(best: &EpochRecord, outcome: &Outcome) -> Result<Table> {
    let mut table = Table::new([
        ("epoch", Align::Right),
        ("", Align::Left),
        ("loss", Align::Right),
        ("accuracy", Align::Right),
        ("AUC", Align::Right),
    ]);
    let figure = |e: &EpochRecord, name: &str, digits| {
        e.value(name)
            .map_or_else(|| "–".into(), |v| format::fixed(v, digits))
    };
    let mut rows = vec![best];
    rows.extend(
        outcome
            .history
            .last()
            .filter(|last| last.epoch != best.epoch),
    );
    for e in rows {
        let name = if e.epoch == best.epoch {
            "best"
        } else {
            "last"
        };
        table.row([
            e.epoch.to_string(),
            format!("{name}, train"),
            figure(e, "loss", 4),
            figure(e, "accuracy", 4),
            "–".into(),
        ])?;
        table.row([
            String::new(),
            format!("{name}, validation"),
            figure(e, "val_loss", 4),
            figure(e, "val_accuracy", 4),
            figure(e, "val_auc", 4),
        ])?;
    }
    Ok(table)
}
