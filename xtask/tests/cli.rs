//! The command line as a black box: exit codes, messages, and runs that repeat and resume with bit-identical results.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The smallest phantom run with every stage.
const TINY: [&str; 11] = [
    "demo.phantom.train=[24,24]",
    "demo.phantom.test=[8,8]",
    "demo.phantom.size=64",
    "demo.data.validation.fraction=0.3",
    "image.size=32",
    "train.epochs=3",
    "train.batch_size=8",
    "evaluate.bootstrap=50",
    "overlays.examples=2",
    "report.samples=2",
    "tracking.tensorboard=true",
];

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eff-unet"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn tiny(out: &Path, more: &[&str]) -> Command {
    let mut command = xtask(&["pipeline", "pneumonia", "--demo", "--out"]);
    command
        .arg(out)
        .args(TINY.iter().flat_map(|set| ["--set", set]))
        .args(more);
    command
}

fn finish(mut command: Command) -> Output {
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn good(output: Output) -> Output {
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// Exit code and parts of stderr.
fn check(arguments: &[&str], code: i32, expected: &[&str]) {
    let output = finish(xtask(arguments));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for part in expected {
        assert!(
            text.contains(part),
            "{arguments:?}: no {part:?} in {text:?}"
        );
    }
    assert!(
        !text.contains("panicked") && !text.contains("RUST_BACKTRACE"),
        "{text}"
    );
}

fn only_run(out: &Path) -> PathBuf {
    let mut runs: Vec<_> = fs::read_dir(out.join("pneumonia"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| !p.is_symlink())
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

fn metrics(out: &Path) -> String {
    fs::read_to_string(out.join("pneumonia/latest/metrics.json")).unwrap()
}

/// With a closed pipe or a full device as stderr and stdout the run still completes, where `eprintln!` would panic.
#[cfg(target_os = "linux")]
#[test]
fn a_run_completes_without_readable_output() {
    let runs = tempfile::tempdir().unwrap();
    let index = ["--set", "pipeline.stages=['index']"];
    let mut command = tiny(runs.path(), &index);
    let mut unread = command.spawn().unwrap();
    drop((unread.stdout.take(), unread.stderr.take()));
    assert!(unread.wait().unwrap().success());
    let full = || {
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    if Path::new("/dev/full").exists() {
        let mut command = tiny(runs.path(), &index);
        let status = command.stdout(full()).stderr(full()).status().unwrap();
        assert!(status.success(), "{status}");
        // If the output is the only result, losing it is reported by the exit code.
        let status = xtask(&["list"]).stdout(full()).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }
}

/// Two runs need the same phantoms at once: one draws them, and both find them complete.
#[test]
fn two_demos_at_once_share_their_phantoms() {
    let runs = tempfile::tempdir().unwrap();
    let set = ["demo.phantom.train=[60,60]", "pipeline.stages=['index']"];
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let both = [(), ()].map(|()| tiny(runs.path(), &set).spawn().unwrap());
    for child in both {
        good(child.wait_with_output().unwrap());
    }
    let folders = fs::read_dir(runs.path().join(".phantom")).unwrap();
    let folders: Vec<PathBuf> = folders.map(|e| e.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    let mut manifests = fs::read_dir(runs.path().join("pneumonia"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| !p.is_symlink())
        .map(|run| fs::read_to_string(run.join("manifest.csv")).unwrap());
    assert_eq!(manifests.next(), manifests.next());
}

#[test]
fn mistakes_end_with_a_code_and_a_hint() {
    check(
        &["serve", "nothing", "--bind", "0.0.0.0:0"],
        1,
        &[
            "0.0.0.0:0 can be reached from other machines",
            "--token-file",
        ],
    );
    check(
        &["pipeline", "pneumonai"],
        1,
        &[
            "error: no pipeline \"pneumonai\"",
            "did you mean \"pneumonia\"?",
        ],
    );
    check(
        &["pipeline", "pneumonia", "--data", "/nowhere"],
        1,
        &["error:", "--data /nowhere", "no data folder"],
    );
    check(
        &["pipeline", "pneumonia", "--demo", "--set", "train.epoch=3"],
        1,
        &["--set train.epoch=3", "did you mean \"epochs\"?"],
    );
    check(
        &[
            "pipeline",
            "pneumonia",
            "--demo",
            "--set",
            "train.epochs=many",
        ],
        1,
        &["`train.epochs` must be a whole number"],
    );
    check(
        &["pipeline", "pneumonia", "--demo", "--set", "image.size=100"],
        1,
        &["96x96 and 128x128"],
    );
    check(
        &[
            "pipeline",
            "pneumonia",
            "--demo",
            "--device",
            "cuda",
            "--set",
            "pipeline.precision=f16",
        ],
        1,
        &["pipeline.precision", "f16", "bf16"],
    );
    check(
        &[
            "pipeline",
            "pneumonia",
            "--demo",
            "--set",
            "pipeline.stages=['index', 'report', 'overlays']",
        ],
        1,
        &["put \"train\" before it"],
    );
    check(
        &[
            "pipeline",
            "pneumonia",
            "--demo",
            "--set",
            "model.pretrained=/nowhere.safetensors",
        ],
        1,
        &["no weights file"],
    );
    check(
        &["predict", "/nowhere", "image.png"],
        1,
        &["error:", "/nowhere"],
    );
    check(
        &["experiment", "pneumonia"],
        1,
        &["no experiment \"pneumonia\"", "pneumonia-seeds"],
    );
    check(
        &[
            "experiment",
            "pneumonia-seeds",
            "--demo",
            "--set",
            "pipeline.seed=3",
        ],
        1,
        &["experiment.seeds", "pipeline.seed", "has no effect"],
    );
    check(
        &["evaluate", "/nowhere", "--data", "."],
        1,
        &[
            "error:",
            "/nowhere",
            "neither a run's folder nor a checkpoint",
        ],
    );
    check(&["evaluate", "runs"], 2, &["--data <DIR>"]);
    check(&["pipeline"], 2, &["Usage"]);
    check(&["pipelin"], 2, &["pipeline"]);
    check(
        &["pipeline", "pneumonia", "--demo", "--data", "."],
        2,
        &["cannot be used with"],
    );
}

#[test]
fn lists_and_describes() {
    let text =
        |arguments: &[&str]| String::from_utf8(good(finish(xtask(arguments))).stdout).unwrap();
    let list = text(&["list"]);
    for part in [
        "pipelines:\n  brain-tumor",
        "\n  pneumonia ",
        "experiments:\n  brain-tumor-recipes     Brain tumours",
        "\n  pneumonia-robust-seeds  Pneumonia on chest",
        "architectures:\n  encoder_decoder",
        "unet_2015_valid",
        "efficientnet_b1",
        "tf_efficientnet_lite0",
        "unetpp",
        "cam",
        "\n  region ",
        "augment-preview",
    ] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let graph = text(&["describe", "pneumonia", "--demo"]);
    assert!(
        graph.contains("encoder.conv_stem") && graph.contains("multiply-adds:"),
        "{graph}"
    );
}

/// Installed, the program has its pipelines with it, and calls itself by its own name.
#[test]
fn the_program_works_outside_its_checkout() {
    let elsewhere = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| {
        let mut command = xtask(arguments);
        command.env_remove("CARGO").env_remove("CARGO_MANIFEST_DIR");
        finish({
            command.current_dir(elsewhere.path());
            command
        })
    };
    let text = |arguments: &[&str]| String::from_utf8(good(ask(arguments)).stdout).unwrap();
    assert!(text(&["list"]).contains("pneumonia-robust-seeds"));
    assert!(text(&["describe", "pneumonia"]).contains("multiply-adds"));
    let version = format!("eff-unet {}", env!("CARGO_PKG_VERSION"));
    assert!(text(&["--version"]).starts_with(&version));
    assert!(text(&["completions", "bash"]).contains("_eff__unet"));
    assert!(text(&["man"]).contains("eff\\-unet \\- From a folder"));
    text(&["man", "--to", "pages"]);
    assert!(elsewhere.path().join("pages/eff-unet-predict.1").is_file());
    let unknown = stderr(&ask(&["pipeline", "pneumonai"]));
    assert!(unknown.contains("did you mean \"pneumonia\""), "{unknown}");
    let test = ask(&["test"]);
    assert!(
        stderr(&test).contains("start it with `cargo xtask`"),
        "{}",
        stderr(&test)
    );
    // The user's own files come first.
    let own = elsewhere.path().join("pipelines");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("pneumonia.toml"), "[pipeline]\ntitle = \"Mine\"\n").unwrap();
    assert!(text(&["list"]).contains("Mine"));
}

#[test]
fn an_unwritable_run_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs");
    fs::write(&file, "not a folder").unwrap();
    let output = finish(tiny(&file, &[]));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("error: cannot create") && text.contains("--out DIR"),
        "{text}"
    );
}

#[test]
fn resuming_without_an_unfinished_run_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let output = finish(tiny(out.path(), &["--resume"]));
    assert!(
        stderr(&output).contains("no unfinished run"),
        "{}",
        stderr(&output)
    );
}

/// One uninterrupted run with one thread, then others that must equal it.
#[test]
fn repeated_and_resumed_runs_are_bit_identical() {
    let [unbroken, again, killed, stopped] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let first = good(finish(tiny(unbroken.path(), &["--threads", "1"])));
    let run = only_run(unbroken.path());
    assert!(String::from_utf8_lossy(&first.stdout).contains("report.md"));
    complete(&run);
    let expected = metrics(unbroken.path());

    good(finish(tiny(again.path(), &["--threads", "2"])));
    assert_eq!(
        metrics(again.path()),
        expected,
        "a second run with two threads differs"
    );

    kill_after_first_epoch(tiny(killed.path(), &["--threads", "2"]), killed.path());
    let wrong = finish(tiny(
        killed.path(),
        &["--resume", "--set", "train.batch_size=4"],
    ));
    assert!(
        stderr(&wrong).contains("train.batch_size was 8, now is 4"),
        "{}",
        stderr(&wrong)
    );
    good(finish(tiny(killed.path(), &["--resume", "--threads", "2"])));
    assert_eq!(
        metrics(killed.path()),
        expected,
        "a run that was killed and resumed differs"
    );
    only_run(killed.path());

    let output = interrupt_after_first_epoch(tiny(stopped.path(), &[]), stopped.path());
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("--resume"), "{text}");
    assert!(
        only_run(stopped.path())
            .join("checkpoints/last.safetensors")
            .is_file()
    );
    good(finish(tiny(stopped.path(), &["--resume"])));
    assert_eq!(
        metrics(stopped.path()),
        expected,
        "a run that was interrupted and resumed differs"
    );

    predicts(&run);
}

/// Checks the files that a run's folder must contain, and the report's first line.
fn complete(run: &Path) {
    let files = [
        "resolved.toml",
        "run.json",
        "timings.json",
        "manifest.csv",
        "splits.csv",
        "eda.json",
        "history.csv",
        "predictions.csv",
    ];
    for name in files.iter().chain(&[
        "metrics.json",
        "overlays.json",
        "model.safetensors",
        "report.md",
        "report.html",
        "MODEL_CARD.md",
        "CLAIM.md",
        "TRIPOD-AI.md",
    ]) {
        assert!(run.join(name).is_file(), "{name}");
    }
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    assert!(
        report.lines().next().unwrap().contains("phantoms"),
        "{report}"
    );
    let linked = report
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|l| l.ends_with(".png"));
    let mut pictures = 0;
    for picture in linked {
        assert!(run.join(picture).is_file(), "{picture}");
        pictures += 1;
    }
    assert!(pictures >= 10, "{pictures} pictures");
    let resolved = fs::read_to_string(run.join("resolved.toml")).unwrap();
    assert!(
        !fs::read_to_string(run.join("metrics.json"))
            .unwrap()
            .contains("seconds")
    );
    assert!(resolved.contains("[phantom]"), "{resolved}");
    let events = below(&run.join("tensorboard"));
    assert_eq!(events.len(), 1, "{events:?}");
    // The figures are pictures in it.
    assert!(fs::metadata(&events[0]).unwrap().len() > 10_000);
}

fn predicts(run: &Path) {
    let overlays = tempfile::tempdir().unwrap();
    let manifest = fs::read_to_string(run.join("manifest.csv")).unwrap();
    let path = manifest.lines().nth(1).unwrap().split(',').next().unwrap();
    let phantoms = fs::read_dir(run.parent().unwrap().parent().unwrap().join(".phantom"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let image = phantoms.join("images").join(path);
    // A network that was trained on phantoms only is not used without the flag.
    let mut unwitting = xtask(&["predict"]);
    unwitting.arg(run).arg(&image);
    let refused = finish(unwitting);
    assert!(
        refused.status.code() == Some(1) && stderr(&refused).contains("--allow-phantom-model"),
        "{}",
        stderr(&refused)
    );
    let mut command = xtask(&["predict", "--allow-phantom-model"]);
    command
        .arg(run)
        .arg(&image)
        .arg("--out")
        .arg(overlays.path());
    let output = good(finish(command));
    assert!(
        stderr(&output).contains("probability of PNEUMONIA"),
        "{}",
        stderr(&output)
    );
    let trace = String::from_utf8(output.stdout).unwrap();
    for key in [
        "image_sha256",
        "weights_sha256",
        "threshold",
        "trained_on_phantoms",
        "preprocessing",
        "probabilities",
        "versions",
    ] {
        assert!(trace.contains(key), "{key}: {trace}");
    }
    assert_eq!(below(&overlays.path().join("images")).len(), 1);
    predicts_a_list(run, &image);
    predicts_in_shards(run, &phantoms.join("images"));
    predicts_a_share_with_a_fault(run, &image);
    predicts_as_dicom(run, &image);
    #[cfg(target_os = "linux")]
    serves(run, &image);
}

/// The service answers what `predict` prints, and ends in order when it is told to.
#[cfg(target_os = "linux")]
fn serves(run: &Path, image: &Path) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let mut command = xtask(&["serve", "--allow-phantom-model", "--bind", "127.0.0.1:0"]);
    let audit = folder.path().join("audit.jsonl");
    let mut service = command.arg(run).arg("--audit").arg(&audit).spawn().unwrap();
    let mut said = BufReader::new(service.stderr.take().unwrap()).lines();
    let address = said.find_map(|line| {
        let line = line.unwrap();
        let rest = line.strip_prefix("listening on http://");
        // It says nothing after this line, so whoever waits for another waits forever.
        assert!(rest.is_some() || !line.contains("listening"), "{line}");
        Some(rest?.split(' ').next()?.to_owned())
    });
    let mut stream = std::net::TcpStream::connect(address.unwrap()).unwrap();
    let bytes = fs::read(image).unwrap();
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    stream
        .write_all(&[head.as_bytes(), &bytes].concat())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let mut command = xtask(&["predict", "--allow-phantom-model", "--no-pictures"]);
    let out = folder.path().join("out");
    let output = good(finish({
        command.arg(run).arg(image).arg("--out").arg(out);
        command
    }));
    let record = String::from_utf8(output.stdout).unwrap();
    let rest = record.split_once("\"image_sha256\"").unwrap().1.trim_end();
    assert!(answer.contains(rest), "{answer}\n{record}");
    let id = i32::try_from(service.id()).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0));
    let log = fs::read_to_string(audit).unwrap();
    assert!(log.lines().last().unwrap().contains("\"stopped\""), "{log}");
}

/// Results as DICOM files: of DICOM images only, and nothing about the patient is printed.
fn predicts_as_dicom(run: &Path, image: &Path) {
    use dataset::phantom::{ClassImages, PhantomConfig, PhantomFormat, generate};
    let folder = tempfile::tempdir().unwrap();
    let one = ClassImages {
        normal: 1,
        pneumonia: 1,
    };
    let config = PhantomConfig {
        size: 48,
        train: one,
        val: one,
        test: one,
        format: PhantomFormat::Dicom,
        ..PhantomConfig::default()
    };
    let made = generate(&folder.path().join("phantom"), &config).unwrap();
    let radiograph = any_file(&made.images.join("test/NORMAL"));
    let out = folder.path().join("out");
    let mut command = xtask(&["predict", "--allow-phantom-model", "-vvv", "--dicom-out"]);
    command.arg(run).arg(image).arg(&radiograph);
    command.arg("--out").arg(&out);
    let output = finish(command);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let name = image.file_name().unwrap().to_string_lossy();
    for part in [&name, "not a DICOM file", "--dicom-out writes", "1 of 2"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let trace = String::from_utf8(output.stdout).unwrap();
    assert_eq!(trace.lines().count(), 2);
    assert!(trace.contains(".overlay.dcm"), "{trace}");
    let mut written = below(&out).into_iter();
    let written = written.find(|path| path.to_string_lossy().ends_with(".overlay.dcm"));
    let written = written.unwrap();
    let written = fs::read(written).unwrap();
    for secret in ["Phantom^", "PHANTOM-0", "PHANTOM0", "20200102"] {
        let found = |bytes: &[u8]| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(found(&written), "{secret}");
        assert!(
            !found(text.as_bytes()) && !found(trace.as_bytes()),
            "{secret}"
        );
    }
}

fn any_file(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap();
    files.next().unwrap().unwrap().path()
}

/// Images with the same name, a name of maximum length, and files that are not images among them.
fn predicts_a_list(run: &Path, image: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let long = format!("{}.png", "l".repeat(246));
    let good = [
        "p1/frontal.png",
        "p2/frontal.png",
        "p1/x.png",
        "p1/x.jpg",
        &long,
    ];
    for name in good {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(image, path).unwrap();
    }
    fs::write(folder.path().join("text.png"), "no image").unwrap();
    let mut command = xtask(&["predict", "--allow-phantom-model"]);
    command.arg(run).arg("--out").arg(&out);
    for name in ["text.png", "p1"].into_iter().chain(good) {
        command.arg(folder.path().join(name));
    }
    let output = finish(command);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "text.png: not a JPEG, PNG, TIFF",
        "3 of 9 images are named more than once",
        "1 of 6 images could not be predicted",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 6);
    assert_eq!(below(&out.join("images")).len(), 5);
    let table = fs::read_to_string(out.join("predictions.csv")).unwrap();
    assert_eq!(table.lines().count(), 7);
    assert_eq!(table.matches("not a JPEG").count(), 1, "{table}");
}

/// Three processes that share the work, one of them killed in between, give the bytes of a single one.
fn predicts_in_shards(run: &Path, images: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let predict = |out: &str, arguments: &[&str]| {
        let mut command = xtask(&["predict", "--allow-phantom-model", "--batch-size", "4"]);
        command.arg(run).arg(images).args(arguments);
        command.arg("--out").arg(folder.path().join(out));
        finish(command)
    };
    let (one, three) = (folder.path().join("one"), folder.path().join("three"));
    let merge = || {
        let mut command = xtask(&["merge"]);
        command.arg(&three);
        finish(command)
    };
    good(predict("one", &[]));
    for shard in ["2/3", "1/3"] {
        let output = good(predict("three", &["--shard", shard]));
        assert!(output.stdout.is_empty());
    }
    let early = merge();
    assert_eq!(early.status.code(), Some(1));
    for part in [
        "1 of 3 shards",
        "shard 3/3: ",
        "again: 3\n",
        "is incomplete",
    ] {
        assert!(stderr(&early).contains(part), "{part}: {}", stderr(&early));
    }
    assert!(!three.join("predictions.csv").exists());
    good(predict("three", &["--shard", "3/3"]));
    same_results(&one, &three);
    let table = String::from_utf8(good(merge()).stdout).unwrap();
    assert!(table.trim_end().ends_with("predictions.csv"), "{table}");
    same_results(&one, &three);
    // As a killed process leaves it: the tables are missing, and the journal ends within a line.
    let part = one.join("parts/1-of-1.jsonl");
    let journal = fs::read(&part).unwrap();
    fs::write(&part, &journal[..journal.len() * 2 / 3]).unwrap();
    fs::remove_file(one.join("predictions.parquet")).unwrap();
    let resumed = good(predict("one", &[]));
    assert!(
        stderr(&resumed).contains("had been predicted before"),
        "{}",
        stderr(&resumed)
    );
    same_results(&one, &three);
    let other = predict("one", &["--no-pictures"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(stderr(&other).contains("another job"), "{}", stderr(&other));
}

/// A share with an image that cannot be predicted is complete all the same: a scheduler must not run it again.
fn predicts_a_share_with_a_fault(run: &Path, image: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let (text, out) = (folder.path().join("text.png"), folder.path().join("out"));
    fs::write(&text, "no image").unwrap();
    for index in ["0", "1"] {
        let mut command = xtask(&["predict", "--allow-phantom-model", "--batch-size", "1"]);
        command
            .arg(run)
            .arg(image)
            .arg(&text)
            .arg("--out")
            .arg(&out);
        command
            .args(["--shard", "auto/2"])
            .env("JOB_COMPLETION_INDEX", index);
        let said = stderr(&good(finish(command)));
        let faults = said.contains("1 of 1 images could not be predicted");
        assert_eq!(faults, index == "1", "{said}");
    }
    let mut command = xtask(&["merge"]);
    command.arg(&out);
    let said = stderr(&good(finish(command)));
    assert!(said.contains("1 of 2 images could not"), "{said}");
}

fn same_results(one: &Path, other: &Path) {
    for name in [
        "predictions.jsonl",
        "predictions.csv",
        "predictions.parquet",
    ] {
        let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
        assert!(read(one) == read(other), "{name} differs");
    }
    let pictures = |folder: &Path| {
        let folder = folder.join("images");
        let relative = |path: &PathBuf| path.strip_prefix(&folder).unwrap().to_owned();
        let files = below(&folder);
        let files = files
            .iter()
            .map(|path| (relative(path), fs::read(path).unwrap()));
        files.collect::<Vec<_>>()
    };
    assert!(pictures(one) == pictures(other), "pictures differ");
}

/// All files below a folder, sorted.
fn below(folder: &Path) -> Vec<PathBuf> {
    let (mut open, mut files) = (vec![folder.to_owned()], vec![]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let list = if path.is_dir() { &mut open } else { &mut files };
            list.push(path);
        }
    }
    files.sort();
    files
}

fn kill_after_first_epoch(command: Command, out: &Path) {
    let mut child = after_first_epoch(command, out);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(target_os = "linux")]
fn interrupt_after_first_epoch(command: Command, out: &Path) -> Output {
    let child = after_first_epoch(command, out);
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    child.wait_with_output().unwrap()
}

/// Runs until the first epoch's checkpoint is on disk: in the middle of the second epoch, or just before it.
fn after_first_epoch(mut command: Command, out: &Path) -> Child {
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while !out
        .join("pneumonia/latest/checkpoints/last.safetensors")
        .is_file()
    {
        assert!(start.elapsed() < Duration::from_secs(120), "no checkpoint");
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended too early"
        );
        sleep(Duration::from_millis(2));
    }
    child
}

/// A full disk, simulated by a limit on the size of files: the error names the file, and completed work is kept.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_nothing_is_lost() {
    let out = tempfile::tempdir().unwrap();
    // 2 MiB in blocks of 512 bytes: all but the checkpoints fit. The signal that would kill is ignored, so that the
    // write fails as on a full disk.
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"";
    let inner = tiny(out.path(), &[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(inner.get_program())
        .args(inner.get_args());
    let output = command.output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("cannot write") && text.contains(".safetensors"),
        "{text}"
    );
    let run = only_run(out.path());
    assert!(
        run.join("manifest.csv").is_file() && !run.join("checkpoints/last.safetensors").exists()
    );
    good(finish(tiny(out.path(), &["--resume"])));
}
