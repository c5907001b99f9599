//! `cargo xtask weights` as a black box.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use formats::weights::{InputNormalization, TensorFile, save};
use model::build::{ModelSpec, build};
use model::store::ParamStore;
use sha2::{Digest as _, Sha256};

/// Exit code and both outputs of `xtask weights …` in a folder.
fn weights(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_eff-unet"))
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
    made_with_head(folder, "cam")
}

fn made_with_head(folder: &Path, head: &str) -> PathBuf {
    let spec = ModelSpec {
        encoder: Some("tf_efficientnet_lite0".into()),
        decoder: Some("unet".into()),
        head: head.into(),
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
    let path = root.join("crates/formats/tests/torch_files").join(name);
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
            "head           cam",
            "normalization  not stated",
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
    bad(at, &convert, 1, &["choose one with --encoder"]);
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
    // The file's metadata determine the encoder, and another one is refused.
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
    good(at, &write, &["map, features.1"]);
    let compare = ["check", "smp.safetensors", "--sample", "sample.safetensors"];
    good(at, &compare, &["map: largest difference"]);
    assert!(!at.join("x").exists());
}

/// As many inputs as the map has classes, or as the deepest features have channels, would not tell this head apart: its
/// name does.
#[test]
fn a_region_head_is_recognised_and_left_out_for_smp() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    made_with_head(at, "region");
    let head = ["head           region", "classes        2"];
    good(at, &["inspect", "made.safetensors"], &head);
    let encoder = ["--encoder", "tf_efficientnet_lite0"];
    for (names, to, expected, written) in [
        ("ours", "ours.safetensors", "missing 0, unused 0", true),
        (
            "smp",
            "smp.safetensors",
            "region_head.weight, region_head.bias",
            false,
        ),
    ] {
        let convert = ["convert", "made.safetensors", "--to", to, "--as", names];
        let network = "tf_efficientnet_lite0, unet, region";
        good(at, &[&convert[..], &encoder].concat(), &[expected, network]);
        let file = TensorFile::read(&at.join(to)).unwrap();
        let is_head =
            |name: &str| name.contains("head.") && !name.starts_with("segmentation_head.");
        assert_eq!(file.entries().iter().any(|t| is_head(&t.name)), written);
    }
}

/// smp has no class-activation head; a file without one is that of a segmenter, and no head is invented.
#[test]
fn files_for_smp_contain_only_what_smp_has() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    made(at);
    let convert = |from: &str, to: &str, names: &str, expected: &[&str]| {
        let encoder = ["--encoder", "tf_efficientnet_lite0"];
        let arguments = ["convert", from, "--to", to, "--as", names];
        good(at, &[&arguments[..], &encoder].concat(), expected);
        let file = TensorFile::read(&at.join(to)).unwrap();
        let head = file
            .entries()
            .iter()
            .filter(|t| t.name.contains("head.") && !t.name.starts_with("segmentation_head."));
        head.count()
    };
    let left_out = ["not written", "head.weight, head.bias"];
    assert_eq!(
        convert("made.safetensors", "smp.safetensors", "smp", &left_out),
        0
    );
    assert_eq!(
        convert(
            "made.safetensors",
            "ours.safetensors",
            "ours",
            &["missing 0"]
        ),
        2
    );
    let segmenter = ["tf_efficientnet_lite0, unet, none", "missing 0"];
    assert_eq!(
        convert("smp.safetensors", "back.safetensors", "ours", &segmenter),
        0
    );
}

/// A checkpoint of a whole network is read with the graph that it contains, and converted where that is possible.
#[test]
fn whole_networks_keep_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let spec = ModelSpec {
        architecture: "unet_2015".into(),
        base_channels: Some(4),
        ..ModelSpec::default()
    };
    let graph = build(&spec).unwrap();
    let preprocessing =
        formats::checkpoint::Preprocessing::stretched((32, 32), vec![0.5; 3], vec![0.25; 3]);
    let store = ParamStore::initialized(&graph, 1);
    let meta = formats::checkpoint::Meta::new(["a", "b"], preprocessing);
    let checkpoint = formats::checkpoint::Checkpoint::new(graph, store, meta);
    checkpoint.save(&at.join("model.safetensors")).unwrap();
    good(
        at,
        &["inspect", "model.safetensors"],
        &[
            "network        in the file",
            "no encoder of this program",
            "std [0.25, 0.25, 0.25]",
        ],
    );
    let convert = ["convert", "model.safetensors", "--to", "out", "--as"];
    good(
        at,
        &[&convert[..], &["ours"]].concat(),
        &["the checkpoint's own network", "missing 0, unused 0"],
    );
    for (names, refusal) in [("smp", "does not have"), ("timm", "without an encoder")] {
        let other = [&convert[..], &[names, "--force"]].concat();
        bad(at, &other, 1, &[refusal, "only --as ours"]);
    }
    let sample = ["--write-sample", "sample", "--size", "32"];
    good(
        at,
        &[&["check", "model.safetensors"], &sample[..]].concat(),
        &["logits, map"],
    );
    good(
        at,
        &["check", "model.safetensors", "--sample", "sample"],
        &["map: largest"],
    );
    let encoder = ["--encoder", "efficientnet_b0", "--sample", "sample"];
    bad(
        at,
        &[&["check", "model.safetensors"], &encoder[..]].concat(),
        1,
        &["leave --encoder out"],
    );
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
            "stripped       state_dict module. model.",
            "not recognised",
        ],
    );
    bad(
        at,
        &["inspect", &pth("command.pth")],
        1,
        &["refers to `posix.system`"],
    );
    bad(at, &["inspect", "nowhere"], 1, &["nowhere does not exist"]);
    bad(
        at,
        &["convert", &pth("network.pth"), "--to", "x"],
        1,
        &["fits no encoder of this program"],
    );
}

#[test]
fn known_weights_are_listed_and_a_missing_connection_is_reported() {
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

/// A server like the hub: one file, whose checksum is in the headers. It responds until the test ends.
fn hub(file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let sum: String = Sha256::digest(&file)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|l| !l.is_empty())
                .collect();
            let asked = "/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors";
            let status = match head.first().is_some_and(|line| line.contains(asked)) {
                true => "200 OK",
                false => "404 Not Found",
            };
            let n = file.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nX-Linked-Etag: \"{sum}\"\r\nX-Linked-Size: {n}\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n"
            );
            if head.first().is_some_and(|line| line.starts_with("GET")) {
                let _ = stream.write_all(&file);
            }
        }
    });
    endpoint
}

/// From the hub to a pipeline: by name, with the normalization that belongs to the name.
#[test]
fn fetched_weights_have_their_name_and_normalization_in_pipelines() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    made(at);
    let encoder = ["--encoder", "tf_efficientnet_lite0", "--as", "timm"];
    let convert = ["convert", "made.safetensors", "--to", "timm.safetensors"];
    good(at, &[&convert[..], &encoder].concat(), &[]);
    let endpoint = hub(fs::read(at.join("timm.safetensors")).unwrap());
    const NAME: &str = "tf_efficientnet_lite0.in1k";
    let fetch = ["fetch", NAME, "--endpoint", &endpoint];
    let path = "cache/eff-unet/weights/tf_efficientnet_lite0.in1k.safetensors";
    good(
        at,
        &fetch,
        &[path, "fetched", "normalization mean [0.5, 0.5, 0.5]"],
    );
    good(at, &fetch, &["already in the cache"]);
    good(
        at,
        &["inspect", path],
        &[
            "normalization  mean [0.5, 0.5, 0.5]",
            "trained with   TensorFlow's SAME",
        ],
    );

    let pretrained = format!("model.pretrained={NAME}");
    let describe = |set: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eff-unet"));
        command.args([
            "describe",
            "pneumonia",
            "--demo",
            "--set",
            "model.encoder=tf_efficientnet_lite0",
        ]);
        command.args(["--set", &pretrained]);
        for set in set {
            command.args(["--set", set]);
        }
        let output = command
            .env("XDG_CACHE_HOME", at.join("cache"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, err) = describe(&[]);
    assert_eq!(code, Some(0), "{err}");
    let (code, err) = describe(&["image.normalization=imagenet"]);
    assert_eq!(code, Some(1), "{err}");
    contains(
        &err,
        &[
            "image.normalization",
            "were trained with mean [0.5, 0.5, 0.5]",
        ],
    );
    fs::remove_dir_all(at.join("cache")).unwrap();
    let (code, err) = describe(&[]);
    assert_eq!(code, Some(1), "{err}");
    contains(
        &err,
        &["cargo xtask weights fetch tf_efficientnet_lite0.in1k"],
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
