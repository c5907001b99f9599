//! A short run of every target, always of the same cases; and that the watching sees what it is there for.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::path::Path;
use std::time::Duration;

use fuzz::supervise::{Plan, Row, run};
use fuzz::worker::What;

const WORKER: &str = env!("CARGO_BIN_EXE_fuzz");

fn short(name: &str) {
    let target = fuzz::find(name).unwrap();
    let failures = tempfile::tempdir().unwrap();
    let what = What::Cases {
        first: 0,
        count: target.short(),
        time: Duration::from_secs(60),
    };
    let plan = Plan {
        worker: Path::new(WORKER),
        what,
        failures: failures.path(),
    };
    let row: Row = run(target, &plan, &|| false).unwrap();
    let failures: Vec<_> = row
        .failures
        .iter()
        .map(|f| format!("case {}: {:?}: {}", f.case, f.kind, f.message))
        .collect();
    assert!(
        row.good(),
        "{name}, {} of {} cases failed:\n{}",
        failures.len(),
        row.tries,
        failures.join("\n")
    );
    assert!(
        row.refused > 0 && row.accepted > 0,
        "{name} is one-sided: {row:?}"
    );
}

macro_rules! short {
    ($($test:ident $name:literal)*) => {
        $(#[test] fn $test() { short($name) })*

        #[test]
        fn all_targets_are_here() {
            let here = [$($name),*];
            let all: Vec<_> = fuzz::targets().iter().map(|target| target.name()).collect();
            assert_eq!(all, here);
        }
    };
}

short! {
    png "png"
    jpeg "jpeg"
    image_damaged "image-damaged"
    mask "mask"
    folder "folder"
    csv "csv"
    settings "settings"
    safetensors "safetensors"
    pth "pth"
    pth_damaged "pth-damaged"
    checkpoint "checkpoint"
    checkpoint_damaged "checkpoint-damaged"
    run_folder "run"
    hub "hub"
}
