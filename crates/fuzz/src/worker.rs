//! Runs cases one after another, in a process that a case may kill.
//!
//! The supervising process reads the current case from a small status file ([`Status`]) and finds the input in its
//! folder, so that a dying worker does not have to report anything.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{Failure, Kind, Outcome, Rng, Session, Target, case};

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Name of the target.
    pub target: String,
    /// Its cases.
    pub what: What,
    /// A folder for the session, its inputs and its status.
    pub home: PathBuf,
    /// Folder in which failing inputs are kept.
    pub failures: PathBuf,
}

/// Generated cases, or an existing input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Cases from this number on, up to a count and a time.
    Cases {
        /// First number.
        first: u64,
        /// Maximum number of cases.
        count: u64,
        /// Maximum time.
        time: Duration,
    },
    /// The files of a folder.
    Folder(PathBuf),
    /// One file, used in place of the target's own.
    File(PathBuf),
}

/// The process's memory, as counted by its allocator.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Sets the limit, in bytes.
    pub limit: fn(usize),
    /// Returns the peak of allocated bytes.
    pub peak: fn() -> usize,
}

/// The state of a worker as seen from outside: numbers in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The case being tried; [`Status::STARTING`] before the first.
    pub case: u64,
    /// Cases refused.
    pub refused: u64,
    /// Cases accepted.
    pub accepted: u64,
    /// Cases that panicked or were wrong.
    pub failed: u64,
    /// Peak of allocated bytes.
    pub peak: u64,
    /// Time of the slowest case, in microseconds.
    pub slowest: u64,
}

impl Status {
    /// Value of `case` before the first case.
    pub const STARTING: u64 = u64::MAX;

    /// The status file of the worker with this home folder.
    pub fn file(home: &Path) -> PathBuf {
        home.join("status")
    }

    /// Overwrites the status in the file.
    ///
    /// # Errors
    /// An I/O error.
    pub fn write(&self, file: &File) -> io::Result<()> {
        let numbers = [
            self.case,
            self.refused,
            self.accepted,
            self.failed,
            self.peak,
            self.slowest,
        ];
        file.write_all_at(numbers.map(u64::to_le_bytes).as_flattened(), 0)
    }

    /// Reads the status from the file.
    ///
    /// # Errors
    /// An I/O error.
    pub fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [[0; 8]; 6];
        file.read_exact_at(bytes.as_flattened_mut(), 0)?;
        let [case, refused, accepted, failed, peak, slowest] = bytes.map(u64::from_le_bytes);
        Ok(Self {
            case,
            refused,
            accepted,
            failed,
            peak,
            slowest,
        })
    }
}

/// The folder that a case is written to.
pub fn input(home: &Path) -> PathBuf {
    home.join("input")
}

/// Runs a job; each failure is one line of JSON on stdout.
///
/// # Errors
/// An unknown target, seeds that cannot be made, a home that cannot be written.
pub fn work(job: &Job, memory: Memory) -> Result<()> {
    thread::spawn(end_with_parent);
    let target = crate::find(&job.target).with_context(|| format!("no target {}", job.target))?;
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !TRYING.load(Ordering::SeqCst) {
            return usual(info);
        }
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(info.to_string());
    }));
    let home = job.home.join("session");
    fs::create_dir_all(&home)?;
    let mut session = target.open(&home).context("the seeds cannot be made")?;
    (memory.limit)(target.memory());
    let status = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(Status::file(&job.home))?;
    let mut worker = Worker {
        job,
        memory,
        status,
        now: Status::default(),
    };
    match &job.what {
        What::Cases { first, count, time } => worker.cases(session.as_mut(), *first, *count, *time),
        What::Folder(folder) => {
            let _ = fs::remove_dir_all(input(&job.home)); // usually absent
            case::copy(folder, &input(&job.home))?;
            worker.attempt(session.as_mut(), 0)
        }
        What::File(file) => {
            case::Case::file(target.file(), fs::read(file)?).lay(&input(&job.home))?;
            worker.attempt(session.as_mut(), 0)
        }
    }
}

/// Whether the code under test is running, whose panics are counted; other panics are this crate's, and end the
/// process.
static TRYING: AtomicBool = AtomicBool::new(false);

/// Message and location of the last panic.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Ends the process when its parent ends: the parent holds its stdin open.
fn end_with_parent() {
    let _ = io::stdin().read(&mut [0]);
    std::process::exit(0);
}

struct Worker<'j> {
    job: &'j Job,
    memory: Memory,
    status: File,
    now: Status,
}

impl Worker<'_> {
    fn cases(
        &mut self,
        session: &mut dyn Session,
        first: u64,
        count: u64,
        time: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        for number in (first..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
            let case = session.case(&mut Rng::of_case(&self.job.target, number));
            case.lay(&input(&self.job.home))
                .context("a case cannot be written")?;
            self.attempt(session, number)?;
            if start.elapsed() >= time {
                break;
            }
        }
        Ok(())
    }

    /// Runs the target on the input in its folder.
    fn attempt(&mut self, session: &mut dyn Session, number: u64) -> Result<()> {
        self.now.case = number;
        self.now.write(&self.status)?;
        let start = Instant::now();
        TRYING.store(true, Ordering::SeqCst);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| session.run(&input(&self.job.home))));
        TRYING.store(false, Ordering::SeqCst);
        let took = start.elapsed().as_micros() as u64;
        self.now.slowest = self.now.slowest.max(took);
        self.now.peak = (self.memory.peak)() as u64;
        match outcome {
            Ok(Outcome::Refused) => self.now.refused += 1,
            Ok(Outcome::Accepted) => self.now.accepted += 1,
            Ok(Outcome::Wrong(why)) => self.failed(number, Kind::Wrong, why)?,
            Err(_) => {
                let message = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.failed(number, Kind::Panic, message.unwrap_or_default())?;
            }
        }
        Ok(self.now.write(&self.status)?)
    }

    fn failed(&mut self, number: u64, kind: Kind, message: String) -> Result<()> {
        self.now.failed += 1;
        let failure = Failure {
            target: self.job.target.clone(),
            case: number,
            kind,
            // The home folder differs between runs.
            message: message.replace(&*self.job.home.to_string_lossy(), "…"),
            kept: None,
        };
        let failure = keep(failure, &input(&self.job.home), &self.job.failures)?;
        let mut line = serde_json::to_string(&failure)?;
        line.push('\n');
        Ok(io::stdout().write_all(line.as_bytes())?)
    }
}

/// Maximum number of inputs that are kept per kind of failure.
const KEPT: usize = 3;

/// The description of a kept input.
pub const DESCRIPTION: &str = "failure.json";

/// The files of a kept input.
pub const INPUT: &str = "input";

/// Copies a failing input to `failures/<target>/<kind>-<hash of message>-<case>/`, unless there are enough of its kind.
///
/// # Errors
/// The input cannot be copied.
pub fn keep(mut failure: Failure, input: &Path, failures: &Path) -> Result<Failure> {
    let folder = failures.join(&failure.target);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let sort = format!("{:?}-{:08x}-", failure.kind, sort(&failure.message)).to_lowercase();
    let names = fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.file_name()));
    let known = names
        .filter(|name| name.to_string_lossy().starts_with(&sort))
        .count();
    if known < KEPT {
        let place = folder.join(format!("{sort}{}", failure.case));
        case::copy(input, &place.join(INPUT))
            .with_context(|| format!("cannot keep {}", place.display()))?;
        let text = serde_json::to_string_pretty(&failure)?;
        fs::write(place.join(DESCRIPTION), text)?;
        failure.kept = Some(place);
    }
    Ok(failure)
}

/// A hash that is the same for messages that differ only in numbers.
fn sort(message: &str) -> u32 {
    let words: String = message
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .take(120)
        .collect();
    crc32fast::hash(words.as_bytes())
}

/// The target of a kept input, and the input's folder.
///
/// # Errors
/// The folder was not written by [`keep`].
pub fn kept(folder: &Path) -> Result<(&'static dyn Target, PathBuf)> {
    let file = folder.join(DESCRIPTION);
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let failure: Failure =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let target = crate::find(&failure.target);
    let target = target.with_context(|| {
        format!(
            "{} is for an unknown target, {}",
            file.display(),
            failure.target
        )
    })?;
    Ok((target, folder.join(INPUT)))
}
