//! The checks that CI runs, fastest first; stops at the first failure.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::cli::TestArgs;

/// The smallest run that goes through every stage.
const TINY: [&str; 9] = [
    "demo.phantom.train=[16,16]",
    "demo.phantom.test=[8,8]",
    "demo.phantom.size=64",
    "demo.data.validation.fraction=0.3",
    "image.size=64",
    "train.epochs=1",
    "train.batch_size=8",
    "evaluate.bootstrap=50",
    "overlays.examples=2",
];

pub(crate) fn run(root: &Path, args: &TestArgs) -> Result<ExitCode> {
    step(root, &["fmt", "--all", "--", "--check"], &[])?;
    step(
        root,
        &[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    )?;
    step(
        root,
        &["doc", "--release", "--workspace", "--no-deps"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    step(root, &["test", "--release", "--workspace"], &[])?;
    shared_data(root)?;
    if !args.fast {
        phantom_run(root)?;
    }
    terminal::say("all checks passed");
    Ok(ExitCode::SUCCESS)
}

/// Runs the tests that need the data, weights and fixtures in `../shared`, if it exists.
fn shared_data(root: &Path) -> Result<()> {
    if !root.join("../shared").is_dir() {
        terminal::say(
            "skipped, because ../shared does not exist: the tests that read its data, weights and fixtures",
        );
        return Ok(());
    }
    let line = [
        "test",
        "--release",
        "--workspace",
        "--tests",
        "--",
        "--ignored",
        "shared_",
    ];
    step(root, &line, &[])
}

fn phantom_run(root: &Path) -> Result<()> {
    let out = root.join("target/tiny-run");
    // It does not exist the first time.
    let _ = std::fs::remove_dir_all(&out);
    let out = out.display().to_string();
    let mut line = vec![
        "run",
        "--release",
        "--package",
        "xtask",
        "--",
        "pipeline",
        "pneumonia",
        "--demo",
        "--out",
        &out,
    ];
    line.extend(TINY.iter().flat_map(|set| ["--set", set]));
    step(root, &line, &[])
}

pub(crate) fn step(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    terminal::say(&format!("$ cargo {}", arguments.join(" ")));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Builds must not depend on the variables that cargo sets for a program that it runs: some build scripts (ring's)
    // read them, and everything that depends on these would be rebuilt, this program included.
    let set_by_cargo = std::env::vars_os().map(|(name, _)| name);
    let set_by_cargo = set_by_cargo.filter(|name| {
        let name = name.to_string_lossy();
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        name == "OUT_DIR" || of_package.iter().any(|of| name.starts_with(of))
    });
    for name in set_by_cargo {
        command.env_remove(name);
    }
    let status = command
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}
