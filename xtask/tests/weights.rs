//! `cargo xtask weights` from outside.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::build::{ModelSpec, build};
use model::store::ParamStore;
use model::weights::{InputNormalization, TensorFile, save};

/// Exit code and both outputs of `xtask weights …` in a folder.
fn weights(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("weights")
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("HF_ENDPOINT")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn good(folder: &Path, arguments: &[&str], expected: &[&str]) {
    let (code, out, err) = weights(folder, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    contains(&out, expected);
}

fn bad(folder: &Path, arguments: &[&str], code: i32, expected: &[&str]) {
    let (found, _, err) = weights(folder, arguments);
    assert_eq!(found, Some(code), "{arguments:?}: {err}");
    contains(&err, expected);
    assert!(!err.contains("panicked"), "{err}");
}

fn contains(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// A small network's weights without metadata.
fn made(folder: &Path) -> PathBuf {
    let spec = ModelSpec {
        encoder: Some("tf_efficientnet_lite0".into()),
        decoder: Some("unet".into()),
        ..ModelSpec::default()
    };
    let graph = build(&spec).unwrap();
    let path = folder.join("made.safetensors");
    save(
        &path,
        &graph,
        &ParamStore::initialized(&graph, 1),
        &Default::default(),
    )
    .unwrap();
    path
}

fn pth(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join("crates/model/tests/torch_files").join(name);
    path.display().to_string()
}

#[test]
fn files_are_inspected_converted_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    made(at);
    good(
        at,
        &["inspect", "made.safetensors"],
        &[
            "encoder.conv_stem.weight",
            "[32, 3, 3, 3]",
            "F32",
            "names          this project",
            "fits           efficientnet_lite0, tf_efficientnet_lite0",
            "decoder        unet",
            "head           article",
            "normalization  not said",
        ],
    );
    let convert = [
        "convert",
        "made.safetensors",
        "--to",
        "smp.safetensors",
        "--as",
        "smp",
    ];
    bad(at, &convert, 1, &["say which with --encoder"]);
    let encoder = [
        "--encoder",
        "tf_efficientnet_lite0",
        "--normalization",
        "half",
    ];
    let convert = [&convert[..], &encoder].concat();
    good(at, &convert, &["applied", "missing 0, unused 0"]);
    bad(at, &convert, 1, &["smp.safetensors exists: --force"]);
    good(at, &[&convert[..], &["--force"]].concat(), &[]);
    good(
        at,
        &["inspect", "smp.safetensors"],
        &[
            "encoder.model.conv_stem.weight",
            "timm encoder (tu-)",
            "encoder        tf_efficientnet_lite0",
            "normalization  mean [0.5, 0.5, 0.5]",
            "TensorFlow's SAME padding and batch-norm epsilon 1e-3",
        ],
    );
    // What the file says of itself decides the encoder, and refuses another.
    good(
        at,
        &[
            "convert",
            "smp.safetensors",
            "--to",
            "timm.safetensors",
            "--as",
            "timm",
        ],
        &["tf_efficientnet_lite0"],
    );
    let file = TensorFile::read(&at.join("timm.safetensors")).unwrap();
    assert!(file.entries().iter().all(|t| !t.name.contains("decoder")));
    assert!(file.find("conv_stem.weight").is_some());
    bad(
        at,
        &[
            "convert",
            "timm.safetensors",
            "--to",
            "x",
            "--encoder",
            "efficientnet_lite0",
        ],
        1,
        &[
            "was trained with TensorFlow's SAME padding",
            "tf_efficientnet_*",
        ],
    );
    let write = [
        "check",
        "smp.safetensors",
        "--write-sample",
        "sample.safetensors",
        "--size",
        "32",
    ];
    good(at, &write, &["logits, map, features.1"]);
    let compare = ["check", "smp.safetensors", "--sample", "sample.safetensors"];
    good(at, &compare, &["map: largest difference"]);
    assert!(!at.join("x").exists());
}

#[test]
fn files_of_pytorch_are_read_and_code_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    good(
        at,
        &["inspect", &pth("nested.pth")],
        &[
            "format         PyTorch",
            "taken off      state_dict module. model.",
            "not recognised",
        ],
    );
    bad(
        at,
        &["inspect", &pth("command.pth")],
        1,
        &["asks for `posix.system`"],
    );
    bad(at, &["inspect", "nowhere"], 1, &["nowhere does not exist"]);
    bad(
        at,
        &["convert", &pth("network.pth"), "--to", "x"],
        1,
        &["fits no encoder of ours"],
    );
}

#[test]
fn known_weights_are_listed_and_a_missing_network_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    good(
        at,
        &["fetch", "--list"],
        &["tf_efficientnet_lite0.in1k", "Apache-2.0"],
    );
    bad(at, &["fetch"], 2, &["Usage"]);
    bad(
        at,
        &["fetch", "tf_lite0"],
        1,
        &["no weights \"tf_lite0\" are known"],
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{port}");
    let fetch = [
        "fetch",
        "tf_efficientnet_lite0.in1k",
        "--endpoint",
        &endpoint,
    ];
    bad(at, &fetch, 1, &["no answer from", "Is there a connection?"]);
    assert!(
        fs::read_dir(at.join("cache/eff-unet/weights"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn normalizations_are_compared() {
    let other = InputNormalization::half();
    assert!(other.channels(1).agrees(&InputNormalization {
        mean: vec![0.5],
        std: vec![0.5]
    }));
    assert!(!other.agrees(&InputNormalization::imagenet()));
}
