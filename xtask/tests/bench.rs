//! `bench` as a black box: its tables and file, failures of peers, and wrong arguments.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The smallest benchmark.
const TINY: [&str; 9] = [
    "bench",
    "--encoder=efficientnet_b0",
    "--decoder=unet",
    "--size=32",
    "--batch=1",
    "--threads=1",
    "--repeats=1",
    "--rounds=1",
    "--scale-sizes=32",
];

/// Options passed here replace those of [`TINY`].
fn bench(arguments: &[&str]) -> Output {
    let name = |option: &str| option.split('=').next().map(str::to_owned);
    let replaced: Vec<_> = arguments.iter().map(|option| name(option)).collect();
    let kept = TINY
        .iter()
        .filter(|option| !replaced.contains(&name(option)));
    Command::new(env!("CARGO_BIN_EXE_eff-unet"))
        .args(kept)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Exit code, and parts of stdout and stderr together.
fn check(arguments: &[&str], code: i32, expected: &[&str]) -> String {
    let output = bench(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let text = format!("{}{said}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for part in expected {
        assert!(text.contains(part), "{arguments:?}: no {part:?} in {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn mistakes_are_found_before_anything_is_measured() {
    for (arguments, code, part) in [
        (&["--encoder=resnet50"][..], 1, "resnet50"),
        (&["--decoder=unett"], 1, "did you mean"),
        (&["--size=100"], 1, "96x96 and 128x128"),
        (&["--batch=0"], 2, "0 is not in 1..=4096"),
        (&["--repeats=0"], 2, "0 is not in 1..=10000"),
        (&["--threads=0"], 2, "0 is not in 1..=1024"),
        (&["--rounds=0"], 2, "--rounds"),
        (&["--what=speed"], 2, "infer, train, ops, memory, scale"),
        (&["--json=/nowhere/x.json"], 1, "/nowhere/x.json"),
        (&["--onnx=x.onnx"], 2, "--peers <PYTHON>"),
        (&["--peers=python", "--images=x"], 2, "--onnx <FILE.onnx>"),
        (
            &["--peers=python", "--onnx=/nowhere/x.onnx"],
            1,
            "/nowhere/x.onnx: no such file",
        ),
        (
            &["--peers=/nowhere/python"],
            1,
            "cannot run /nowhere/python",
        ),
        (
            &["--what=scale", "--scale-sizes=100"],
            1,
            "96x96 and 128x128",
        ),
        (
            &["--what=scale", "--scale-batches=0"],
            2,
            "0 is not in 1..=4096",
        ),
    ] {
        let text = check(arguments, code, &[part]);
        assert!(!text.contains(" ms\n"), "{arguments:?}: {text}");
    }
}

#[test]
fn tables_and_a_file_with_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bench.json");
    let json = format!("--json={}", file.display());
    let what = "--what=infer,train,memory,scale,ops";
    let text = check(
        &[what, "--scale-batches=1,2", "--repeats=2", &json],
        0,
        &[
            "unet on efficientnet_b0; 1 threads",
            "inference, batch 1, 32x32\n",
            "training step, batch 1, 32x32\n",
            "peak memory in MiB",
            "training by size and batch",
            "cost per pixel",
            "measured limits: ",
            "operations, inference, batch 1, 32x32",
            "operations, training step, batch 1, 32x32",
            "The whole takes",
        ],
    );
    assert_eq!(text.contains("not measured"), !cfg!(target_os = "linux"));
    let value = read(&file);
    let samples = value["results"]["samples"].as_array().unwrap();
    // Inference at batch 1, which scale includes as well, and at batch 2, in three precisions; training in two.
    assert_eq!(samples.len(), 2 * 3 + 2 * 2, "{value}");
    for sample in samples {
        let precision = sample["precision"].as_str().unwrap();
        let known: &[&str] = match sample["task"].as_str() {
            Some("infer") => &["f32", "bf16", "int8"],
            _ => &["f32", "bf16"],
        };
        assert!(known.contains(&precision), "{sample}");
        assert_eq!(sample["program"], format!("this {precision}"), "{sample}");
        assert_eq!(sample["seconds"].as_array().unwrap().len(), 2, "{sample}");
        if cfg!(target_os = "linux") {
            let bytes = |key| sample["memory"][key].as_u64().unwrap();
            assert!(bytes("peak") > bytes("before"), "{sample}");
        }
    }
    for ops in value["results"]["ops"].as_array().unwrap() {
        assert!(!ops["rows"].as_array().unwrap().is_empty(), "{ops}");
    }
    assert!(value["results"]["roofline"]["f32"].as_f64().unwrap() > 0.0);
    assert!(value["machine"]["cpu"].is_string());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn read(file: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A stand-in for a Python: a shell script that receives the script's path, a command and its options.
#[cfg(unix)]
fn stand_in(folder: &Path, cases: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("python");
    let text = format!("#!/bin/sh\ncase \"$*\" in\n{cases}\nesac\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[cfg(unix)]
const LIST: &str = r#"
*bench_peers.py\ list\ --device\ cpu)
    echo '{"peer":"good","precision":"f32","tasks":["infer"],"version":"1.2"}'
    echo '{"peer":"bad","precision":"bf16","tasks":["infer","train"],"version":"3"}'
    echo 'absent f32: left out' >&2 ;;
"#;

#[cfg(unix)]
#[test]
fn a_failing_peer_loses_only_its_own_results() {
    let folder = tempfile::tempdir().unwrap();
    let cases = format!(
        r#"{LIST}
*run*--peer\ good*--task\ infer*--encoder\ efficientnet_b0*)
    echo 'a library says hello'
    echo '{{"seconds":[10.0],"memory":null,"task":"infer","precision":"f32","size":32,"batch":1,"threads":1}}' ;;
*)
    echo 'ModuleNotFoundError: no module' >&2; exit 3 ;;"#
    );
    let python = stand_in(folder.path(), &cases);
    let file = folder.path().join("bench.json");
    let text = check(
        &[
            "--rounds=2",
            "--peers",
            &python.display().to_string(),
            "--json",
            &file.display().to_string(),
        ],
        1,
        &[
            "absent f32: left out",
            "this f32 speedup",
            "10000     0.100",
            "not measured",
            "failed: bad bf16, inference, batch 1, 32x32: ended with exit status: 3",
            "failed: bad bf16, training step, batch 1, 32x32",
            "    ModuleNotFoundError: no module",
        ],
    );
    // Each of the two failures is reported when it happens and at the end, in the first of two rounds only.
    assert_eq!(text.matches("ModuleNotFoundError").count(), 4, "{text}");
    let results = &read(&file)["results"];
    assert_eq!(results["failures"].as_array().unwrap().len(), 2);
    let of = |program: &str| {
        let samples = results["samples"].as_array().unwrap().iter();
        samples.filter(|s| s["program"] == program).count()
    };
    // Two rounds: ours before either peer's inference and before the training that fails.
    assert_eq!((of("good f32"), of("this f32")), (2, 6), "{results}");
}

/// A peer receives the trained network and the images, and its accuracy is shown and kept.
#[cfg(unix)]
#[test]
fn the_accuracy_of_a_peer_is_shown_beside_its_speed() {
    let folder = tempfile::tempdir().unwrap();
    let list = r#"
*bench_peers.py\ list*) echo '{"peer":"good","precision":"int8","tasks":["infer"],"version":"1"}' ;;"#;
    let cases = format!(
        r#"{list}
*run*--onnx\ */net.onnx*--images\ *)
    echo '{{"seconds":[10.0],"memory":null,"task":"infer","precision":"int8","size":32,"batch":1,"threads":1,
        "accuracy":{{"of":"a trained network, 5 images","probabilities":0.0123,"map":0.9876}}}}' | tr -d '\n' ;;
*) exit 3 ;;"#
    );
    let python = stand_in(folder.path(), &cases);
    let (onnx, file) = (folder.path().join("net.onnx"), folder.path().join("b.json"));
    fs::write(&onnx, "").unwrap();
    check(
        &[
            "--what=infer",
            "--peers",
            python.to_str().unwrap(),
            "--onnx",
            onnx.to_str().unwrap(),
            "--images",
            folder.path().to_str().unwrap(),
            "--json",
            file.to_str().unwrap(),
        ],
        0,
        &[
            "beside f32",
            "good int8",
            "0.0123, 98.8 %",
            "(a trained network, 5 images)",
        ],
    );
    let samples = &read(&file)["results"]["samples"];
    let of = |program: &str| {
        let mut samples = samples.as_array().unwrap().iter();
        samples.find(|s| s["program"] == program).unwrap()["accuracy"].clone()
    };
    assert_eq!(of("good int8")["map"], 0.9876);
    assert!(of("this f32").is_null());
}

#[cfg(unix)]
#[test]
fn a_peer_that_prints_nonsense_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let nonsense = stand_in(folder.path(), &format!("{LIST}*) echo fast ;;"));
    let peers = ["--what=train", "--peers", nonsense.to_str().unwrap()];
    check(&peers, 1, &["printed no measurement: \"fast\"", "this f32"]);
    let unlisted = stand_in(folder.path(), "*) echo 'SyntaxError: no' >&2; exit 1 ;;");
    let peers = ["--peers", unlisted.to_str().unwrap()];
    check(
        &peers,
        1,
        &["bench_peers.py list ended with", "SyntaxError"],
    );
    let none = stand_in(folder.path(), "*) ;;");
    let peers = ["--peers", none.to_str().unwrap()];
    check(&peers, 1, &["has none of the peers"]);
    // Peers are passed the device.
    let asks = stand_in(folder.path(), "*) echo \"asked for $4\" >&2; exit 1 ;;");
    let peers = ["--peers", asks.to_str().unwrap()];
    check(&peers, 1, &["asked for cpu"]);
}

/// On machines without a GPU; skipped where there is one.
#[test]
fn a_missing_gpu_is_reported_before_anything_is_measured() {
    if std::process::Command::new("nvidia-smi").output().is_ok() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    check(&["--device=cuda"], 1, &["device \"cuda\"", "libcuda.so"]);
    check(&["--device=gpu"], 2, &["cpu, cuda"]);
}
