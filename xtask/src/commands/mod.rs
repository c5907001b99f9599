//! The commands, and what several of them share.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod ensemble;
pub(crate) mod evaluate;
pub(crate) mod experiment;
pub(crate) mod export;
pub(crate) mod merge;
pub(crate) mod pipeline;
pub(crate) mod predict;
pub(crate) mod results;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod test;
#[cfg(target_os = "linux")]
pub(crate) mod torture;
pub(crate) mod view;
pub(crate) mod weights;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::bench::{Device, InferencePrecision};
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

/// The device and the precision with these names, for inference.
pub(crate) fn computing(device: &str, precision: &str) -> Result<(Device, InferencePrecision)> {
    let (device, precision) = match precision {
        "auto" => {
            let (device, precision) = ::settings::fastest(device)?;
            (device, precision.into())
        }
        name => {
            let precision: InferencePrecision = name.parse()?;
            let computed = precision.float().unwrap_or_default();
            (::settings::device(device, computed)?, precision)
        }
    };
    Ok((device.device, precision))
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

/// Where relative paths start: the checkout if cargo has started this program there, otherwise the current folder.
pub(crate) fn root() -> PathBuf {
    checkout().unwrap_or_else(|| PathBuf::from("."))
}

/// The checkout that cargo has started this program in.
fn checkout() -> Option<PathBuf> {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let root = package.parent()?.to_path_buf();
    root.join("pipelines").is_dir().then_some(root)
}

/// The checkout, for commands that check the program itself.
///
/// # Errors
/// This program was not started there.
pub(crate) fn own_source() -> Result<PathBuf> {
    checkout().context(
        "this command checks the program's own source: start it with `cargo xtask` in the checkout",
    )
}

/// Prints to stdout; a closed pipe (`| head`) is not an error.
pub(crate) fn print(text: &str) -> Result<ExitCode> {
    terminal::print(text).context("cannot write the output to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the error and its causes, each once: a library's message often contains that of its cause.
pub(crate) fn report(error: &anyhow::Error) {
    let mut said = error.to_string();
    terminal::say(&callable(&format!("error: {said}")));
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            terminal::say(&callable(&format!("  because: {cause}")));
        }
        said = cause;
    }
}

/// A text whose commands can be typed as they are.
fn callable(text: &str) -> String {
    text.replace("cargo xtask ", &format!("{} ", terminal::program()))
}
