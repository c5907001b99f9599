//! The version that `--version` prints: with the commit, if this is a checkout with git.

use std::path::Path;
use std::process::Command;

fn main() {
    let version = env!("CARGO_PKG_VERSION");
    let root = Path::new("..");
    let described = Command::new("git")
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ])
        .current_dir(root)
        .output();
    let commit = described.ok().filter(|output| output.status.success());
    let commit = commit.and_then(|output| String::from_utf8(output.stdout).ok());
    match commit.as_deref().map(str::trim) {
        Some(commit) => println!("cargo::rustc-env=VERSION_AND_COMMIT={version} ({commit})"),
        None => println!("cargo::rustc-env=VERSION_AND_COMMIT={version}"),
    }
    // A commit appends to this log; a change of the source may make the checkout differ from its commit.
    let log = Path::new("../.git/logs/HEAD");
    if log.is_file() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    let crates = root
        .join("crates")
        .read_dir()
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    for source in crates
        .map(|entry| entry.path().join("src"))
        .chain(["src".into()])
    {
        println!("cargo::rerun-if-changed={}", source.display());
    }
}
