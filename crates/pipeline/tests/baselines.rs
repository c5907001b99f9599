//! What a network is compared with, on phantoms.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

mod tiny;

use std::fs;

use tiny::{metrics, run};

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
