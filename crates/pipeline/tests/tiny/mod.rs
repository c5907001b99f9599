//! A pipeline that trains and evaluates a classifier on phantoms in about a second.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

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

/// Runs it with these settings changed, and returns the run's folder.
pub(crate) fn run(home: &Path, set: &[&str]) -> PathBuf {
    fs::write(home.join("tiny.toml"), TINY).unwrap();
    let pipeline = home.join("tiny.toml").display().to_string();
    let request = Request {
        set: set.iter().map(|s| (*s).to_owned()).collect(),
        demo: true,
        out: Some(home.join("runs")),
        ..Request::new(home, pipeline)
    };
    pipeline::run(&request, false, Progress::Silent, &Interrupt::default())
        .unwrap()
        .folder
}

/// The run's `metrics.json`.
pub(crate) fn metrics(run: &Path) -> Metrics {
    serde_json::from_str(&fs::read_to_string(run.join("metrics.json")).unwrap()).unwrap()
}
