//! The lane of mutated inputs: cycles through all targets.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fuzz::supervise::{self, HANG, Plan};
use fuzz::worker::{self, What};
use fuzz::{Failure, Target};

use super::Torture;
use super::table::Row;
use crate::commands::print;

/// All targets run at least this many times in the given time, so that the table has a row for each even after Ctrl-C.
const ROUNDS: u32 = 5;

/// In less time a worker would mostly make seeds.
const SHORTEST: Duration = Duration::from_secs(2);

pub(super) fn lane(torture: &Torture<'_>) -> Result<()> {
    let Some(worker) = &torture.worker else {
        return Ok(());
    };
    let targets: Vec<_> = fuzz::targets()
        .iter()
        .filter(|target| torture.asked(target.name()))
        .collect();
    let time = torture.end.saturating_duration_since(torture.start);
    let slice = (time / (ROUNDS * targets.len().max(1) as u32)).max(SHORTEST);
    // Each seed has its own range of cases.
    let mut next = vec![torture.seed << 32; targets.len()];
    while !targets.is_empty() && !torture.time_is_over() {
        for (target, next) in targets.iter().zip(&mut next) {
            let left = torture.end.saturating_duration_since(Instant::now());
            if left.is_zero() || torture.stopped() {
                break;
            }
            let cases = Slice {
                first: *next,
                time: slice.min(left),
            };
            *next += try_slice(torture, worker, **target, cases)?;
        }
    }
    Ok(())
}

/// Cases of a target for a limited time.
struct Slice {
    /// Number of the first.
    first: u64,
    time: Duration,
}

/// Runs the cases; returns their number.
fn try_slice(
    torture: &Torture<'_>,
    worker: &Path,
    target: &dyn Target,
    Slice { first, time }: Slice,
) -> Result<u64> {
    let plan = Plan {
        worker,
        what: What::Cases {
            first,
            count: 1 << 31,
            time,
        },
        failures: &torture.failures,
        hang: HANG,
    };
    let tick = || {
        torture.tick();
        torture.stopped()
    };
    let found = supervise::run(target, &plan, &tick)
        .with_context(|| format!("target {}", target.name()))?;
    let row = Row {
        kind: target.name().into(),
        tries: found.tries,
        refused: found.refused,
        succeeded: found.accepted,
        panics: found.panics,
        deaths: found.deaths,
        hangs: found.hangs,
        over: found.memory,
        wrong: found.wrong,
        peak: found.peak,
        bound: target.memory() as u64,
        inputs: true,
        skipped: None,
    };
    let kept: Vec<String> = found.failures.iter().filter_map(line).collect();
    kept.iter()
        .for_each(|line| torture.progress.say(&format!("  {line}")));
    torture.with_table(|table| {
        table.add(row);
        kept.into_iter().for_each(|line| table.failed(line));
    });
    Ok(found.tries)
}

/// The line of a failure that was kept; the others are of the same kind.
fn line(failure: &Failure) -> Option<String> {
    let kept = failure.kept.as_ref()?;
    Some(format!(
        "{}: {:?}: {} ({})",
        failure.target,
        failure.kind,
        failure.message.replace('\n', " "),
        kept.display()
    ))
}

/// Runs one input again: a kept folder, or any file as the input of a target.
pub(super) fn replay(program: &Path, path: &Path, target: Option<&str>) -> Result<ExitCode> {
    let (target, what) = match target {
        None => {
            let (target, input) = worker::kept(path).with_context(|| {
                format!(
                    "{} is not a kept input; for any other file pass --as TARGET",
                    path.display()
                )
            })?;
            (target, What::Folder(input))
        }
        Some(name) => (find(name)?, What::File(path.into())),
    };
    let failures = tempfile::tempdir().context("cannot make a temporary folder")?;
    let plan = Plan {
        worker: program,
        what,
        failures: failures.path(),
        hang: HANG,
    };
    let row = supervise::run(target, &plan, &|| false)?;
    let text = match (row.failures.first(), row.accepted) {
        (Some(failure), _) => format!("{:?}: {}", failure.kind, failure.message),
        (None, 0) => "refused".into(),
        (None, _) => "accepted".into(),
    };
    print(&format!("{}: {text}\n", target.name()))?;
    Ok(match row.good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn find(name: &str) -> Result<&'static dyn Target> {
    let known = || {
        fuzz::targets()
            .iter()
            .map(|target| target.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match fuzz::find(name) {
        Some(target) => Ok(target),
        None => bail!("no target \"{name}\"; available: {}", known()),
    }
}
