//! Writes, leftovers and locks, across threads and processes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use files::{Lock, Locked, sha256};

/// Starts this test binary again to run `child_work`.
fn child(what: &str, at: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_work", "--exact", "--nocapture"])
        .env("FILES_TEST_DO", what)
        .env("FILES_TEST_AT", at)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child ended");
    }
    (child, lines)
}

#[test]
fn child_work() {
    let Some(at) = std::env::var_os("FILES_TEST_AT").map(PathBuf::from) else {
        return;
    };
    let _held = match std::env::var("FILES_TEST_DO").unwrap().as_str() {
        "lock" => Lock::at(&at).unwrap(),
        other => panic!("{other}"),
    };
    println!("ready");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_write_replaces_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    files::write(&path, b"one").unwrap();
    files::write(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(folder.path()), ["a.json"]);
}

/// A name has at most 255 bytes, and the temporary file's must not be longer.
#[test]
fn a_name_may_have_the_maximum_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n".repeat(255));
    files::write(&path, b"one").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one");
}

#[test]
fn a_write_that_fails_keeps_the_old_file_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "kept").unwrap();
    files::write(&path, b"one").unwrap_err();
    assert_eq!(names(folder.path()), ["taken"]);
    assert_eq!(names(&path), ["inside"]);
}

/// Many threads write one target: none fails, and one of them is last.
#[test]
fn writers_of_one_file_do_not_interfere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..20 {
                    files::write(path, &[thread; 1000]).unwrap();
                }
            });
        }
    });
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() == 1000 && bytes.iter().all(|b| *b == bytes[0]));
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn leftovers_of_dead_processes_are_swept_and_living_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("deep");
    fs::create_dir(&deep).unwrap();
    fs::write(folder.path().join(".writing-1-0.tmp"), "cut").unwrap();
    fs::write(deep.join(".writing-1-1.tmp"), "cut").unwrap();
    let living = folder.path().join(".writing-1-2.tmp");
    let held = fs::File::create(&living).unwrap();
    held.lock().unwrap();
    fs::write(folder.path().join("mine.tmp"), "not ours").unwrap();
    files::sweep(folder.path());
    assert_eq!(names(&deep).len(), 1);
    files::sweep_tree(folder.path());
    assert_eq!(
        names(folder.path()),
        [".writing-1-2.tmp", "deep", "mine.tmp"]
    );
    assert_eq!(names(&deep), [""; 0]);
}

/// Sweeps remove whatever they can during writes.
#[test]
fn sweeping_during_a_write_is_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                files::sweep(folder.path());
            }
        });
        for i in 0..200 {
            files::write(&folder.path().join(format!("{i}")), b"whole").unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(names(folder.path()).len(), 200);
}

#[test]
fn reads_are_bounded_and_only_of_regular_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ten");
    fs::write(&path, [7; 10]).unwrap();
    assert_eq!(files::read(&path, 10).unwrap(), [7; 10]);
    let error = files::read(&path, 9).unwrap_err().to_string();
    assert!(error.contains("more than 9 bytes"), "{error}");
    for other in [folder.path(), Path::new("/dev/zero")] {
        let error = files::read(other, 9).unwrap_err().to_string();
        assert!(
            !cfg!(unix) || error.contains("not a regular file"),
            "{error}"
        );
    }
    let none = files::read(&folder.path().join("none"), 9).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::NotFound);
}

/// Reading a pipe without a writer would block forever.
#[cfg(unix)]
#[test]
fn pipes_are_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&path).status();
    if made.is_ok_and(|status| status.success()) {
        files::read(&path, 9).unwrap_err();
    }
}

#[test]
fn folders_are_moved_with_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    for path in [&from.join("a/b"), &from.join("a/b"), Path::new("")] {
        files::create_folder(path).unwrap();
    }
    fs::write(from.join("a/b/c"), "c").unwrap();
    files::persist_folder(&from, &to).unwrap();
    assert_eq!(fs::read(to.join("a/b/c")).unwrap(), b"c");
    assert!(!from.exists());
    fs::write(folder.path().join("file"), "").unwrap();
    files::create_folder(&folder.path().join("file/below")).unwrap_err();
}

#[test]
fn a_lock_belongs_to_one_process_and_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".lock");
    let (mut holder, _lines) = child("lock", &path);
    match Lock::try_at(&path).unwrap() {
        Locked::ByProcess(pid) => assert_eq!(pid, Some(holder.id())),
        Locked::Mine(_) => panic!("two processes hold one lock"),
    }
    // A killed process cleans nothing up.
    holder.kill().unwrap();
    holder.wait().unwrap();
    let mine = match Lock::try_at(&path).unwrap() {
        Locked::Mine(lock) => lock,
        Locked::ByProcess(pid) => panic!("held by {pid:?}"),
    };
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        std::process::id().to_string()
    );
    drop(mine);
    assert!(!path.exists());
}

/// Lock files are created and removed, yet no two threads ever hold the lock at once.
#[test]
fn one_thread_at_a_time_holds_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".lock");
    let inside = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for i in 0..100 {
                    let turn = match (i % 2, Lock::try_at(&path).unwrap()) {
                        (_, Locked::Mine(turn)) => turn,
                        (0, Locked::ByProcess(_)) => continue,
                        (_, Locked::ByProcess(_)) => Lock::at(&path).unwrap(),
                    };
                    let before = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    assert_eq!(before, 0);
                    std::thread::yield_now();
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(turn);
                }
            });
        }
    });
    assert!(!path.exists());
}

#[test]
fn sums_are_sha256() {
    // printf abc | sha256sum
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sha256::hex(b"abc"), abc);
    assert_eq!(sha256::of_parts([&b"a"[..], b"bc"]), abc);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abc");
    fs::write(&path, "abc").unwrap();
    assert_eq!(sha256::of_file(&path).unwrap(), abc);
    assert!(sha256::is_sum(abc) && !sha256::is_sum("abc"));
}
