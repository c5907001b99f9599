//! `cargo xtask merge`: joins the shards of `predict` in its tables, or says what is missing.

use std::process::ExitCode;

use anyhow::{Result, bail};
use predictions::Merge;
use terminal::Interrupt;

use super::print;
use crate::cli::MergeArgs;

pub(crate) fn run(args: &MergeArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    match predictions::merge(&args.folder, interrupt)? {
        Merge::Incomplete(incomplete) => {
            terminal::say(&incomplete.to_string());
            bail!(
                "{} is incomplete; no table was written",
                args.folder.display()
            )
        }
        Merge::Complete(merged) => {
            if merged.failed > 0 {
                terminal::say(&super::predict::failures(merged.failed, merged.images));
            }
            print(&format!("{}\n", merged.table.display()))
        }
    }
}
