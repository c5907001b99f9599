//! A supervised run in a process of its own: how it ended, its stderr, and its peak memory.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Interval at which a process is checked.
const LOOK: Duration = Duration::from_millis(2);

/// Maximum time of a run, which takes two seconds, or ten times that on a busy machine with slow disks.
const HANG: Duration = Duration::from_secs(90);

/// A running process.
pub(super) struct Running {
    child: Child,
    since: Instant,
    said: Option<Said>,
    peak: u64,
}

/// The stderr of a process, line by line.
struct Said {
    lines: Receiver<String>,
    text: String,
    reader: JoinHandle<()>,
}

/// A process that has ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// `None` if it was ended for taking too long.
    pub(super) status: Option<ExitStatus>,
    pub(super) said: String,
    /// The highest peak memory that was observed, in bytes.
    pub(super) peak: u64,
}

impl Running {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Ctrl-C must reach only the supervising process.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let said = child.stderr.take().map(|stderr| {
            let (sender, lines) = channel();
            let reader = thread::spawn(move || {
                let said = BufReader::new(stderr).lines().map_while(Result::ok);
                // If the receiver is gone, the lines are no longer needed.
                said.for_each(|line| drop(sender.send(line)));
            });
            Said {
                lines,
                text: String::new(),
                reader,
            }
        });
        Ok(Self {
            child,
            since: Instant::now(),
            said,
            peak: 0,
        })
    }

    /// Waits for this time, or for a line that `until` accepts; returns false if the process has ended.
    pub(super) fn wait(&mut self, time: Duration, until: impl Fn(&str) -> bool) -> Result<bool> {
        let start = Instant::now();
        while start.elapsed() < time {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            self.look();
            if self
                .said
                .as_mut()
                .is_some_and(|said| said.next().is_some_and(|line| until(&line)))
            {
                break;
            }
            thread::sleep(LOOK);
        }
        Ok(self.child.try_wait()?.is_none())
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        match kill_process(pid, signal) {
            // It has ended by itself in the meantime.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("cannot send a signal"),
        }
    }

    /// Waits until the process ends, or kills it once `stop` returns true.
    pub(super) fn end(mut self, stop: &dyn Fn() -> bool) -> Result<Ended> {
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break Some(status);
            }
            self.look();
            if stop() || self.since.elapsed() > HANG {
                self.child.kill()?;
                self.child.wait()?;
                break None;
            }
            thread::sleep(LOOK);
        };
        let said = self.said.map(Said::all).unwrap_or_default();
        Ok(Ended {
            status,
            said,
            peak: self.peak,
        })
    }

    fn look(&mut self) {
        let peak = peak(self.child.id()).unwrap_or_default();
        self.peak = self.peak.max(peak);
    }
}

impl Said {
    fn next(&mut self) -> Option<String> {
        let line = self.lines.try_recv().ok()?;
        self.text += &line;
        self.text.push('\n');
        Some(line)
    }

    fn all(mut self) -> String {
        // The reader ends with the process's stderr.
        let _ = self.reader.join();
        while let Ok(line) = self.lines.try_recv() {
            self.text += &line;
            self.text.push('\n');
        }
        self.text
    }
}

/// The peak memory of a process in bytes, as counted by Linux.
fn peak(pid: u32) -> Option<u64> {
    let mut text = String::new();
    File::open(format!("/proc/{pid}/status"))
        .ok()?
        .read_to_string(&mut text)
        .ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

impl Ended {
    pub(super) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Whether it ended with an error message.
    pub(super) fn refused(&self) -> bool {
        self.code() == Some(1) && self.said.contains("error: ")
    }

    pub(super) fn panicked(&self) -> bool {
        self.code() == Some(101) || self.said.contains("panicked at")
    }

    pub(super) fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    pub(super) fn signal(&self) -> Option<i32> {
        self.status.and_then(|status| status.signal())
    }

    /// A description of how it ended, with the error.
    pub(super) fn in_words(&self) -> String {
        let error = self
            .said
            .lines()
            .skip_while(|line| !line.contains("error: ") && !line.contains("panicked"));
        let error: Vec<&str> = error.take(3).collect();
        match self.status {
            None => "did not end".into(),
            Some(status) => format!("{status}: {}", error.join(" ")),
        }
    }
}

/// Removes a folder that may not be there.
pub(super) fn remove(folder: &std::path::Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
