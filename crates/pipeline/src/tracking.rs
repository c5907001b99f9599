//! The run for programs that collect runs (`[tracking]`). It is a copy: what cannot be written is a warning, and the run goes on.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use metrics::Interval;
use tracking::{Events, Picture, mlflow};
use train::EpochRecord;

use crate::context::Context;
use crate::outputs;
use crate::run_dir::{RESOLVED, RunDir};
use crate::stages::{Metrics, SegmentationMetrics};

/// The folder of event files in a run's folder.
const TENSORBOARD: &str = "tensorboard";

/// What MLflow gets a copy of, where it exists.
const ARTIFACTS: [&str; 9] = [
    "report.html",
    "report.md",
    "MODEL_CARD.md",
    "metrics.json",
    "segmentation.json",
    "history.csv",
    "predictions.csv",
    RESOLVED,
    crate::MODEL,
];

/// Columns of the history, and the names of their curves: training and validation in one group.
const CURVES: [(&str, &str); 10] = [
    ("loss", "loss/train"),
    ("val_loss", "loss/validation"),
    ("accuracy", "accuracy/train"),
    ("val_accuracy", "accuracy/validation"),
    ("map_loss", "map_loss/train"),
    ("val_map_loss", "map_loss/validation"),
    ("val_auc", "auc/validation"),
    ("val_dice", "dice/validation"),
    ("lr", "learning_rate"),
    ("grad_norm", "gradient_norm"),
];

/// Curves for TensorBoard, written while the network trains.
pub(crate) struct Curves {
    folder: PathBuf,
    events: Option<Events>,
}

impl Curves {
    /// Nothing is written unless the settings ask for it.
    pub(crate) fn of(context: &Context<'_>) -> Option<Self> {
        let wanted = context.settings.tracking.tensorboard;
        wanted.then(|| Curves {
            folder: context.run.file(TENSORBOARD),
            events: None,
        })
    }

    /// Begins the file again, with the epochs that there are.
    pub(crate) fn begin(&mut self, earlier: &[EpochRecord]) {
        let begun = Events::begin(&self.folder);
        self.events = begun.map_err(|error| warn("TensorBoard", &error)).ok();
        earlier.iter().for_each(|record| self.epoch(record));
    }

    pub(crate) fn epoch(&mut self, record: &EpochRecord) {
        let Some(events) = &mut self.events else {
            return;
        };
        let value = |name: &str| match name {
            "lr" => Some(record.lr),
            "grad_norm" => Some(record.grad_norm),
            name => record.value(name),
        };
        let values = CURVES
            .iter()
            .filter_map(|(column, name)| Some((*name, value(column)?)));
        if let Err(error) = events.scalars(step(record.epoch), values) {
            warn("TensorBoard", &error);
            self.events = None;
        }
    }
}

fn step(epoch: usize) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

fn warn(program: &str, error: &dyn std::fmt::Display) {
    terminal::say(&format!(
        "warning: nothing more is written for {program}: {error}"
    ));
}

/// Adds the results of a finished run.
pub(crate) fn finish(context: &Context<'_>) {
    let settings = &context.settings.tracking;
    if settings.tensorboard
        && let Err(error) = figures(context)
    {
        warn("TensorBoard", &error);
    }
    if let Some(root) = &settings.mlflow {
        match exported(context, root) {
            Ok(folder) => context
                .progress
                .say(format!("  for MLflow: {}", folder.display())),
            Err(error) => warn("MLflow", &format!("{error:#}")),
        }
    }
}

/// The test results, and the figures of the report, at the last epoch.
fn figures(context: &Context<'_>) -> Result<()> {
    let last = step(epochs(context.run).len());
    let mut events = Events::reopen(&context.run.file(TENSORBOARD))?;
    let results = results(context.run);
    let named: Vec<(String, f64)> = results
        .into_iter()
        .map(|(name, v)| (format!("test/{name}"), v))
        .collect();
    events.scalars(
        last,
        named.iter().map(|(name, value)| (name.as_str(), *value)),
    )?;
    for path in pictures(context.run)? {
        let (png, name) = (
            fs::read(&path)?,
            path.file_stem().unwrap_or_default().to_string_lossy(),
        );
        let size = image::ImageReader::new(io::Cursor::new(&png))
            .with_guessed_format()?
            .into_dimensions()?;
        let picture = Picture {
            name: &name,
            size: (size.1, size.0),
            png: &png,
        };
        events.pictures(last, &[picture])?;
    }
    Ok(())
}

fn pictures(run: &RunDir) -> Result<Vec<PathBuf>> {
    let folder = run.file("figures");
    if !folder.is_dir() {
        return Ok(vec![]);
    }
    let mut found = vec![];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "png") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The columns of [`CURVES`] by epoch; NaN where there is no value.
fn epochs(run: &RunDir) -> Vec<[f64; CURVES.len()]> {
    let columns = CURVES.map(|(column, _)| column);
    outputs::history(run, columns).unwrap_or_default()
}

/// The results on the test split, by name.
fn results(run: &RunDir) -> Vec<(&'static str, f64)> {
    let mut found: Vec<(&str, Option<Interval>)> = vec![];
    if let Ok(metrics) = run.read_json::<Metrics>("metrics.json") {
        let test = metrics.test;
        found.push(("accuracy", Some(test.accuracy)));
        found.push(("auc", test.auc));
        found.push(("f1", test.macro_average.f1));
        found.push(("brier", Some(test.brier)));
        if let Some(binary) = test.binary {
            found.push(("sensitivity", binary.sensitivity));
            found.push(("specificity", binary.specificity));
        }
    }
    if let Ok(metrics) = run.read_json::<SegmentationMetrics>("segmentation.json") {
        found.push(("dice", metrics.test.mean_dice));
        found.push(("iou", metrics.test.mean_iou));
    }
    let known = found
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.estimate)));
    known.collect()
}

fn exported(context: &Context<'_>, root: &std::path::Path) -> Result<PathBuf> {
    let (run, settings) = (context.run, context.settings);
    let record = run.record()?;
    let mut values: Vec<(String, f64, u64)> = vec![];
    for (epoch, row) in (1..).zip(epochs(run)) {
        let named = CURVES.iter().zip(row);
        values.extend(named.map(|((_, name), value)| ((*name).to_owned(), value, epoch)));
    }
    let test = results(run).into_iter();
    values.extend(test.map(|(name, value)| (format!("test/{name}"), value, 0)));
    let own = |name: &str| (run.file(name), name.to_owned());
    let artifacts = ARTIFACTS
        .into_iter()
        .map(own)
        .filter(|(path, _)| path.is_file());
    let name = run.path().file_name().unwrap_or_default().to_string_lossy();
    Ok(mlflow::export(
        root,
        &mlflow::Run {
            experiment: settings.name.clone(),
            name: name.into_owned(),
            started: milliseconds(fs::metadata(run.file(RESOLVED))?.modified()?),
            ended: milliseconds(SystemTime::now()),
            params: settings.leaves.clone(),
            metrics: values,
            tags: vec![
                ("version".into(), record.version),
                (
                    "data_fingerprint".into(),
                    record.data_fingerprint.unwrap_or_default(),
                ),
                (
                    "phantoms".into(),
                    settings.data.phantom.is_some().to_string(),
                ),
            ],
            artifacts: artifacts.collect(),
        },
    )?)
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
