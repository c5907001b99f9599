//! The commands, and what several of them share.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod ensemble;
pub(crate) mod evaluate;
pub(crate) mod experiment;
pub(crate) mod export;
pub(crate) mod pipeline;
pub(crate) mod predict;
pub(crate) mod results;
pub(crate) mod serve;
pub(crate) mod test;
#[cfg(target_os = "linux")]
pub(crate) mod torture;
pub(crate) mod weights;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::settings::Request;
use anyhow::{Context as _, Result};

use crate::cli::Settings;

/// The exit code of a command that was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

pub(crate) fn set_threads(threads: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("cannot set the number of threads")
}

pub(crate) fn request(settings: &Settings, out: Option<&Path>) -> Request {
    Request {
        pipeline: settings.name.clone(),
        root: root(),
        data: settings.data.clone(),
        device: settings.device.clone(),
        set: settings.set.clone(),
        demo: settings.demo,
        dry: false,
        out: out.map(Path::to_path_buf),
    }
}

/// The workspace that this program was built in, or the current folder if that no longer exists.
pub(crate) fn root() -> PathBuf {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    if built_in.join("pipelines").is_dir() {
        built_in.into()
    } else {
        PathBuf::from(".")
    }
}

/// Prints to stdout; a closed pipe (`| head`) is not an error.
pub(crate) fn print(text: &str) -> Result<ExitCode> {
    terminal::print(text).context("cannot write the output to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the error and its causes, each once: a library's message often contains that of its cause.
pub(crate) fn report(error: &anyhow::Error) {
    let mut said = error.to_string();
    terminal::say(&format!("error: {said}"));
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            terminal::say(&format!("  because: {cause}"));
        }
        said = cause;
    }
}
