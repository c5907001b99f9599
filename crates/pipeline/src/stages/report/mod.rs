//! `report.md` and `report.html`: the summary, then the section of each stage, then how to reproduce the run; and next to
//! them the model card and two checklists for papers, filled in as far as the run can.

mod checklists;
mod summary;

use std::path::Path;

use anyhow::Result;
use report::text::escape;
use report::{Align, Document, Table, format};

use super::{Metrics, SegmentationMetrics};
use crate::context::Context;
use crate::words::count;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let mut report = Document::fragment();
    if context.settings.data.phantom.is_some() {
        report.paragraph("**The images in this report are phantoms: drawn by a program, not taken from patients.** All results below show that the pipeline works, and nothing about any disease. Pass `--data DIR` for the real images (`data/README.md` says where to get them).");
    }
    report.heading(1, &escape(&context.settings.title));
    if let Ok(metrics) = context.run.read_json::<Metrics>("metrics.json") {
        report.paragraph(&summary::classification(&metrics));
        let warnings = summary::warnings(&metrics);
        if !warnings.is_empty() {
            report.list(warnings);
        }
    }
    if let Ok(metrics) = context
        .run
        .read_json::<SegmentationMetrics>("segmentation.json")
    {
        report.paragraph(&summary::segmentation(&metrics));
    }
    for stage in &context.settings.stages {
        let section = format!("sections/{}.json", stage.name());
        // A stage with nothing to report has no section.
        if context.run.file(&section).exists() {
            report.append(context.run.read_json(&section)?);
        }
    }
    effort(&mut report, context)?;
    repeat(&mut report, context)?;
    report.save_with_html(&context.run.file("report.md"))?;
    checklists::write(context)?;
    for name in ["report.md", "report.html"] {
        let path = context.run.file(name);
        context.progress.say(format!("  {}", path.display()));
    }
    Ok(())
}

fn effort(report: &mut Document, context: &Context<'_>) -> Result<()> {
    let mut table = Table::new([("stage", Align::Left), ("time", Align::Right)]);
    let seconds = context.run.timings();
    for stage in &context.settings.stages {
        if let Some(s) = seconds.get(stage.name()) {
            table.row([stage.name().to_owned(), format::seconds(*s)])?;
        }
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    report.heading(2, "Time");
    let device = &context.settings.device.words;
    report.paragraph(&format!(
        "Device: {device}; {}, {}.",
        count(threads, "processor core"),
        context.run.record()?.platform
    ));
    report.table(&table);
    Ok(())
}

fn repeat(report: &mut Document, context: &Context<'_>) -> Result<()> {
    let record = context.run.record()?;
    report.heading(2, "How to reproduce this run");
    report.paragraph(&format!(
        "Version {}, seed {}, data fingerprint `{}`. The same settings on the same data give a bit-identical \
         `metrics.json`, with any number of threads.",
        record.version,
        record.seed,
        record.data_fingerprint.as_deref().unwrap_or("–")
    ));
    report.code(
        "sh",
        &format!(
            "{} pipeline {}",
            terminal::program(),
            typed(&context.run.file(crate::run_dir::RESOLVED))
        ),
    );
    let mut settings = Document::fragment();
    settings.code("toml", &context.settings.resolved);
    report.details("All settings of this run", &settings);
    report.paragraph(
        "Depending on the stages that ran, this folder contains `metrics.json` and `segmentation.json` (all metrics), \
         `predictions.csv` and `segmentation.csv` (results per image), `history.csv` (results per epoch), \
         `model.safetensors` (network, weights, preprocessing, threshold), `manifest.csv` and `splits.csv` (the data), \
         `eda.json`, `overlays.json`, `timings.json` and `run.json`.",
    );
    Ok(())
}

/// A path as it would be typed here: relative if it is below the current folder, quoted where a shell would split it.
fn typed(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = path
        .strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string();
    if short.contains([' ', '\'', '"', '$', '&', '(', ')']) {
        format!("'{}'", short.replace('\'', r"'\''"))
    } else {
        short
    }
}
