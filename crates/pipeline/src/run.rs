//! Runs a pipeline's stages in order, and resumes an interrupted run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use collective::{Alone, Collective};

use crate::basis::difference;
use crate::cluster;
use crate::context::{Context, Indexed};
use crate::order::Order;
use crate::run_dir::{OwnRun, RESOLVED, RUN, RunDir, RunRecord, TIMINGS, make_folder};
use crate::stages;
use settings::{Request, Settings, StageId};
use terminal::Interrupt;
use terminal::Progress;

/// A run that completed successfully.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether the data were phantoms.
    pub phantom: bool,
    /// How long this process worked on it.
    pub took: Duration,
}

/// Starts a new run of a pipeline, or with `resume` continues the newest unfinished one.
///
/// # Errors
/// A [`settings::ConfigError`] before anything runs; the error of a stage; [`terminal::Interrupted`].
pub fn run(
    request: &Request,
    resume: bool,
    progress: Progress,
    interrupt: &Interrupt,
) -> Result<Finished> {
    run_on(&Alone, request, resume, (progress, interrupt))
}

/// As [`run()`], on several processes: that of rank 0 runs and writes, and the others join it where a stage shares its
/// work. All make this call with equal arguments.
///
/// # Errors
/// As [`run()`]; what differs between the processes. After an error the others may be waiting for this one:
/// the caller ends them ([`collective::mpi::Mpi::abort`]).
pub fn run_on(
    processes: &dyn Collective,
    request: &Request,
    resume: bool,
    (progress, interrupt): (Progress, &Interrupt),
) -> Result<Finished> {
    let settings = settings::load(request)?;
    let start = Instant::now();
    if processes.rank() > 0 {
        let folder = cluster::follow(&settings, processes, interrupt)?;
        return Ok(finished(&folder, &settings, start));
    }
    let run = if resume {
        resumed(request, &settings)?
    } else {
        fresh(request, &settings)?
    };
    let mut indexed = Indexed::default();
    let context = Context::new(&settings, &run, progress, interrupt, &mut indexed);
    run_stages(&mut context.on(processes), true)?;
    Order::End.give(processes)?;
    Ok(finished(run.path(), &settings, start))
}

/// Starts, continues or, if it is finished, skips the run of a folder that belongs to a larger one. `indexed` is passed
/// from run to run of one process, so that equal data are indexed once.
///
/// # Errors
/// As [`run`]; images other than those with the data fingerprint that the other runs of the larger folder have.
pub fn run_in(
    folder: &Path,
    settings: &Settings,
    fingerprint: Option<&str>,
    indexed: &mut Indexed,
    (progress, interrupt): (Progress, &Interrupt),
) -> Result<Finished> {
    let start = Instant::now();
    make_folder(folder)?;
    let run = OwnRun::take(RunDir::open(folder)?)?;
    if run.file(RUN).is_file() {
        check_unchanged(&run, &settings.leaves, &run.record()?.version)?;
    } else {
        begin(&run, settings, fingerprint)?;
    }
    if run.record()?.finished {
        progress.say("  already done");
    } else {
        let mut context = Context::new(settings, &run, progress, interrupt, indexed);
        run_stages(&mut context, false)?;
    }
    Ok(finished(run.path(), settings, start))
}

fn finished(folder: &Path, settings: &Settings, start: Instant) -> Finished {
    Finished {
        folder: folder.into(),
        phantom: settings.data.phantom.is_some(),
        took: start.elapsed(),
    }
}

/// Runs the stages that are not done yet; `latest` follows the run if it stands alone.
fn run_stages(context: &mut Context<'_>, alone: bool) -> Result<()> {
    let (settings, run, progress) = (context.settings, context.run, context.progress);
    progress.say(format!("{} in {}", settings.name, run.path().display()));
    progress.say(format!("device: {}", settings.device.words));
    if context.processes.size() > 1 {
        progress.say(format!(
            "{} processes train together",
            context.processes.size()
        ));
    }
    let done = keep_leading(run, &settings.stages)?;
    let total = settings.stages.len();
    for (i, stage) in settings.stages.iter().enumerate() {
        if i < done {
            progress.say(format!(
                "[{}/{total}] {}: already done",
                i + 1,
                stage.name()
            ));
            continue;
        }
        progress.say(format!(
            "[{}/{total}] {}: {}",
            i + 1,
            stage.name(),
            stage.about()
        ));
        run_stage(*stage, context, alone)?;
    }
    crate::tracking::finish(context);
    let mut record = run.record()?;
    record.finished = true;
    run.write_json(RUN, &record)
}

/// How many stages are already done. A stage recorded after one that is not done counts as not done, because it has not
/// seen what that one will write.
fn keep_leading(run: &RunDir, stages: &[StageId]) -> Result<usize> {
    let mut record = run.record()?;
    let both = record.done.iter().zip(stages);
    let done = both
        .take_while(|(done, stage)| **done == stage.name())
        .count();
    if done < record.done.len() {
        record.done.truncate(done);
        run.write_json(RUN, &record)?;
    }
    Ok(done)
}

fn run_stage(stage: StageId, context: &mut Context<'_>, alone: bool) -> Result<()> {
    let start = Instant::now();
    tracing::info!(stage = stage.name(), "begins");
    let result = context
        .interrupt
        .check()
        .map_err(Into::into)
        .and_then(|()| stages::run(stage, context));
    tracing::info!(stage = stage.name(), took = ?start.elapsed(), good = result.is_ok(), "ends");
    add_seconds(context.run, stage.name(), start.elapsed())?;
    result.with_context(|| format!("stage \"{}\"", stage.name()))?;
    // Read again: the first stage writes the data's fingerprint.
    let mut record = context.run.record()?;
    record.done.push(stage.name().into());
    context.run.write_json(RUN, &record)?;
    if alone && record.done.len() == 1 {
        // Not earlier: a run that fails at once has no results, but the previous one may have.
        context.run.link_latest()?;
    }
    Ok(())
}

fn add_seconds(run: &RunDir, stage: &str, took: Duration) -> Result<()> {
    let mut timings = run.timings();
    *timings.entry(stage.into()).or_default() += took.as_secs_f64();
    run.write_json(TIMINGS, &timings)
}

fn fresh(request: &Request, settings: &Settings) -> Result<OwnRun> {
    let run = OwnRun::create(&request.runs(), &settings.name)?;
    begin(&run, settings, None)?;
    Ok(run)
}

fn begin(run: &RunDir, settings: &Settings, fingerprint: Option<&str>) -> Result<()> {
    run.write(RESOLVED, settings.resolved.as_bytes())?;
    let record = RunRecord {
        pipeline: settings.name.clone(),
        version: crate::VERSION.into(),
        seed: settings.seed,
        device: settings.device.device.to_string(),
        platform: crate::platform(),
        data_fingerprint: fingerprint.map(str::to_owned),
        ..RunRecord::default()
    };
    run.write_json(RUN, &record)
}

fn resumed(request: &Request, settings: &Settings) -> Result<OwnRun> {
    let run = OwnRun::newest_unfinished(&request.runs(), &settings.name)?;
    let record = run.record()?;
    check_unchanged(&run, &settings.leaves, &record.version)?;
    if !record.done.is_empty() {
        run.link_latest()?;
    }
    Ok(run)
}

/// Refuses to continue what another version, or other settings, began.
///
/// # Errors
/// The first key that differs from the folder's `resolved.toml`, or the versions.
pub fn check_unchanged(run: &RunDir, leaves: &[(String, String)], version: &str) -> Result<()> {
    let began_with = settings::leaves(&run.file(RESOLVED), &run.read(RESOLVED)?)?;
    if let Some([key, before, now]) = difference(&began_with, leaves) {
        bail!(
            "{} was started with other settings: {key} was {before}, now is {now}; resume with the same settings, or \
             start a new run",
            run.path().display()
        );
    }
    if version != crate::VERSION {
        bail!(
            "{} was started by version {version}, this is version {}; start a new run",
            run.path().display(),
            crate::VERSION
        );
    }
    Ok(())
}
