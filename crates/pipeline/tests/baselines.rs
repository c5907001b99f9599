//! What a network is compared with, on phantoms.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;

use crate::tiny::{metrics, run};

#[test]
fn pretrained_weights_bring_the_baseline_of_the_frozen_encoder() {
    let home = tempfile::tempdir().unwrap();
    let first = run(home.path(), &[]);
    assert!(metrics(&first).baselines.frozen_encoder.is_none());

    let weights = first.join("model.safetensors");
    let set = format!("model.pretrained={:?}", weights.display().to_string());
    let second = run(home.path(), &[&set]);
    let metrics = metrics(&second);
    let frozen = metrics.baselines.frozen_encoder.unwrap();
    // EfficientNet-Lite0 has 112 channels at reduction 16 and 320 at 32.
    assert_eq!(frozen.features, 2 * (112 + 320));
    let difference = metrics.test.auc.unwrap().estimate - frozen.test.auc.unwrap().estimate;
    assert!((frozen.against.auc.unwrap().estimate - difference).abs() < 1e-12);
    let report = fs::read_to_string(second.join("report.md")).unwrap();
    assert!(report.contains(" frozen encoder |"), "{report}");
}

#[test]
fn validation_under_a_shift_is_evaluated_at_the_threshold_of_the_unchanged_images() {
    let home = tempfile::tempdir().unwrap();
    let flip = "mirrored={flip={horizontal=1.0, vertical=0.0}}";
    let shifts = format!("evaluate.shifts={{black={{brightness={{min=0.0, max=0.0}}}}, {flip}}}");
    let folder = run(home.path(), &[&shifts]);
    let found = metrics(&folder);
    let names: Vec<&str> = found.shifts.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["black", "mirrored"]);
    // Black images all have the same scores: no ranking, and one class for all.
    let black = &found.shifts[0];
    assert_eq!(black.auc.unwrap().estimate, 0.5);
    let rates = [black.sensitivity, black.specificity].map(|rate| rate.unwrap().estimate);
    assert!(rates == [0.0, 1.0] || rates == [1.0, 0.0], "{rates:?}");
    assert_eq!(black.accuracy.n, found.validation.n);
    let report = std::fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("Validation under shift") && report.contains("mirrored"));

    // They decide nothing.
    let plain = run(home.path(), &[]);
    let mut without = found.clone();
    without.shifts.clear();
    assert_eq!(without, metrics(&plain));
}
