//! `cargo xtask ensemble`: the networks of several runs in one checkpoint.

use std::process::ExitCode;

use ::runs::ensemble;
use anyhow::{Context as _, Result, bail};

use super::print;
use crate::cli::EnsembleArgs;

pub(crate) fn run(args: &EnsembleArgs) -> Result<ExitCode> {
    if args.out.extension().is_none_or(|e| e != "safetensors") {
        bail!(
            "{}: name a file that ends in .safetensors",
            args.out.display()
        );
    }
    let joined = ensemble(&args.runs)?;
    if let Some(folder) = args
        .out
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        files::create_folder(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    joined.save(&args.out)?;
    print(&format!(
        "{} networks in {}\n",
        args.runs.len(),
        args.out.display()
    ))
}
