//! What a network is compared with, on phantoms.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::{Path, PathBuf};

use pipeline::stages::Metrics;
use settings::Request;
use terminal::{Interrupt, Progress};

const TINY: &str = r#"
[pipeline]
stages = ["index", "train", "evaluate", "report"]
[data]
dir = "absent"
classes = ["NORMAL", "PNEUMONIA"]
[image]
size = 32
[model]
encoder = "tf_efficientnet_lite0"
decoder = "unet"
[train]
epochs = 1
batch_size = 16
[evaluate]
bootstrap = 200
baseline_size = 8
[demo.phantom]
size = 32
train = [12, 12]
test = [12, 12]
[demo.data.validation]
policy = "from_train"
fraction = 0.25
"#;

fn run(home: &Path, set: &[String]) -> PathBuf {
    fs::write(home.join("tiny.toml"), TINY).unwrap();
    let pipeline = home.join("tiny.toml").display().to_string();
    let request = Request {
        set: set.to_vec(),
        demo: true,
        out: Some(home.join("runs")),
        ..Request::new(home, pipeline)
    };
    pipeline::run(&request, false, Progress::Silent, &Interrupt::default())
        .unwrap()
        .folder
}

fn metrics(run: &Path) -> Metrics {
    serde_json::from_str(&fs::read_to_string(run.join("metrics.json")).unwrap()).unwrap()
}

#[test]
fn pretrained_weights_bring_the_baseline_of_the_frozen_encoder() {
    let home = tempfile::tempdir().unwrap();
    let first = run(home.path(), &[]);
    assert!(metrics(&first).baselines.frozen_encoder.is_none());

    let weights = first.join("model.safetensors");
    let set = format!("model.pretrained={:?}", weights.display().to_string());
    let second = run(home.path(), &[set]);
    let metrics = metrics(&second);
    let frozen = metrics.baselines.frozen_encoder.unwrap();
    // EfficientNet-Lite0 has 112 channels at reduction 16 and 320 at 32.
    assert_eq!(frozen.features, 2 * (112 + 320));
    let difference = metrics.test.auc.unwrap().estimate - frozen.test.auc.unwrap().estimate;
    assert!((frozen.against.auc.unwrap().estimate - difference).abs() < 1e-12);
    let report = fs::read_to_string(second.join("report.md")).unwrap();
    assert!(report.contains(" frozen encoder |"), "{report}");
}
