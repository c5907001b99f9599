//! `cargo xtask torture`: mutated inputs in one lane, broken runs in another, until the time is over; then a table.
//!
//! Inputs are tried in processes of the crate `fuzz`. Runs are those of this very program on a pipeline of two seconds
//! (`tiny.toml`): killed, refused their files, robbed of their data, and then resumed, which must give the bytes of a
//! run that nothing befell.

mod faults;
mod ground;
mod inputs;
mod process;
mod runs;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use pipeline::{Interrupt, Job, Progress};

use crate::cli::TortureArgs;
use crate::{INTERRUPTED, print};
use table::Table;

/// What the lanes share.
struct Torture<'t> {
    args: &'t TortureArgs,
    interrupt: &'t Interrupt,
    /// The worker of the crate `fuzz`.
    worker: PathBuf,
    /// Where failing inputs and the folders of failed runs are kept.
    failures: PathBuf,
    seed: u64,
    end: Instant,
    table: Mutex<Table>,
    progress: Job,
    start: Instant,
}

/// Everything that was asked for, or one input again; the exit code is 1 if anything went wrong.
pub(crate) fn run(root: &Path, args: &TortureArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let worker = build_worker(root)?;
    if let Some(path) = &args.replay {
        return inputs::replay(&worker, path, args.target.as_deref());
    }
    check_names(&args.only)?;
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

/// The crate's program is none of this one's dependencies, whose library alone cargo would build.
fn build_worker(root: &Path) -> Result<PathBuf> {
    crate::test::step(root, &["build", "--release", "--package", "fuzz"], &[])?;
    let this = std::env::current_exe().context("cannot tell where this program lies")?;
    let worker = this.with_file_name("fuzz");
    match worker.is_file() {
        true => Ok(worker),
        false => bail!(
            "{} is not there: start this by `cargo xtask torture`",
            worker.display()
        ),
    }
}

/// Another seed for every run, which the table names.
fn by_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

fn check_names(only: &[String]) -> Result<()> {
    let targets = fuzz::targets().iter().map(|target| target.name());
    let known: Vec<&str> = targets.chain(runs::NAMES).collect();
    match only.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => bail!(
            "--only {name}: there is no such kind; there are {}",
            known.join(", ")
        ),
        None => Ok(()),
    }
}

impl Torture<'_> {
    /// Both at once, a core each.
    fn lanes(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let inputs = scope.spawn(|| inputs::lane(self));
            let runs = runs::lane(self);
            let inputs = inputs
                .join()
                .unwrap_or_else(|_| bail!("the lane of inputs panicked"));
            runs.and(inputs)
        })
    }

    fn asked(&self, name: &str) -> bool {
        self.args.only.is_empty() || self.args.only.iter().any(|only| only == name)
    }

    /// Whether to stop now, whatever is going on.
    fn stopped(&self) -> bool {
        self.interrupt.raised()
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
