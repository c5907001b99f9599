//! `cargo xtask experiment`: runs all combinations of an experiment.

use std::process::ExitCode;

use anyhow::Result;
use terminal::{Interrupt, Progress};

use super::{pipeline, request, set_threads};
use crate::cli::PipelineArgs;

pub(crate) fn run(args: &PipelineArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    if let Some(threads) = args.threads {
        set_threads(threads)?;
    }
    let request = request(&args.settings, args.out.as_deref());
    let ended = ::experiment::run(&request, args.resume, Progress::Shown, interrupt);
    pipeline::end(args, ended)
}
