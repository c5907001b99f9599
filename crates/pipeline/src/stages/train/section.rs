//! The report section on the network and its training.

use anyhow::Result;
use formats::weights::LoadReport;
use model::network::Network;
use report::text::code;
use report::{Align, CurveLine, CurvePanel, Document, Table, TrainingCurves, format};
use train::freeze::Freeze;
use train::{EpochRecord, Outcome, Stopped, Task};

use crate::context::Context;
use crate::words::count;
use settings::Settings;

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
    context.run.figure(
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
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!(
                "encoder from {} ({} tensors), the rest random",
                code(&name),
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
    row("initial weights", start)?;
    row("optimizer", named(&train.optimizer))?;
    row("learning rate schedule", named(&train.schedule))?;
    row(
        "batch, epochs",
        format!(
            "{} images{}, at most {}",
            train.batch_size,
            match train.chunks {
                1 => String::new(),
                chunks => format!(" in {chunks} chunks"),
            },
            count(train.epochs, "epoch")
        ),
    )?;
    row("task", plain(&train.task()))?;
    if train.task().classifies() {
        let (loss, weights) = (plain(&train.loss), plain(&train.class_weights));
        row("loss", format!("{loss}, class weights {weights}"))?;
    }
    if train.wants_masks() {
        row("map loss", map_loss(settings))?;
    }
    if let Some(swa) = train.swa {
        let epochs = count(swa.epochs, "epoch");
        row(
            "weights of the last epoch",
            format!("average over the last {epochs}"),
        )?;
    }
    if let Some(freeze) = train.freeze {
        let text = match freeze {
            Freeze::Encoder => "the encoder".into(),
            Freeze::EncoderEpochs(epochs) => {
                format!("the encoder, in the first {}", count(epochs, "epoch"))
            }
        };
        row("frozen", text)?;
    }
    if let Some(text) = mixing(settings) {
        row("mixing", text)?;
    }
    row("best epoch", format!("by {}", train.monitor))?;
    Ok(table)
}

fn mixing(settings: &Settings) -> Option<String> {
    let augment = &settings.augment;
    let mixup = augment.mixup.map(|mixup| {
        let probability = format::percent(mixup.probability, 0);
        format!("mixup (alpha {}) in {probability} of batches", mixup.alpha)
    });
    let cutmix = augment.cutmix.map(|cutmix| {
        let probability = format::percent(cutmix.probability, 0);
        format!(
            "cutmix (alpha {}) in {probability} of batches",
            cutmix.alpha
        )
    });
    match (mixup, cutmix) {
        (Some(mixup), Some(cutmix)) => {
            let switch = augment
                .cutmix
                .and_then(|cutmix| cutmix.switch)
                .unwrap_or(0.5);
            let share = format::percent(switch, 0);
            Some(format!(
                "{mixup}; with a probability of {share} instead: {cutmix}"
            ))
        }
        (one, other) => one.or(other),
    }
}

fn map_loss(settings: &Settings) -> String {
    let map = &settings.train.map;
    let mut text = plain(&map.loss);
    if settings.train.task() == Task::Both {
        text += &format!(", times {}", map.weight);
    }
    if map.deep_supervision {
        text += ", mean over all maps";
    }
    if let Some(border) = &settings.border {
        text += &format!(
            ", border weights w0 {}, sigma {}{}",
            border.w0,
            border.sigma,
            if border.balance { ", balanced" } else { "" }
        );
    }
    text
}

/// A setting as in JSON, without the quotes.
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
    let epochs = count(outcome.history.len(), "epoch");
    let seconds: f64 = outcome.history.iter().map(|e| e.seconds).sum();
    let rate = outcome
        .history
        .iter()
        .map(|e| e.images_per_second)
        .sum::<f64>()
        / outcome.history.len().max(1) as f64;
    let waited: f64 = outcome.history.iter().map(|e| e.waited).sum();
    let end = match outcome.stopped {
        Stopped::EarlyStopped => {
            format!("stopped after {epochs} without further improvement")
        }
        _ => format!("ran for {epochs}"),
    };
    let best = match outcome.best_epoch {
        Some(best) if context.settings.train.restore_best => format!(
            "Epoch {best} has the best {} and is the one evaluated below.",
            context.settings.train.monitor
        ),
        _ => "The last epoch is the one evaluated below.".into(),
    };
    let share = |part: f64| format::percent(part / seconds.max(1e-9), 1);
    format!(
        "Training {end}, {} in total at {} images per second; {} of the time was spent waiting for images{}. {best}",
        format::seconds(seconds),
        format::fixed(rate, 1),
        share(waited),
        together(context, outcome, &share)
    )
}

/// What became of the time where several processes trained together.
fn together(context: &Context<'_>, outcome: &Outcome, share: &dyn Fn(f64) -> String) -> String {
    let processes = context.processes.size();
    if processes == 1 {
        return String::new();
    }
    let met: f64 = outcome.history.iter().map(|e| e.met).sum();
    let summed: f64 = outcome.history.iter().map(|e| e.summed).sum();
    format!(
        ", {} waiting until all of the {processes} processes had computed their chunks, and {} adding up gradients",
        share(met),
        share(summed)
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
    let validation = |name: &'static str| vec![line("validation", &|e| e.value(name))];
    let mut panels = vec![
        panel("Loss", false, pair("loss", "val_loss")),
        panel("Accuracy", false, pair("accuracy", "val_accuracy")),
        panel("AUC", false, validation("val_auc")),
        panel("Map loss", false, pair("map_loss", "val_map_loss")),
        panel("Map Dice", false, validation("val_dice")),
    ];
    // A quantity that a run does not record has no curve; a segmenter's loss is its map loss.
    panels.retain(|panel| panel.lines.iter().any(|line| !line.points.is_empty()));
    if recorded(outcome, "val_accuracy").is_none() {
        panels.retain(|panel| panel.title != "Map loss");
    }
    panels.push(panel(
        "Learning rate",
        true,
        vec![line("learning rate", &|e| Some(e.lr))],
    ));
    TrainingCurves {
        title: "Training".into(),
        panels,
        best_epoch: outcome.best_epoch.map(|b| b as f64),
    }
}

/// The value in the last epoch, if the run records it.
fn recorded(outcome: &Outcome, name: &str) -> Option<f64> {
    outcome.history.last()?.value(name)
}

/// Columns of the table of the best epoch: title, training figure, validation figure.
const FIGURES: [(&str, &str, &str); 5] = [
    ("loss", "loss", "val_loss"),
    ("accuracy", "accuracy", "val_accuracy"),
    ("AUC", "", "val_auc"),
    ("map loss", "map_loss", "val_map_loss"),
    ("Dice", "", "val_dice"),
];

fn best_epoch(best: &EpochRecord, outcome: &Outcome) -> Result<Table> {
    let figures = FIGURES.into_iter();
    let figures: Vec<_> = figures
        .filter(|(.., validation)| recorded(outcome, validation).is_some())
        .collect();
    let titles = figures.iter().map(|(title, ..)| (*title, Align::Right));
    let first = [("epoch", Align::Right), ("", Align::Left)];
    let mut table = Table::new(first.into_iter().chain(titles));
    let figure = |e: &EpochRecord, name: &str| {
        e.value(name)
            .map_or_else(|| "–".into(), |v| format::fixed(v, 4))
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
        let train = figures.iter().map(|(_, train, _)| figure(e, train));
        let own = [e.epoch.to_string(), format!("{name}, train")];
        table.row(own.into_iter().chain(train))?;
        let validation = figures.iter().map(|(.., name)| figure(e, name));
        let own = [String::new(), format!("{name}, validation")];
        table.row(own.into_iter().chain(validation))?;
    }
    Ok(table)
}
