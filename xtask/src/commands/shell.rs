//! `cargo xtask completions` and `cargo xtask man`: what a shell and `man` need to know of the command line.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap_complete::Shell;
use clap_mangen::Man;

use super::print;
use crate::cli::command;

/// The script that completes the program's commands and options in a shell.
pub(crate) fn completions(shell: Shell) -> Result<String> {
    let mut script = vec![];
    clap_complete::generate(
        shell,
        &mut command(terminal::NAME),
        terminal::NAME,
        &mut script,
    );
    Ok(String::from_utf8(script)?)
}

/// The manual pages: that of the program to stdout, or all of them into a folder.
pub(crate) fn man(folder: Option<&Path>) -> Result<ExitCode> {
    let Some(folder) = folder else {
        let mut page = vec![];
        Man::new(command(terminal::NAME)).render(&mut page)?;
        return print(&String::from_utf8(page)?);
    };
    let cannot = || format!("cannot write the manual pages into {}", folder.display());
    files::create_folder(folder).with_context(cannot)?;
    clap_mangen::generate_to(command(terminal::NAME), folder).with_context(cannot)?;
    Ok(ExitCode::SUCCESS)
}
