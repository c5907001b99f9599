//! Starts workers, detects when they hang or die, and continues after the input that caused it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::worker::{self, Job, Status, What};
use crate::{Failure, Kind, Target};

/// Maximum time that an input may take.
pub const HANG: Duration = Duration::from_secs(5);

/// Maximum time until the first case, in which the seeds are made.
const START: Duration = Duration::from_secs(120);

/// Interval at which a worker is checked.
const LOOK: Duration = Duration::from_millis(20);

/// The results of a target's cases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Cases tried.
    pub tries: u64,
    /// Refused with an error.
    pub refused: u64,
    /// Accepted.
    pub accepted: u64,
    /// Panics that reached the caller.
    pub panics: u64,
    /// Ended by a signal.
    pub deaths: u64,
    /// Ended for exceeding the memory limit.
    pub memory: u64,
    /// Ended after [`HANG`].
    pub hangs: u64,
    /// Wrong results.
    pub wrong: u64,
    /// Peak of allocated bytes.
    pub peak: u64,
    /// Time of the slowest case that ended by itself.
    pub slowest: Duration,
    /// All failures, the first of each kind with the folder in which it is kept.
    pub failures: Vec<Failure>,
}

impl Row {
    /// Whether no case failed.
    pub fn good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Adds the results of another run of the target.
    pub fn add(&mut self, other: Row) {
        self.tries += other.tries;
        self.refused += other.refused;
        self.accepted += other.accepted;
        self.peak = self.peak.max(other.peak);
        self.slowest = self.slowest.max(other.slowest);
        other
            .failures
            .into_iter()
            .for_each(|failure| self.fail(failure));
    }

    fn fail(&mut self, failure: Failure) {
        let count = match failure.kind {
            Kind::Panic => &mut self.panics,
            Kind::Death => &mut self.deaths,
            Kind::Memory => &mut self.memory,
            Kind::Hang => &mut self.hangs,
            Kind::Wrong => &mut self.wrong,
        };
        *count += 1;
        self.failures.push(failure);
    }

    fn count(&mut self, status: &Status) {
        self.refused += status.refused;
        self.accepted += status.accepted;
        self.tries += status.refused + status.accepted + status.failed;
        self.peak = self.peak.max(status.peak);
        self.slowest = self.slowest.max(Duration::from_micros(status.slowest));
    }
}

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Plan<'p> {
    /// The worker's program.
    pub worker: &'p Path,
    /// The cases.
    pub what: What,
    /// Folder in which failing inputs are kept.
    pub failures: &'p Path,
    /// Maximum time that an input may take: [`HANG`] except in tests of this module.
    pub hang: Duration,
}

/// Runs a target's cases. `stop` is called often; once it returns true, the results so far are returned.
///
/// # Errors
/// The worker cannot start, or reports an error.
pub fn run(target: &dyn Target, plan: &Plan<'_>, stop: &dyn Fn() -> bool) -> Result<Row> {
    let home = scratch()?;
    let mut row = Row::default();
    let mut what = plan.what.clone();
    let start = Instant::now();
    loop {
        let job = Job {
            target: target.name().into(),
            what: what.clone(),
            home: home.path().into(),
            failures: plan.failures.into(),
        };
        let ended = Worker::start(plan.worker, &job)?.watch(plan.hang, stop)?;
        row.count(&ended.status);
        ended
            .failures
            .into_iter()
            .for_each(|failure| row.fail(failure));
        let Some((kind, message)) = ended.died else {
            return Ok(row);
        };
        row.tries += 1;
        let failure = Failure {
            target: target.name().into(),
            case: ended.status.case,
            kind,
            message,
            kept: None,
        };
        row.fail(worker::keep(
            failure,
            &worker::input(home.path()),
            plan.failures,
        )?);
        match behind(&plan.what, ended.status.case, start.elapsed()) {
            Some(rest) => what = rest,
            None => return Ok(row),
        }
    }
}

/// A temporary folder, in memory where possible, because a case is a few files that exist for a millisecond.
fn scratch() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let made = tempfile::Builder::new().prefix("fuzz-").tempdir_in(memory);
    made.or_else(|_| tempfile::tempdir())
        .context("cannot make a temporary folder")
}

/// The cases after one that ended its worker; `None` if none are left.
fn behind(what: &What, case: u64, elapsed: Duration) -> Option<What> {
    let What::Cases { first, count, time } = what else {
        return None;
    };
    let next = case.checked_add(1)?;
    let count = count
        .checked_sub(next.checked_sub(*first)?)
        .filter(|count| *count > 0)?;
    let time = time.checked_sub(elapsed)?;
    Some(What::Cases {
        first: next,
        count,
        time,
    })
}

struct Worker {
    child: Child,
    status: File,
    said: PathBuf,
    failures: thread::JoinHandle<Vec<Failure>>,
}

struct Ended {
    status: Status,
    failures: Vec<Failure>,
    /// How it died; `None` if it did not.
    died: Option<(Kind, String)>,
}

impl Worker {
    fn start(program: &Path, job: &Job) -> Result<Self> {
        let status = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(Status::file(&job.home))?;
        let starting = Status {
            case: Status::STARTING,
            ..Status::default()
        };
        starting.write(&status)?;
        let said = job.home.join("stderr");
        let mut child = Command::new(program)
            .arg(serde_json::to_string(job)?)
            // One thread is enough for inputs of a few kB, and workers may run in parallel, one per core.
            .envs([
                ("RAYON_NUM_THREADS", "1"),
                ("POLARS_MAX_THREADS", "1"),
                ("RUST_BACKTRACE", "0"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&said)?)
            // Ctrl-C must reach only the supervising process.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let out = child.stdout.take().context("the worker has no stdout")?;
        Ok(Self {
            child,
            status,
            said,
            failures: thread::spawn(move || failures(out)),
        })
    }

    fn watch(mut self, hang: Duration, stop: &dyn Fn() -> bool) -> Result<Ended> {
        let (mut case, mut since) = (Status::STARTING, Instant::now());
        let died = loop {
            if let Some(status) = self.child.try_wait()? {
                break self.cause(status)?;
            }
            let now = Status::read(&self.status)?.case;
            if now != case {
                (case, since) = (now, Instant::now());
            }
            let limit = if case == Status::STARTING {
                START
            } else {
                hang
            };
            if since.elapsed() > limit {
                self.end()?;
                break Some((Kind::Hang, format!("no end within {} s", limit.as_secs())));
            }
            if stop() {
                self.end()?;
                break None;
            }
            thread::sleep(LOOK);
        };
        let status = Status::read(&self.status)?;
        if died.is_some() && status.case == Status::STARTING {
            bail!(
                "a worker died before its first case: {}",
                fs::read_to_string(&self.said)?.trim()
            );
        }
        // The thread ends with the worker's stdout.
        let failures = self.failures.join().unwrap_or_default();
        Ok(Ended {
            status,
            failures,
            died,
        })
    }

    fn end(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// How a worker died; `None` if it succeeded.
    fn cause(&self, status: ExitStatus) -> Result<Option<(Kind, String)>> {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        const TELLING: [&str; 3] = ["memory allocation of", "overflowed its stack", "error:"];
        let telling = |line: &&str| TELLING.iter().any(|word| line.contains(word));
        let last = said
            .lines()
            .find(telling)
            .or(said.lines().last())
            .unwrap_or_default();
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(None),
            (Some(code), _) => bail!("a worker ended with {code}: {last}"),
            (None, signal) => {
                let kind = match said.contains("memory allocation of") {
                    true => Kind::Memory,
                    false => Kind::Death,
                };
                Ok(Some((
                    kind,
                    format!("signal {}: {last}", signal.unwrap_or_default()),
                )))
            }
        }
    }
}

fn failures(out: ChildStdout) -> Vec<Failure> {
    let lines = BufReader::new(out).lines().map_while(Result::ok);
    lines
        .filter_map(|line| serde_json::from_str(&line).ok())
        .collect()
}
