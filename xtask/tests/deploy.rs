//! The scripts and manifests of `deploy/`: they start commands of this program with options that it has, and take the
//! share from variables that it reads.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_eff-unet");

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name)
}

fn manifest(name: &str) -> String {
    fs::read_to_string(deploy("kubernetes").join(name)).unwrap()
}

/// Without what a scheduler sets.
fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for name in ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"] {
        command.env_remove(name);
    }
    command.env("EFF_UNET", PROGRAM);
    command
}

fn said(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{error}")
}

/// The exit code: 2 for wrong usage, 1 for a network that does not exist.
fn check(mut command: Command, code: i32, part: &str) {
    let output = command.output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(said.contains(part), "no {part:?} in {said}");
}

/// The list `args` of a manifest, with the folders of its volumes below another.
fn arguments(manifest: &str, below: &Path) -> Vec<String> {
    let lines = manifest.lines().map(str::trim);
    let items = lines.skip_while(|line| *line != "args:").skip(1);
    let items = items.map_while(|line| line.strip_prefix("- "));
    let inside = |item: &str| match item.strip_prefix('/') {
        Some(path) => below.join(path).to_string_lossy().into_owned(),
        None => item.to_owned(),
    };
    items.map(inside).collect()
}

/// The value of a key that is there once.
fn value<'m>(manifest: &'m str, key: &str) -> &'m str {
    let lines = manifest.lines().map(str::trim);
    let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let value = values.next().unwrap();
    assert_eq!(values.next(), None, "{key}");
    value
}

#[test]
fn every_index_of_the_kubernetes_job_has_a_share() {
    let folder = tempfile::tempdir().unwrap();
    let text = manifest("predict.yaml");
    let arguments = arguments(&text, folder.path());
    let index = |index: &str| {
        let mut command = command(PROGRAM);
        command.args(&arguments).env("JOB_COMPLETION_INDEX", index);
        command
    };
    let completions: usize = value(&text, "completions").parse().unwrap();
    check(index("0"), 1, "model.safetensors");
    check(
        index(&(completions - 1).to_string()),
        1,
        "model.safetensors",
    );
    check(index(&completions.to_string()), 2, "JOB_COMPLETION_INDEX");
}

#[test]
fn without_a_scheduler_there_is_no_share() {
    for share in ["auto", "auto/8"] {
        let mut command = command(PROGRAM);
        command.args(["predict", "gone", "films", "--out", "out", "--shard", share]);
        check(command, 2, "neither SLURM_ARRAY_TASK_ID");
    }
}

#[test]
fn the_merge_of_the_kubernetes_job_reads_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let merge = arguments(&manifest("merge.yaml"), folder.path());
    let predict = arguments(&manifest("predict.yaml"), folder.path());
    let out = predict
        .iter()
        .position(|argument| argument == "--out")
        .unwrap();
    assert_eq!(merge[1..], predict[out + 1..out + 2]);
    let mut command = command(PROGRAM);
    command.args(&merge);
    check(command, 1, "is not a folder of predictions");
}

/// What the Containerfile's image can do without.
#[test]
fn the_pods_run_as_the_user_of_the_image_and_write_nowhere_else() {
    let container = fs::read_to_string(deploy("../Containerfile")).unwrap();
    let user = container.split("its user is ").nth(1).unwrap();
    let user = user.split('.').next().unwrap();
    for name in ["predict.yaml", "merge.yaml"] {
        let text = manifest(name);
        for (key, expected) in [
            ("runAsUser", user),
            ("runAsNonRoot", "true"),
            ("readOnlyRootFilesystem", "true"),
            ("allowPrivilegeEscalation", "false"),
            ("drop", "[ALL]"),
            ("restartPolicy", "Never"),
        ] {
            assert_eq!(value(&text, key), expected, "{name}: {key}");
        }
    }
}

#[test]
fn the_slurm_scripts_start_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let task = |task: &str| {
        let mut command = command("bash");
        command.arg(deploy("slurm/predict.sbatch"));
        command.args(["8", "out", "gone", "films", "--no-pictures"]);
        command
            .env("SLURM_ARRAY_TASK_ID", task)
            .current_dir(&folder);
        command
    };
    check(task("8"), 1, "gone");
    check(task("9"), 2, "SLURM_ARRAY_TASK_ID is 9");
    let mut merge = command("bash");
    merge.arg(deploy("slurm/merge.sbatch")).arg("gone");
    merge.current_dir(&folder);
    check(merge, 1, "gone is not a folder of predictions");
}

#[test]
fn the_merge_is_submitted_to_follow_the_array() {
    let folder = tempfile::tempdir().unwrap();
    let sbatch = folder.path().join("sbatch");
    fs::write(
        &sbatch,
        "#!/bin/sh\necho \"$@\" >> said\necho '17;cluster'\n",
    )
    .unwrap();
    fs::set_permissions(&sbatch, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    let submit = |array: Option<&str>, arguments: &[&str]| {
        let mut command = command("bash");
        command.arg(deploy("slurm/submit.sh")).args(arguments);
        command
            .env("PATH", &path)
            .current_dir(&folder)
            .env_remove("ARRAY");
        command.envs(array.map(|array| ("ARRAY", array)));
        command
    };
    check(
        submit(None, &["8", "out", "run", "films", "--abstain"]),
        0,
        "array 17, merge 17",
    );
    check(
        submit(Some("3,7"), &["8", "out", "run", "films"]),
        0,
        "array 17",
    );
    check(submit(None, &["8", "out"]), 2, "usage");
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    let expected = [
        ("--array=1-8 ", "predict.sbatch 8 out run films --abstain"),
        ("--dependency=afterany:17 ", "merge.sbatch out"),
        ("--array=3,7 ", "predict.sbatch 8 out run films"),
        ("--dependency=afterany:17 ", "merge.sbatch out"),
    ];
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    for (line, (option, end)) in said.lines().zip(expected) {
        assert!(line.contains(option) && line.ends_with(end), "{line}");
    }
}
