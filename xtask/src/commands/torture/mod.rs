//! `cargo xtask torture`: mutated inputs in one lane and disturbed runs in another until the time is over; then a
//! table.
//!
//! Inputs run in processes of the crate `fuzz`. Runs are those of this program itself on a pipeline of two seconds
//! (`tiny.toml`): they are killed, their file operations fail, or their data are removed, and then they are resumed,
//! which must give the same bytes as an undisturbed run.

mod faults;
mod ground;
mod inputs;
mod process;
mod runs;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use terminal::{Interrupt, Job, Progress};

use crate::cli::TortureArgs;
use crate::commands::{INTERRUPTED, print};
use table::Table;

/// What the lanes share.
struct Torture<'t> {
    args: &'t TortureArgs,
    interrupt: &'t Interrupt,
    /// The program of the crate `fuzz`; `None` if no inputs are requested.
    worker: Option<PathBuf>,
    /// Folder in which failing inputs and the folders of failed runs are kept.
    failures: PathBuf,
    seed: u64,
    end: Instant,
    table: Mutex<Table>,
    progress: Job,
    start: Instant,
    /// A lane has ended with an error, so the other stops.
    broken: AtomicBool,
}

/// Runs everything that was requested, or one input again; the exit code is 1 if anything went wrong.
pub(crate) fn run(root: &Path, args: &TortureArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    if let Some(path) = &args.replay {
        return inputs::replay(&build_worker(root)?, path, args.target.as_deref());
    }
    check_names(&args.only)?;
    let inputs = args.only.is_empty() || args.only.iter().any(|name| fuzz::find(name).is_some());
    let worker = inputs.then(|| build_worker(root)).transpose()?;
    let start = Instant::now();
    let time = Duration::from_secs_f64(60.0 * args.minutes);
    let torture = Torture {
        args,
        interrupt,
        worker,
        failures: args
            .failures
            .clone()
            .unwrap_or_else(|| root.join("fuzz-failures")),
        seed: args.seed.unwrap_or_else(by_clock),
        end: start + time,
        table: Mutex::default(),
        progress: Progress::Shown.job("torture", "seconds", time.as_secs()),
        start,
        broken: AtomicBool::new(false),
    };
    torture.lanes()?;
    let table = torture
        .table
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    drop(torture.progress);
    print(&table.show(torture.seed, start.elapsed()))?;
    Ok(match (table.good(), interrupt.raised()) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::from(INTERRUPTED),
        (true, false) => ExitCode::SUCCESS,
    })
}

/// Builds the program of the crate `fuzz`: of a dependency, cargo builds only the library.
fn build_worker(root: &Path) -> Result<PathBuf> {
    // Both packages, because a single package would be built with other features and so rebuild its dependencies.
    let line = [
        "build",
        "--release",
        "--package",
        "xtask",
        "--package",
        "fuzz",
    ];
    crate::commands::test::step(root, &line, &[])?;
    let this = std::env::current_exe().context("cannot find the path of this program")?;
    let worker = this.with_file_name("fuzz");
    match worker.is_file() {
        true => Ok(worker),
        false => bail!(
            "{} does not exist: start this command with `cargo xtask torture`",
            worker.display()
        ),
    }
}

/// A different seed for every run, which the table states.
fn by_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

fn check_names(only: &[String]) -> Result<()> {
    let targets = fuzz::targets().iter().map(|target| target.name());
    let known: Vec<&str> = targets.chain(runs::NAMES).collect();
    match only.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => bail!(
            "--only {name}: no such kind; available: {}",
            known.join(", ")
        ),
        None => Ok(()),
    }
}

impl Torture<'_> {
    /// Runs both lanes at once, on one core each.
    fn lanes(&self) -> Result<()> {
        let watched = |lane: fn(&Torture<'_>) -> Result<()>| {
            let ended = lane(self);
            self.broken.fetch_or(ended.is_err(), Ordering::SeqCst);
            ended
        };
        std::thread::scope(|scope| {
            let inputs = scope.spawn(move || watched(inputs::lane));
            let runs = watched(runs::lane);
            let inputs = inputs
                .join()
                .unwrap_or_else(|_| bail!("the lane of inputs panicked"));
            runs.and(inputs)
        })
    }

    fn asked(&self, name: &str) -> bool {
        self.args.only.is_empty() || self.args.only.iter().any(|only| only == name)
    }

    /// Whether to stop immediately.
    fn stopped(&self) -> bool {
        self.interrupt.raised() || self.broken.load(Ordering::SeqCst)
    }

    fn time_is_over(&self) -> bool {
        self.stopped() || Instant::now() >= self.end
    }

    fn with_table(&self, change: impl FnOnce(&mut Table)) {
        change(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner));
        self.tick();
    }

    fn tick(&self) {
        self.progress.at(self.start.elapsed().as_secs());
    }
}
