//! `cargo xtask compare`: finished runs side by side.

use std::process::ExitCode;

use anyhow::Result;
use runs::compare::{compare, write};

use super::print;
use crate::cli::CompareArgs;

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let compared = compare(&args.runs)?;
    if let Some(folder) = &args.out {
        write(&compared, folder)?;
    }
    print(&compared.document.to_markdown())
}
