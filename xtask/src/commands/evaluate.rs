//! `cargo xtask evaluate`: a trained model on another data set.

use std::process::ExitCode;

use anyhow::Result;
use runs::external::{Request, Split, evaluate};
use terminal::{Interrupt, Progress};

use super::root;
use crate::cli::{EvaluateArgs, EvaluatedSplit};

pub(crate) fn run(args: &EvaluateArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let request = Request {
        model: args.model.clone(),
        data: args.data.clone(),
        csv: args.csv.clone(),
        split: match args.split {
            EvaluatedSplit::Test => Some(Split::Test),
            EvaluatedSplit::Val => Some(Split::Val),
            EvaluatedSplit::Train => Some(Split::Train),
            EvaluatedSplit::All => None,
        },
        pipeline: args.pipeline.clone(),
        set: args.set.clone(),
        device: args.device.clone(),
        root: root(),
        out: args.out.clone(),
        phantoms_allowed: args.allow_phantom_model,
    };
    let evaluated = evaluate(&request, Progress::Shown, interrupt)?;
    terminal::say(&evaluated.headline);
    // The evaluation is complete even if its path cannot be printed.
    let report = evaluated.folder.join("report.md");
    let _ = terminal::print(&format!("{}\n", report.display()));
    Ok(ExitCode::SUCCESS)
}
