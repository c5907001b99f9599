//! The lane of disturbed runs: cycles through the faults; after each the run is resumed and compared with the reference
//! run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fuzz::Rng;
use rustix::io::Errno;
use rustix::process::Signal;

use super::Torture;
use super::faults::{Call, Fault, Faults};
use super::ground::{Ground, Source};
use super::process::{Ended, Running, remove};
use super::table::Row;

/// Names for `--only`.
pub(super) const NAMES: [&str; 10] = [
    "kill-time",
    "kill-stage",
    "kill-call",
    "kill-experiment",
    "errors",
    "full-disk",
    "vanish",
    "two-resume",
    "two-phantom",
    "stderr",
];

/// The faults of a round; about half are kills.
const ROUND: [&str; 16] = [
    "kill-time",
    "errors",
    "kill-stage",
    "vanish",
    "kill-call",
    "stderr",
    "kill-time",
    "full-disk",
    "kill-stage",
    "two-resume",
    "kill-call",
    "errors",
    "kill-stage",
    "two-phantom",
    "errors",
    "kill-experiment",
];

const STAGES: usize = 8;

pub(super) fn lane(torture: &Torture<'_>) -> Result<()> {
    let asked: Vec<&str> = ROUND
        .into_iter()
        .filter(|name| torture.asked(name))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let stop = || torture.stopped();
    let mut lane = Lane {
        torture,
        demo: Ground::new(Source::Demo, &stop)?,
        folder: None,
        experiment: None,
        faults: None,
        rng: Rng::of_case("runs", torture.seed),
        stage: 0,
        number: 0,
    };
    lane.faults = lane.find_faults();
    // Each at least once, however short the time.
    let mut untried: BTreeSet<&str> = asked.iter().copied().collect();
    for name in asked.iter().cycle() {
        if torture.stopped() || (torture.time_is_over() && untried.is_empty()) {
            break;
        }
        if !untried.remove(name) && torture.time_is_over() {
            continue;
        }
        lane.number += 1;
        lane.accident(name)
            .with_context(|| format!("fault {name}"))?;
    }
    Ok(())
}

/// Maximum memory of a run of the tiny pipeline, in bytes.
const MEMORY: u64 = 256 << 20;

fn row(kind: &str) -> Row {
    Row {
        bound: MEMORY,
        ..Row::new(kind)
    }
}

struct Lane<'t> {
    torture: &'t Torture<'t>,
    demo: Ground,
    /// Created when first needed.
    folder: Option<Ground>,
    /// Created when first needed.
    experiment: Option<Ground>,
    faults: Option<Faults>,
    rng: Rng,
    /// The stage that was killed last.
    stage: usize,
    /// Number of faults so far.
    number: u64,
}

impl Lane<'_> {
    fn find_faults(&self) -> Option<Faults> {
        let wanted = ["kill-call", "errors"]
            .iter()
            .any(|name| self.torture.asked(name));
        if !wanted {
            return None;
        }
        match Faults::new(&self.demo, &|| self.torture.stopped()) {
            Ok(faults) => Some(faults),
            Err(error) => {
                let skipped = Some(format!("{error:#}"));
                self.torture.with_table(|table| {
                    for kind in ["kill at a call", "failing calls"] {
                        table.add(Row {
                            skipped: skipped.clone(),
                            ..row(kind)
                        });
                    }
                });
                None
            }
        }
    }

    fn accident(&mut self, name: &str) -> Result<()> {
        match name {
            "kill-time" => self.kill_at_a_time(),
            "kill-stage" => self.kill_in_a_stage(),
            "kill-call" => self.kill_at_a_call(),
            "kill-experiment" => self.kill_in_an_experiment(),
            "errors" => self.failing_call(),
            "full-disk" => self.full_disk(),
            "vanish" => self.vanishing_data(),
            "two-resume" => self.two_on_one_run(),
            "two-phantom" => self.two_on_one_phantom(),
            _ => self.closed_stderr(),
        }
    }

    fn stop(&self) -> impl Fn() -> bool {
        let interrupt = self.torture.interrupt.clone();
        move || interrupt.raised()
    }

    /// The run's command with a random number of threads, which must not affect the result.
    fn command(&mut self, resume: bool) -> Command {
        let mut command = self.demo.command(resume);
        command.env("RAYON_NUM_THREADS", ["1", "2", "5"][self.rng.below(3)]);
        command
    }

    /// Clears the place, but usually provides the phantoms, because drawing them is only a small part of a run.
    fn clear(&mut self) -> Result<()> {
        let phantoms = !self.rng.once_in(3);
        self.demo.clear(phantoms)
    }

    /// One to three kills in a row, at any time.
    fn kill_at_a_time(&mut self) -> Result<()> {
        self.clear()?;
        let mut row = row("kill at any time");
        for resume in [false, true, true] {
            let time = self.demo.takes.mul_f64(self.rng.below(1000) as f64 / 900.0);
            let signal = [Signal::KILL, Signal::KILL, Signal::TERM, Signal::INT][self.rng.below(4)];
            let resume = resume && !self.demo.runs().is_empty();
            let mut running = Running::start(self.command(resume))?;
            running.wait(time, |_| false)?;
            running.signal(signal)?;
            let ended = running.end(&self.stop())?;
            self.killed(&mut row, &ended);
            if ended.succeeded() || self.rng.once_in(2) {
                break;
            }
        }
        self.settle(row)
    }

    /// A kill in each stage in turn.
    fn kill_in_a_stage(&mut self) -> Result<()> {
        self.clear()?;
        let mut row = row("kill in each stage");
        self.stage = self.stage % STAGES + 1;
        let mark = format!("[{}/{STAGES}]", self.stage);
        let mut running = Running::start(self.command(false))?;
        running.wait(20 * self.demo.takes, |line| line.starts_with(&mark))?;
        // A stage takes about an eighth of a run.
        let time = self
            .demo
            .takes
            .mul_f64(self.rng.below(1000) as f64 / 6000.0);
        running.wait(time, |_| false)?;
        running.signal(Signal::KILL)?;
        let ended = running.end(&self.stop())?;
        self.killed(&mut row, &ended);
        self.settle(row)
    }

    /// One to three kills of an experiment in a row, at any time.
    fn kill_in_an_experiment(&mut self) -> Result<()> {
        let ground = match self.experiment.take() {
            Some(ground) => ground,
            None => Ground::new(Source::Experiment, &self.stop())?,
        };
        let done = self.kill_experiment(&ground);
        self.experiment = Some(ground);
        done
    }

    fn kill_experiment(&mut self, ground: &Ground) -> Result<()> {
        ground.clear(true)?;
        let mut row = row("kill in an experiment");
        for resume in [false, true, true] {
            let time = ground.takes.mul_f64(self.rng.below(1000) as f64 / 1200.0);
            let mut command = ground.command(resume && !ground.runs().is_empty());
            command.env("RAYON_NUM_THREADS", ["1", "2", "5"][self.rng.below(3)]);
            let mut running = Running::start(command)?;
            running.wait(time, |_| false)?;
            running.signal([Signal::KILL, Signal::KILL, Signal::INT][self.rng.below(3)])?;
            let ended = running.end(&self.stop())?;
            self.killed(&mut row, &ended);
            if ended.succeeded() || self.rng.once_in(2) {
                break;
            }
        }
        let settled = ground.settle(&self.stop())?;
        self.judge(row, &settled.ended, settled.wrong, ground)
    }

    fn kill_at_a_call(&mut self) -> Result<()> {
        let call = [Call::Write, Call::Fsync, Call::Rename][self.rng.below(3)];
        self.with_fault(row("kill at a call"), call, 0, false)
    }

    fn failing_call(&mut self) -> Result<()> {
        let kinds = [
            (Call::Write, Errno::NOSPC, "write: disk full"),
            (Call::Write, Errno::IO, "write: I/O error"),
            (Call::Fsync, Errno::IO, "fsync: I/O error"),
            (Call::Rename, Errno::ROFS, "rename: read-only"),
            (Call::Open, Errno::MFILE, "open: too many files"),
            (Call::Read, Errno::IO, "read: I/O error"),
        ];
        let (call, error, kind) = kinds[self.rng.below(kinds.len())];
        let lasts = self.rng.once_in(2);
        self.with_fault(row(kind), call, error.raw_os_error(), lasts)
    }

    fn with_fault(&mut self, mut row: Row, call: Call, error: i32, lasts: bool) -> Result<()> {
        let Some(calls) = self
            .faults
            .as_ref()
            .and_then(|faults| faults.calls.get(&call))
        else {
            return Ok(());
        };
        let at = 1 + self.rng.below(*calls as usize) as u64;
        let fault = Fault {
            call,
            at,
            error,
            lasts,
        };
        self.demo.clear(false)?;
        let mut command = self.command(false);
        if let Some(faults) = &self.faults {
            faults.arm(&mut command, &fault, &self.demo.place());
        }
        let ended = Running::start(command)?.end(&self.stop())?;
        match error {
            0 => self.killed(&mut row, &ended),
            _ => self.tried(&mut row, &ended),
        }
        self.settle(row)
    }

    /// A file system of limited size, which is enlarged afterwards.
    fn full_disk(&mut self) -> Result<()> {
        let mut row = row("full disk");
        self.demo.clear(false)?;
        let place = self.demo.place();
        let share = [0.02, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99][self.rng.below(10)];
        let size = (self.demo.bytes as f64 * share) as u64;
        let Some(_disk) = Disk::mount(&place, size) else {
            row.skipped = Some("mounting is not allowed here".into());
            self.torture.with_table(|table| table.add(row));
            return Ok(());
        };
        let ended = Running::start(self.command(false))?.end(&self.stop())?;
        self.tried(&mut row, &ended);
        Disk::resize(&place, 20 * self.demo.bytes + (64 << 20))?;
        self.settle(row)
    }

    /// The user's images disappear at some moment, either all, a folder of them, the masks, or one image, and come
    /// back.
    fn vanishing_data(&mut self) -> Result<()> {
        let ground = match self.folder.take() {
            Some(ground) => ground,
            None => Ground::new(Source::Folder, &self.stop())?,
        };
        let done = self.vanish(&ground);
        self.folder = Some(ground);
        done
    }

    fn vanish(&mut self, ground: &Ground) -> Result<()> {
        let mut row = row("vanishing data");
        ground.clear(false)?;
        let images = ground.data().join("images");
        let gone = match self.rng.below(4) {
            0 => images,
            1 => images.join("test/NORMAL"),
            2 => ground.data().join("masks"),
            _ => self.any_file(&images.join("test/PNEUMONIA"))?,
        };
        let time = ground.takes.mul_f64(self.rng.below(1000) as f64 / 1000.0);
        let mut running = Running::start(ground.command(false))?;
        running.wait(time, |_| false)?;
        match gone.is_dir() {
            true => remove(&gone)?,
            false => fs::remove_file(&gone)?,
        }
        let ended = running.end(&self.stop())?;
        self.tried(&mut row, &ended);
        // Data that were missing when they were indexed are not part of the run, which is then complete without them.
        let whole = ended.succeeded() && ground.begun_on_other_data()?;
        let wrong = match ended.succeeded() && !whole {
            true => ground.differences()?,
            false => None,
        };
        match whole {
            true => ground.clear(false)?,
            false => ground.restore_data()?,
        }
        let settled = ground.settle(&self.stop())?;
        let wrong = wrong.map(|wrong| format!("succeeds without its data, but {wrong}"));
        self.judge(row, &settled.ended, wrong.or(settled.wrong), ground)
    }

    fn any_file(&mut self, folder: &Path) -> Result<std::path::PathBuf> {
        let mut files: Vec<_> = fs::read_dir(folder)?
            .filter_map(|e| Some(e.ok()?.path()))
            .collect();
        files.sort();
        self.rng.pick(&files).cloned().context("no files")
    }

    /// Two processes resume one run: one continues it; the other is refused, or waits and finds it done.
    fn two_on_one_run(&mut self) -> Result<()> {
        self.clear()?;
        let mut row = row("two on one run");
        let mut running = Running::start(self.command(false))?;
        running.wait(20 * self.demo.takes, |line| line.starts_with("[4/"))?;
        running.signal(Signal::KILL)?;
        running.end(&self.stop())?;
        let first = Running::start(self.command(true))?;
        let delay = Duration::from_millis(self.rng.length(1000) as u64);
        std::thread::sleep(delay);
        let second = Running::start(self.command(true))?;
        let ended = [first.end(&self.stop())?, second.end(&self.stop())?];
        self.both(row.kind.as_str(), &ended)?;
        row.tries = 0;
        self.settle(row)
    }

    /// Two processes draw the same phantoms at once, each for a run of its own.
    fn two_on_one_phantom(&mut self) -> Result<()> {
        self.demo.clear(false)?;
        let row = row("two on one phantom");
        let first = Running::start(self.command(false))?;
        let delay = Duration::from_millis(self.rng.length(1000) as u64);
        std::thread::sleep(delay);
        let second = Running::start(self.command(false))?;
        let ended = [first.end(&self.stop())?, second.end(&self.stop())?];
        self.both(row.kind.as_str(), &ended)?;
        let done: Vec<_> = self
            .demo
            .runs()
            .into_iter()
            .filter(|run| run.join("report.md").is_file())
            .collect();
        for run in done {
            if let Some(wrong) = self.demo.differences_of(&run)? {
                return self.judge(row, &ended[0], Some(wrong), &self.demo);
            }
        }
        self.settle(row)
    }

    /// Counts how two processes ended; at least one has to succeed.
    fn both(&mut self, kind: &str, ended: &[Ended; 2]) -> Result<()> {
        let mut row = row(kind);
        ended.iter().for_each(|ended| self.tried(&mut row, ended));
        let through = ended.iter().any(Ended::succeeded) || self.torture.stopped();
        if !through {
            let said: Vec<String> = ended.iter().map(Ended::in_words).collect();
            return self.judge(
                row,
                &ended[0],
                Some(format!("neither succeeds: {}", said.join(" / "))),
                &self.demo,
            );
        }
        self.torture.with_table(|table| table.add(row));
        Ok(())
    }

    /// The run's stderr is not read, or cannot be written to.
    fn closed_stderr(&mut self) -> Result<()> {
        self.clear()?;
        let mut row = row("closed stderr");
        let mut command = self.command(false);
        match self.rng.below(3) {
            0 => drop(command.stderr(File::create("/dev/full").context("cannot open /dev/full")?)),
            1 => drop(command.stderr(broken_pipe()?)),
            _ => {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", "exec \"$0\" \"$@\" 2>&-"])
                    .arg(command.get_program())
                    .args(command.get_args());
                command = shell;
                command.stderr(Stdio::null());
            }
        }
        let ended = Running::start(command)?.end(&self.stop())?;
        self.tried(&mut row, &ended);
        let wrong = match ended.succeeded() {
            true => self.demo.differences()?,
            false => Some(format!("a run without stderr ends with {:?}", ended.status)),
        };
        self.judge(row, &ended, wrong, &self.demo)
    }

    /// Counts a run that was killed, or that ended before the signal.
    fn killed(&self, row: &mut Row, ended: &Ended) {
        // SIGINT, SIGKILL and SIGTERM were sent; 130 is the exit code after SIGINT.
        let sent = ended
            .signal()
            .is_some_and(|signal| [2, 9, 15].contains(&signal))
            || ended.code() == Some(130);
        match sent {
            true => {
                row.tries += 1;
                row.peak = row.peak.max(ended.peak);
            }
            false => self.tried(row, ended),
        }
    }

    /// Counts a run that had to handle a fault by itself.
    fn tried(&self, row: &mut Row, ended: &Ended) {
        row.tries += 1;
        row.peak = row.peak.max(ended.peak);
        if self.torture.stopped() {
            return;
        }
        match ended.status {
            None => row.hangs += 1,
            _ if ended.panicked() => row.panics += 1,
            _ if ended.signal().is_some() => row.deaths += 1,
            _ if ended.succeeded() => {}
            _ if ended.refused() => row.refused += 1,
            _ => row.wrong += 1,
        }
        if !ended.succeeded() && !ended.refused() {
            self.say(&row.kind, &ended.in_words());
        }
    }

    fn say(&self, kind: &str, what: &str) {
        let line = format!(
            "{kind}, fault {} of seed {}: {what}",
            self.number, self.torture.seed
        );
        self.torture.progress.say(&format!("  {line}"));
        self.torture.with_table(|table| table.failed(line));
    }

    /// Resumes, compares and counts.
    fn settle(&mut self, row: Row) -> Result<()> {
        let settled = self.demo.settle(&self.stop())?;
        self.judge(row, &settled.ended, settled.wrong, &self.demo)
    }

    fn judge(
        &self,
        mut row: Row,
        last: &Ended,
        wrong: Option<String>,
        ground: &Ground,
    ) -> Result<()> {
        if self.torture.stopped() {
            self.torture.with_table(|table| table.add(row));
            return Ok(());
        }
        row.peak = row.peak.max(last.peak);
        row.over += u64::from(row.peak > MEMORY);
        match wrong {
            None => row.succeeded += 1,
            Some(why) => {
                row.wrong += 1;
                let name = format!(
                    "{}-{}-{}",
                    row.kind.replace([' ', ':', '/'], "-"),
                    self.torture.seed,
                    self.number
                );
                let kept = ground.keep(&self.torture.failures, &name)?;
                self.say(&row.kind, &format!("{why} ({})", kept.display()));
            }
        }
        self.torture.with_table(|table| table.add(row));
        Ok(())
    }
}

/// The writing end of a pipe whose reading end is closed.
fn broken_pipe() -> Result<Stdio> {
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    drop(reader);
    Ok(writer.into())
}

/// An in-memory file system of limited size, unmounted on drop.
struct Disk<'p>(&'p Path);

impl<'p> Disk<'p> {
    fn mount(place: &'p Path, bytes: u64) -> Option<Self> {
        let options = format!("size={}", bytes / 4096 * 4096);
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(place);
        quietly(command).then_some(Self(place))
    }

    fn resize(place: &Path, bytes: u64) -> Result<()> {
        let mut command = Command::new("mount");
        command
            .args(["-o", &format!("remount,size={bytes}")])
            .arg(place);
        match quietly(command) {
            true => Ok(()),
            false => bail!("the disk at {} cannot be enlarged", place.display()),
        }
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        command.arg("-l").arg(self.0);
        quietly(command);
    }
}

fn quietly(mut command: Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
