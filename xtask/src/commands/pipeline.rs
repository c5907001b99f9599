//! `cargo xtask pipeline`: runs a pipeline, and prints the command that resumes an interrupted run.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use terminal::{Interrupt, Interrupted, Progress};

use super::{INTERRUPTED, request, set_threads};
use crate::cli::PipelineArgs;

pub(crate) fn run(args: &PipelineArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    if let Some(threads) = args.threads {
        set_threads(threads)?;
    }
    let request = request(&args.settings, args.out.as_deref());
    let ended = pipeline::run(&request, args.resume, Progress::Shown, interrupt);
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
