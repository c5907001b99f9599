//! The same calls over MPI: starts this program several times with `mpiexec`, which is `EFF_UNET_MPIEXEC` or in `PATH`.
//! Skipped, visibly, where there is none or its library has no standard ABI.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::convert::Infallible;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use collective::mpi::{self, Mpi};
use collective::{Collective, Division, sum, threads};

/// Set for the processes that `mpiexec` starts.
const MEMBER: &str = "COLLECTIVE_MEMBER";
const CHUNKS: usize = 6;

fn mpiexec() -> Option<PathBuf> {
    if let Some(named) = env::var_os("EFF_UNET_MPIEXEC") {
        return Some(named.into());
    }
    let folders: Vec<_> = env::split_paths(&env::var_os("PATH")?).collect();
    folders
        .into_iter()
        .map(|folder| folder.join("mpiexec"))
        .find(|file| file.is_file())
}

/// Runs a test of this file as so many processes; `None` where that is not possible.
fn members(test: &str, what: &str, size: usize) -> Option<Output> {
    let Some(mpiexec) = mpiexec() else {
        eprintln!("SKIPPED: there is no mpiexec; tools/install_mpich.sh installs one");
        return None;
    };
    let lib = mpiexec.parent()?.parent()?.join("lib/libmpi_abi.so.1");
    let mut command = Command::new(&mpiexec);
    if lib.is_file() {
        command.env(mpi::LIBRARY, lib);
    }
    let args = ["--exact", test, "--nocapture", "--test-threads=1"];
    let output = command
        .args(["-n", &size.to_string()])
        .arg(env::current_exe().unwrap())
        .args(args)
        .env(MEMBER, what)
        .output()
        .unwrap();
    if String::from_utf8_lossy(&output.stderr).contains("no library with MPI's standard ABI") {
        eprintln!(
            "SKIPPED: {} has no library with the standard ABI",
            mpiexec.display()
        );
        return None;
    }
    Some(output)
}

fn all(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Sums over chunks, of numbers whose sum depends on the order, for two ranges.
fn work(group: &dyn Collective) -> Vec<f32> {
    let len = 1000;
    let own = Division::new(CHUNKS, group.rank(), group.size()).own;
    let numbers = |chunk: usize| -> Vec<f32> {
        let value = |i: usize| ((chunk * 7 + i) as f32).sin() * 10_f32.powi((chunk + i) as i32 % 6);
        (0..len).map(value).collect()
    };
    let mut leaf = |chunk: usize, _: &mut Vec<Vec<f32>>| Ok::<_, Infallible>(Some(numbers(chunk)));
    let filled = [true; CHUNKS];
    let (parts, last) = sum::Parts::without_last(&filled, &own, &mut leaf, &mut vec![]).unwrap();
    let last = last.map(numbers).unwrap_or_default();
    let mut whole = vec![0.0; len];
    let mut reducer = sum::Reducer::default();
    for piece in [0..300, 300..len] {
        let mut last = last[piece.clone()].to_vec();
        let own = parts.of_range(&piece, &mut last);
        reducer
            .reduce(group, &filled, &own, &mut whole[piece])
            .unwrap();
    }
    whole
}

#[test]
fn sums_over_mpi_are_those_of_one_process() {
    if env::var_os(MEMBER).is_some_and(|what| what == "sums") {
        let group = Mpi::join("mpiexec").unwrap();
        let words = group
            .gather(format!("rank {}", group.rank()).as_bytes())
            .unwrap();
        let last = words
            .last()
            .map(|word| String::from_utf8_lossy(word).into_owned());
        assert_eq!(last, Some(format!("rank {}", group.size() - 1)));
        assert_eq!(work(&group), threads::run(1, |alone| work(alone)).remove(0));
        println!(
            "\nequal on rank {} of {} by {}",
            group.rank(),
            group.size(),
            group.version()
        );
        return;
    }
    for size in [1, 2, 3, 4] {
        let Some(output) = members("sums_over_mpi_are_those_of_one_process", "sums", size) else {
            return;
        };
        let said = all(&output);
        assert!(output.status.success(), "{said}");
        let equal = said
            .lines()
            .filter(|line| line.starts_with("equal on rank"));
        assert_eq!(equal.count(), size, "{said}");
        eprintln!(
            "{}",
            said.lines()
                .find(|line| line.starts_with("equal"))
                .unwrap_or_default()
        );
    }
}

#[test]
fn a_process_that_aborts_ends_the_others() {
    if env::var_os(MEMBER).is_some_and(|what| what == "aborts") {
        let group = Mpi::join("mpiexec").unwrap();
        if group.rank() == 1 {
            group.abort(7);
        }
        // Without the abort this would wait for ever.
        let _ended = group.gather(b"");
        return;
    }
    if let Some(output) = members("a_process_that_aborts_ends_the_others", "aborts", 2) {
        assert!(!output.status.success(), "{}", all(&output));
    }
}

/// The functions that are needed of a library.
const FUNCTIONS: [&str; 16] = [
    "Initialized",
    "Init_thread",
    "Finalize",
    "Abort",
    "Comm_set_errhandler",
    "Error_string",
    "Get_library_version",
    "Comm_rank",
    "Comm_size",
    "Comm_dup",
    "Ibarrier",
    "Test",
    "Allgather",
    "Allgatherv_c",
    "Iallgatherv_c",
    "Ialltoallv_c",
];

/// A library of stubs that states this version of the ABI.
fn library(folder: &Path, functions: &[&str], version: i32) -> Option<PathBuf> {
    let stubs = functions
        .iter()
        .map(|name| format!("int MPI_{name}(void) {{ return 1; }}\n"));
    let stated = format!(
        "int MPI_Abi_get_version(int *major, int *minor) {{ *major = {version}; *minor = 3; return 0; }}\n"
    );
    let (source, library) = (
        folder.join("stubs.c"),
        folder.join(format!("stubs{version}.so")),
    );
    fs::write(&source, stubs.collect::<String>() + &stated).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    match made {
        Ok(status) if status.success() => Some(library),
        _ => {
            eprintln!("SKIPPED: there is no C compiler");
            None
        }
    }
}

/// Another version of the ABI, and a library without one of the functions.
#[test]
fn libraries_that_do_not_suit_are_refused_in_one_sentence() {
    if env::var_os(MEMBER).is_some_and(|what| what == "refused") {
        println!("\nrefused: {}", Mpi::join("mpiexec").err().unwrap());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said = |library: PathBuf| {
        let output = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "libraries_that_do_not_suit_are_refused_in_one_sentence",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(MEMBER, "refused")
            .env(mpi::LIBRARY, library)
            .output()
            .unwrap();
        let said = all(&output);
        assert!(output.status.success(), "{said}");
        let line = said.lines().find(|line| line.starts_with("refused: "));
        line.unwrap().to_owned()
    };
    let Some(other) = library(folder.path(), &FUNCTIONS, 2) else {
        return;
    };
    let words = said(other);
    assert!(
        words.ends_with("has version 2.3 of MPI's standard ABI, but this program needs version 1"),
        "{words}"
    );
    for missing in FUNCTIONS {
        let others: Vec<&str> = FUNCTIONS
            .into_iter()
            .filter(|name| *name != missing)
            .collect();
        let words = said(library(folder.path(), &others, 1).unwrap());
        assert!(
            words.contains(&format!("has no function MPI_{missing}: ")),
            "{words}"
        );
    }
    // With all of them the library is used, and says that it cannot start.
    let words = said(library(folder.path(), &FUNCTIONS, 1).unwrap());
    assert!(words.contains("MPI could not start"), "{words}");
}
