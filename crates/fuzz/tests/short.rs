//! A short run of every target, always with the same cases; and a test that the supervisor detects all kinds of
//! failure.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::path::Path;
use std::time::Duration;

use fuzz::Kind;
use fuzz::supervise::{HANG, Plan, Row, run};
use fuzz::worker::{What, kept as kept_input};

const WORKER: &str = env!("CARGO_BIN_EXE_fuzz");

/// Each kind of failure is counted as such and kept for replay, and the remaining cases still run.
#[test]
fn failures_are_detected_counted_and_kept() {
    let target = fuzz::find("ill").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        worker: Path::new(WORKER),
        what: What::Cases {
            first: 0,
            count: 24,
            time: Duration::from_secs(60),
        },
        failures: folder.path(),
        hang: Duration::from_millis(300),
    };
    let row = run(target, &plan, &|| false).unwrap();
    let failed = [row.panics, row.deaths, row.memory, row.hangs, row.wrong];
    assert!(failed.iter().all(|n| *n > 0), "{row:?}");
    assert_eq!(row.tries, 24, "{row:?}");
    assert_eq!(
        row.tries,
        row.refused + row.accepted + row.failures.len() as u64,
        "{row:?}"
    );
    assert_eq!(
        row.failures.len() as u64,
        failed.iter().sum::<u64>(),
        "{row:?}"
    );
    let overflow = row
        .failures
        .iter()
        .find(|f| f.message.contains("overflowed its stack"));
    assert_eq!(overflow.unwrap().kind, Kind::Death);
    for failure in &row.failures {
        let Some(kept) = &failure.kept else { continue };
        let (of, input) = kept_input(kept).unwrap();
        assert_eq!(of.name(), "ill");
        let again = Plan {
            what: What::Folder(input),
            ..plan.clone()
        };
        let again = run(target, &again, &|| false).unwrap();
        assert_eq!(again.failures[0].kind, failure.kind, "{failure:?}");
    }
}

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
        hang: HANG,
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
        "{name} refuses or accepts no case: {row:?}"
    );
}

macro_rules! short {
    ($($test:ident $name:literal)*) => {
        $(#[test] fn $test() { short($name) })*

        #[test]
        fn all_targets_are_tested() {
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
    image_other "image-other"
    dicom "dicom"
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
