//! Runs all combinations in order, and resumes an interrupted experiment.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use pipeline::{Indexed, OwnRun, RESOLVED, RUN, RunRecord, check_unchanged, run_in};
use serde::{Deserialize, Serialize};
use settings::{Experiment, Request, load_experiment};
use terminal::{Interrupt, Progress};

use crate::finished::FinishedRun;
use crate::{figures, label_errors, out_of_fold, report, results};

/// `run.json` in the folder of an experiment.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    experiment: String,
    version: String,
    platform: String,
    finished: bool,
}

/// Starts an experiment, or with `resume` continues the newest unfinished one of this name; returns its folder.
///
/// # Errors
/// A [`settings::ConfigError`] of any combination before anything runs; the error of a run, with its name;
/// [`terminal::Interrupted`].
pub fn run(
    request: &Request,
    resume: bool,
    progress: Progress,
    interrupt: &Interrupt,
) -> Result<PathBuf> {
    let experiment = load_experiment(request)?;
    let own = match resume {
        true => resumed(request, &experiment)?,
        false => fresh(request, &experiment)?,
    };
    let total = experiment.runs.len();
    progress.say(format!(
        "{}: {total} runs of {} in {}",
        experiment.name,
        experiment.pipeline,
        own.path().display()
    ));
    run_all(&experiment, &own, progress, interrupt)?;
    interrupt.check()?;
    summarize(&experiment, &own)?;
    let record = record(&experiment, true);
    own.write_json(RUN, &record)?;
    Ok(own.path().into())
}

fn run_all(
    experiment: &Experiment,
    own: &OwnRun,
    progress: Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let total = experiment.runs.len();
    let mut indexed = Indexed::default();
    let mut fingerprint: Option<String> = None;
    for (i, run) in experiment.runs.iter().enumerate() {
        interrupt.check()?;
        progress.say(format!("run {} of {total}: {}", i + 1, run.name));
        let known = fingerprint.as_deref();
        let folder = own.file(&run.name);
        let shown = (progress, interrupt);
        run_in(&folder, &run.settings, known, &mut indexed, shown).with_context(|| {
            let (name, number) = (&run.name, i + 1);
            format!(
                "run {name} ({number} of {total}) has not finished; the experiment continues with --resume"
            )
        })?;
        let record: RunRecord = own.read_json(&format!("{}/{RUN}", run.name))?;
        fingerprint = record.data_fingerprint;
        if i == 0 {
            // Not earlier: an experiment that fails at once has no results, but the previous one may have.
            own.link_latest()?;
        }
    }
    Ok(())
}

/// Writes what all runs together show.
fn summarize(experiment: &Experiment, own: &OwnRun) -> Result<()> {
    let runs = experiment.runs.iter();
    let runs = runs.map(|run| FinishedRun::read(own, run));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    let out_of_fold = match experiment.folds {
        Some(_) => out_of_fold::write(own, experiment, &runs)?,
        None => vec![],
    };
    let results = results::collect(experiment, &runs, out_of_fold)?;
    own.write_json("experiment.json", &results)?;
    figures::save(own, experiment, &results, &runs)?;
    let suspects = match experiment.folds {
        Some(_) => Some(label_errors::find(&runs, results.chosen - 1)?),
        None => None,
    };
    if let Some(suspects) = &suspects {
        label_errors::write(own, suspects)?;
        figures::save_suspects(own, experiment, suspects)?;
    }
    let document = report::write(experiment, &results, suspects.as_ref())?;
    Ok(document.save_with_html(&own.file("report.md"))?)
}

fn record(experiment: &Experiment, finished: bool) -> Record {
    Record {
        experiment: experiment.name.clone(),
        version: pipeline::VERSION.into(),
        platform: pipeline::platform(),
        finished,
    }
}

fn fresh(request: &Request, experiment: &Experiment) -> Result<OwnRun> {
    let own = OwnRun::create(&request.runs(), &experiment.name)?;
    own.write(RESOLVED, experiment.resolved.as_bytes())?;
    own.write_json(RUN, &record(experiment, false))?;
    Ok(own)
}

fn resumed(request: &Request, experiment: &Experiment) -> Result<OwnRun> {
    let own = OwnRun::newest_unfinished(&request.runs(), &experiment.name)?;
    let record: Record = own.read_json(RUN)?;
    check_unchanged(&own, &experiment.leaves, &record.version)?;
    Ok(own)
}
