//! `torture` as a black box: a killed run, resumed to the same bytes, and the table.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::process::{Command, Output};

fn torture(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eff-unet"));
    command.arg("torture").args(arguments).output().unwrap()
}

/// A run, and an experiment of four runs, are killed, resumed, and end with the same bytes.
#[test]
fn killed_runs_and_experiments_are_rows_of_the_table() {
    let kept = tempfile::tempdir().unwrap();
    let kept = kept.path().display().to_string();
    let output = torture(&[
        "--minutes",
        "0",
        "--seed",
        "1",
        "--only",
        "kill-stage,kill-experiment",
        "--failures",
        &kept,
    ]);
    let (table, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{table}{said}");
    // One run is killed, none is refused, one ends with the same bytes.
    assert!(
        table.contains("| kill in each stage | 1 | 0 | 1 | 0 | 0 | 0 | 0 | 0 |"),
        "{table}{said}"
    );
    let experiment = table
        .lines()
        .find(|line| line.contains("kill in an experiment"));
    let experiment = experiment.unwrap_or_else(|| panic!("{table}{said}"));
    let counts: Vec<&str> = experiment.split('|').map(str::trim).collect();
    assert_ne!(counts[2], "0", "{table}");
    assert_eq!(
        counts[3..10],
        ["0", "1", "0", "0", "0", "0", "0"],
        "{table}{said}"
    );
    assert!(!table.contains("all inputs"), "{table}");
}

#[test]
fn an_unknown_kind_is_refused_with_a_list_of_the_known_ones() {
    let output = torture(&["--minutes", "0", "--only", "kil-stage"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("kil-stage") && said.contains("kill-stage") && said.contains("safetensors"),
        "{said}"
    );
}
