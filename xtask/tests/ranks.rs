//! A pipeline on several processes: the files of a run on one, two and four are the same to the byte, also where a process
//! was killed and the run went on with another number. `mpiexec` is `EFF_UNET_MPIEXEC` or in `PATH`; skipped, visibly,
//! where there is none or its library has no standard ABI.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions
#![cfg(target_os = "linux")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// The phantom run of which the ranks share everything that can be shared.
const TINY: [&str; 11] = [
    "demo.phantom.train=[16,16]",
    "demo.phantom.test=[8,8]",
    "demo.phantom.size=64",
    "demo.data.validation.fraction=0.3",
    "image.size=32",
    "train.epochs=2",
    "train.batch_size=8",
    "train.chunks=4",
    "evaluate.bootstrap=50",
    "pipeline.stages=['index','eda','train','evaluate']",
    "train.early_stopping.enabled=false",
];

/// Files whose bytes must not depend on the processes.
const FILES: [&str; 4] = [
    "model.safetensors",
    "metrics.json",
    "predictions.csv",
    "eda.json",
];

/// `mpiexec`, and the library with the standard ABI beside it.
fn mpi() -> Option<(PathBuf, PathBuf)> {
    let named = env::var_os("EFF_UNET_MPIEXEC").map(PathBuf::from);
    let found = named.or_else(|| {
        let folders: Vec<_> = env::split_paths(&env::var_os("PATH")?).collect();
        let files = folders.into_iter().map(|folder| folder.join("mpiexec"));
        files.into_iter().find(|file| file.is_file())
    });
    let library = |mpiexec: &Path| {
        let library = mpiexec.parent()?.parent()?.join("lib/libmpi_abi.so.1");
        library.is_file().then_some(library)
    };
    match found.and_then(|mpiexec| library(&mpiexec).map(|library| (mpiexec, library))) {
        None => {
            eprintln!(
                "SKIPPED: no mpiexec with MPI's standard ABI; tools/install_mpich.sh installs one"
            );
            None
        }
        found => found,
    }
}

/// The program on so many processes under `mpiexec`; with `None` without it.
fn start(mpi: &(PathBuf, PathBuf), processes: Option<usize>) -> Command {
    let program = env!("CARGO_BIN_EXE_eff-unet");
    match processes {
        None => Command::new(program),
        Some(n) => {
            let mut command = Command::new(&mpi.0);
            command
                .args(["-n", &n.to_string(), program])
                .env(collective::mpi::LIBRARY, &mpi.1);
            command
        }
    }
}

/// The run of the demo, as [`start`].
fn command(
    mpi: &(PathBuf, PathBuf),
    processes: Option<usize>,
    out: &Path,
    more: &[&str],
) -> Command {
    let mut command = start(mpi, processes);
    command
        .args(["pipeline", "pneumonia", "--demo", "--out"])
        .arg(out)
        .args(TINY.iter().flat_map(|set| ["--set", set]))
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn files(out: &Path) -> Vec<Vec<u8>> {
    let run = out.join("pneumonia/latest");
    FILES
        .iter()
        .map(|file| fs::read(run.join(file)).unwrap())
        .collect()
}

fn check_equal(found: &[Vec<u8>], expected: &[Vec<u8>], what: &str) {
    for ((found, expected), file) in found.iter().zip(expected).zip(FILES) {
        assert!(found == expected, "{what}: {file} differs");
    }
}

#[test]
fn a_run_on_any_number_of_processes_leaves_the_same_bytes() {
    let Some(mpi) = mpi() else { return };
    let runs = tempfile::tempdir().unwrap();
    let run = |processes: Option<usize>| {
        let out = runs
            .path()
            .join(processes.map_or("alone".into(), |n| n.to_string()));
        let output = command(&mpi, processes, &out, &[]).output().unwrap();
        assert!(output.status.success(), "{processes:?}: {}", words(&output));
        (files(&out), words(&output))
    };
    let (alone, _) = run(None);
    for processes in [1, 2, 4] {
        let (found, said) = run(Some(processes));
        check_equal(&found, &alone, &format!("{processes} processes"));
        // Only rank 0 speaks.
        assert_eq!(said.matches("train: ").count(), 1, "{said}");
        let warning = "batch norm takes its statistics from chunks of 2 images";
        assert_eq!(said.matches(warning).count(), 1, "{said}");
    }
}

/// Batch norm with the statistics of all chunks: the same bytes too, and no warning of small chunks.
#[test]
fn chunks_that_share_statistics_leave_the_same_bytes() {
    let Some(mpi) = mpi() else { return };
    let runs = tempfile::tempdir().unwrap();
    let run = |processes: Option<usize>| {
        let out = runs.path().join(format!("{processes:?}"));
        let more = ["--set", "train.sync_batch_norm=true"];
        let output = command(&mpi, processes, &out, &more).output().unwrap();
        assert!(output.status.success(), "{processes:?}: {}", words(&output));
        assert!(!words(&output).contains("batch norm takes"));
        files(&out)
    };
    let alone = run(None);
    for processes in [2, 4] {
        check_equal(
            &run(Some(processes)),
            &alone,
            &format!("{processes} processes"),
        );
    }
}

/// The folder with the splits below another, whose files are made old: recent ones are not kept in the index cache.
fn splits_below(folder: &Path) -> Option<PathBuf> {
    let mut splits = folder.join("train").is_dir().then(|| folder.to_path_buf());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let found = splits_below(&path);
            splits = splits.or(found);
        } else {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
                .unwrap();
        }
    }
    splits
}

/// Each process opens a part of the images for the cache, from which all have the index.
#[test]
fn processes_share_out_the_index() {
    let Some(mpi) = mpi() else { return };
    let runs = tempfile::tempdir().unwrap();
    let only_index = ["--set", "pipeline.stages=['index']"];
    let drawn = runs.path().join("drawn");
    let output = command(&mpi, None, &drawn, &only_index).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let data = splits_below(&drawn.join(".phantom")).unwrap();
    let index = |processes: Option<usize>, out: &Path| {
        let mut command = start(&mpi, processes);
        command
            .args([
                "pipeline",
                "pneumonia",
                "--set",
                "pipeline.stages=['index']",
                "--set",
                "model.pretrained=none",
                "--set",
                "train.chunks=4",
            ])
            .arg("--data")
            .arg(&data)
            .arg("--out")
            .arg(out);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        let manifest = fs::read(out.join("pneumonia/latest/manifest.csv")).unwrap();
        (manifest, words(&output))
    };
    let (alone, _) = index(None, &runs.path().join("alone"));
    let together = runs.path().join("together");
    let (shared, said) = index(Some(3), &together);
    assert!(shared == alone);
    assert!(!said.contains("unchanged"), "{said}");
    let caches = fs::read_dir(together.join(".cache/index")).unwrap();
    let packs = |cache: fs::DirEntry| fs::read_dir(cache.path()).unwrap().count();
    let packs: usize = caches.map(|cache| packs(cache.unwrap())).sum();
    assert_eq!(packs, 3);
    let (again, said) = index(Some(2), &together);
    assert!(
        again == alone && said.contains("64 images unchanged"),
        "{said}"
    );
}

/// The processes that run this test's program below another.
fn ranks_of(mpiexec: u32) -> Vec<u32> {
    let text = |pid: u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
    let parent = |pid: u32| -> Option<u32> {
        let status = text(pid, "status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse().ok()
    };
    let below = |pid: u32| {
        let mut at = pid;
        while let Some(up) = parent(at).filter(|up| *up > 1) {
            if up == mpiexec {
                return true;
            }
            at = up;
        }
        false
    };
    let all = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let program = |pid: &u32| text(*pid, "comm").is_ok_and(|comm| comm.trim() == "eff-unet");
    all.filter(program).filter(|pid| below(*pid)).collect()
}

#[test]
fn a_killed_process_ends_the_job_and_the_run_goes_on_with_another_number() {
    let Some(mpi) = mpi() else { return };
    let runs = tempfile::tempdir().unwrap();
    let (whole, killed) = (runs.path().join("whole"), runs.path().join("killed"));
    let output = command(&mpi, None, &whole, &[]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let mut job = command(&mpi, Some(4), &killed, &[]).spawn().unwrap();
    let start = Instant::now();
    let checkpoint = || {
        let mut runs = fs::read_dir(killed.join("pneumonia")).ok()?;
        runs.find_map(|run| {
            Some(run.ok()?.path().join("checkpoints/last.safetensors"))
                .filter(|file| file.is_file())
        })
    };
    while checkpoint().is_none() {
        assert!(start.elapsed() < Duration::from_secs(120), "no checkpoint");
        assert!(
            job.try_wait().unwrap().is_none(),
            "the run ended before it was killed"
        );
        sleep(Duration::from_millis(20));
    }
    let ranks = ranks_of(job.id());
    assert_eq!(ranks.len(), 4, "{ranks:?}");
    let killed_one = ranks.last().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &killed_one])
            .status()
            .unwrap()
            .success()
    );
    let ended = job.wait_with_output().unwrap();
    assert!(!ended.status.success(), "{}", words(&ended));
    let left = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    assert!(!ranks.iter().any(left), "processes are left");
    let output = command(&mpi, Some(2), &killed, &["--resume"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    check_equal(&files(&killed), &files(&whole), "killed and resumed");
}

#[test]
fn mistakes_are_told_once_and_in_one_sentence() {
    let Some(mpi) = mpi() else { return };
    let runs = tempfile::tempdir().unwrap();
    let check = |output: Output, times: usize, mistake: &str| {
        let said = words(&output);
        assert!(!output.status.success(), "{said}");
        assert_eq!(
            said.matches(mistake).count(),
            times,
            "{mistake:?} in {said}"
        );
        assert!(!said.contains("panicked"), "{said}");
    };
    let more = ["--set", "train.chunks=1"];
    let output = command(&mpi, Some(2), runs.path(), &more).output().unwrap();
    check(
        output,
        1,
        "2 processes train together, but train.chunks = 1",
    );
    // A rank with other settings: all find out. One that cannot read its own: the others wait for it.
    for (setting, mistake) in [
        (
            "pipeline.seed=8",
            "process 1 cannot train with process 0: its pipeline.seed is 8",
        ),
        ("pipeline.seed=eight", "error: process 1"),
    ] {
        let mut both = command(&mpi, Some(1), runs.path(), &[]);
        let other = command(&mpi, None, runs.path(), &["--set", setting]);
        both.args([":", "-n", "1"])
            .arg(other.get_program())
            .args(other.get_args());
        check(both.output().unwrap(), 1, mistake);
    }
    // A library that is none: the processes cannot agree which of them speaks.
    let mut other = command(&mpi, Some(2), runs.path(), &[]);
    let output = other
        .env(collective::mpi::LIBRARY, "libc.so.6")
        .output()
        .unwrap();
    check(output, 2, "libc.so.6 has no function MPI_");
}
