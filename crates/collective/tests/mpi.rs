//! The same calls over MPI: starts this program several times with `mpiexec`, which is `EFF_UNET_MPIEXEC` or in `PATH`.
//! Skipped, visibly, where there is none or its library has no standard ABI.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::convert::Infallible;
use std::env;
use std::path::PathBuf;
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

/// Sums over chunks, of numbers whose sum depends on the order, in two pieces.
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
        let own = parts.piece(&piece, &mut last);
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
