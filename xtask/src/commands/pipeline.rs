//! `cargo xtask pipeline`: runs a pipeline, and prints the command that resumes an interrupted run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use collective::mpi::{self, Mpi};
use collective::{Alone, Collective};
use terminal::{Interrupt, Interrupted, Progress};

use super::{INTERRUPTED, report, request, set_threads};
use crate::cli::PipelineArgs;

/// How long a process that cannot go on waits for the others to come to the same end: they reach it together, but for
/// what a busy machine delays.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the launcher may take to forward what a process has said.
const FORWARDED: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &PipelineArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let Some(launcher) = mpi::launcher() else {
        return run_on(&Alone, args, interrupt);
    };
    let processes = Mpi::join(launcher)?;
    match run_on(&processes, args, interrupt) {
        Ok(code) if code == ExitCode::SUCCESS => Ok(code),
        Ok(_interrupted) => Ok(leave(&processes, INTERRUPTED, None)),
        Err(error) => Ok(leave(&processes, 1, Some(error))),
    }
}

/// Ends a process that cannot go on, and with it the job. Where all have come to the same error, rank 0 speaks for them
/// and each ends by itself; otherwise this one says why, and ends those that may be waiting for it.
fn leave(processes: &Mpi, code: u8, error: Option<anyhow::Error>) -> ExitCode {
    let error = error.map(|error| error.context(format!("process {}", processes.rank())));
    let first = processes.rank() == 0;
    if first {
        error.iter().for_each(report);
    }
    if !processes.all_leave(PATIENCE) {
        if !first {
            error.iter().for_each(report);
        }
        thread::sleep(FORWARDED);
        processes.abort(code);
    }
    ExitCode::from(code)
}

/// Runs the pipeline as one of these processes; that of rank 0 alone speaks.
fn run_on(
    processes: &dyn Collective,
    args: &PipelineArgs,
    interrupt: &Interrupt,
) -> Result<ExitCode> {
    match args.threads {
        Some(threads) => set_threads(threads)?,
        None if processes.size() > 1 => set_threads(collective::threads_of(processes)?)?,
        None => {}
    }
    let request = request(&args.settings, args.out.as_deref());
    let shown = (Progress::Shown, interrupt);
    let ended = pipeline::run_on(processes, &request, args.resume, shown);
    if processes.rank() > 0 {
        return ended.map(|_| ExitCode::SUCCESS);
    }
    end(args, ended.map(|finished| finished.folder))
}

/// Prints the path of the report, or how to resume what was interrupted.
pub(super) fn end(args: &PipelineArgs, ended: Result<PathBuf>) -> Result<ExitCode> {
    match ended {
        Ok(folder) => {
            // The run is complete even if its path cannot be printed.
            let report = folder.join("report.md");
            let _ = terminal::print(&format!("{}\n", report.display()));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.downcast_ref::<Interrupted>().is_some() => {
            terminal::say(&format!(
                "interrupted; completed work is kept. Resume with:\n  {}",
                resume_command(args)
            ));
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error),
    }
}

/// The command that was typed, with `--resume`.
fn resume_command(args: &PipelineArgs) -> String {
    let typed = std::env::args().skip(1).map(|arg| quoted(&arg));
    let resume = (!args.resume).then(|| "--resume".to_owned());
    std::iter::once(terminal::program().to_owned())
        .chain(typed)
        .chain(resume)
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.into()
    } else {
        format!("'{}'", arg.replace('\'', r"'\''"))
    }
}
