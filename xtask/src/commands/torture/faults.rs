//! Faults at the Nth system call, injected by a small C library that is loaded into the program under test.
//!
//! The reason: this tests the program as it ships, without a switch in it or a layer around its file access; strace and
//! seccomp need permissions or tools that are not available everywhere, and slow each call down; a C compiler is needed
//! to build this project anyway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::ground::Ground;
use super::process::Running;

const SOURCE: &str = include_str!("faults.c");

/// Kinds of calls that are counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    Write,
    Fsync,
    Rename,
    Open,
    Read,
}

impl Call {
    pub(super) const ALL: [Self; 5] = [
        Self::Write,
        Self::Fsync,
        Self::Rename,
        Self::Open,
        Self::Read,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Fsync => "fsync",
            Self::Rename => "rename",
            Self::Open => "open",
            Self::Read => "read",
        }
    }
}

/// A fault at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) call: Call,
    /// Number of the call, from 1.
    pub(super) at: u64,
    /// The errno; 0 kills the process.
    pub(super) error: i32,
    /// Whether all later calls fail as well.
    pub(super) lasts: bool,
}

/// The library, and how many calls of each kind an undisturbed run makes.
pub(super) struct Faults {
    library: PathBuf,
    pub(super) calls: BTreeMap<Call, u64>,
    /// Contains the library.
    _home: tempfile::TempDir,
}

impl Faults {
    /// Compiles the library and counts the calls.
    ///
    /// # Errors
    /// There is no C compiler, or the library cannot be loaded.
    pub(super) fn new(ground: &Ground, stop: &dyn Fn() -> bool) -> Result<Self> {
        let home = tempfile::tempdir().context("cannot make a temporary folder")?;
        let library = compile(home.path())?;
        let mut faults = Self {
            library,
            calls: BTreeMap::new(),
            _home: home,
        };
        for call in Call::ALL {
            let count = faults.count(call, ground, stop)?;
            faults.calls.insert(call, count);
        }
        Ok(faults)
    }

    fn count(&self, call: Call, ground: &Ground, stop: &dyn Fn() -> bool) -> Result<u64> {
        let file = self.library.with_file_name("count");
        ground.clear(false)?;
        let mut command = ground.command(false);
        let none = Fault {
            call,
            at: 0,
            error: 0,
            lasts: false,
        };
        self.arm(&mut command, &none, &ground.place());
        command.env("FAULT_COUNT", &file);
        Running::start(command)?.end(stop)?;
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match text.trim().parse() {
            Ok(0) | Err(_) => bail!(
                "no calls of {} were counted: the library is not loaded",
                call.name()
            ),
            Ok(count) => Ok(count),
        }
    }

    /// Sets the environment that loads the library into a program.
    pub(super) fn arm(&self, command: &mut Command, fault: &Fault, under: &Path) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAULT_CALL", fault.call.name())
            .env("FAULT_UNDER", under)
            .env("FAULT_AT", fault.at.to_string())
            .env("FAULT_ERROR", fault.error.to_string())
            .env("FAULT_LASTS", u8::from(fault.lasts).to_string());
    }
}

fn compile(home: &Path) -> Result<PathBuf> {
    let (source, library) = (home.join("faults.c"), home.join("faults.so"));
    std::fs::write(&source, SOURCE)?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output()
        .with_context(|| format!("cannot run {}", compiler.display()))?;
    match output.status.success() {
        true => Ok(library),
        false => bail!(
            "{}: {}",
            compiler.display(),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}
