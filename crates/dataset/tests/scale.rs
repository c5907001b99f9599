//! How time and memory grow with the number of images: the figures of docs/scaling.md.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use dataset::{
    DataLayout, Eda, EdaConfig, IndexConfig, Manifest, SplitFolders, SplitPolicy, Splits, index,
    synthetic,
};
use image::{GrayImage, Luma};

/// A number from the environment.
fn number(name: &str, default: usize) -> usize {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().unwrap())
}

/// Where gigabytes may be written.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Lets the peak of memory start anew (Linux).
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The peak of resident memory since then, in MiB; 0 where it is not known.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0_usize) >> 10
}

/// Does something, and prints seconds and the peak of memory.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    forget_peak();
    let start = Instant::now();
    let done = work();
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:36} {seconds:8.2} s   peak {:6} MiB", peak());
    done
}

#[test]
#[ignore = "measures with gigabytes on the disk; docs/scaling.md has the command"]
fn rows() {
    let (rows, folder) = (number("ROWS", 1_000_000), folder());
    println!("{rows} rows");
    let manifest = timed("making them", || made(rows, folder.path()));
    forget_peak();
    let start = Instant::now();
    let (analysed, eda) = analysis(&manifest);
    let seconds = start.elapsed().as_secs_f64();
    println!("EDA and splits: {seconds:.1} s");
    println!(
        "{} near copies, {} groups of equal files",
        eda.near_copies.pairs,
        eda.duplicates.len()
    );
    let csv = folder.path().join("manifest.csv");
    timed("manifest.csv", || analysed.write_csv(&csv).unwrap());
    timed("fingerprint", || analysed.fingerprint());
    timed("EDA as JSON", || serde_json::to_vec(&eda).unwrap().len());
}

/// Rows of the same patient or file are determined once for a manifest, and are thus part of the first round only.
#[test]
#[ignore = "measures with gigabytes on the disk; docs/scaling.md has the command"]
fn twice_the_rows() {
    let rows = number("ROWS", 1_000_000);
    let made = [rows, 2 * rows].map(|rows| {
        let folder = folder();
        (made(rows, folder.path()), folder)
    });
    for round in 1..=3 {
        let seconds = made.each_ref().map(|(manifest, _)| {
            println!("{} rows", manifest.rows().len());
            let start = Instant::now();
            analysis(manifest);
            start.elapsed().as_secs_f64()
        });
        let [once, twice] = seconds;
        println!(
            "round {round}: {once:.1} and {twice:.1} s, {:.2} times",
            twice / once
        );
    }
}

/// Rows whose small copies are on the disk: while gigabytes are still being written, all else is slower.
fn made(rows: usize, folder: &Path) -> Manifest {
    let manifest = synthetic(rows, folder).unwrap();
    let _ = Command::new("sync").status();
    manifest
}

fn analysis(manifest: &Manifest) -> (Manifest, Eda) {
    let holdout = SplitPolicy::Holdout {
        val: 0.1,
        test: 0.2,
        seed: 0,
    };
    timed("splits (holdout)", || {
        Splits::new(manifest, &holdout, None).unwrap()
    });
    let policy = SplitPolicy::default();
    let splits = timed("splits (validation from train)", || {
        Splits::new(manifest, &policy, None).unwrap()
    });
    let manifest = timed("manifest with splits", || {
        manifest.with_splits(&splits).unwrap()
    });
    let eda = timed("EDA", || {
        Eda::new(&manifest, &EdaConfig::default()).unwrap()
    });
    (manifest, eda)
}

#[test]
#[ignore = "measures with many files; docs/scaling.md has the command"]
fn files() {
    let (n, folder) = (number("FILES", 100_000), folder());
    let config = IndexConfig {
        root: folder.path().join("images"),
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        cache: Some(folder.path().join("cache")),
        ..IndexConfig::default()
    };
    timed(&format!("making {n} files"), || make(&config.root, n));
    let mut prints = vec![];
    for what in ["cold index", "warm index", "warm index again"] {
        let start = Instant::now();
        let manifest = timed(what, || index(&config).unwrap());
        let rate = n as f64 / start.elapsed().as_secs_f64();
        println!(
            "{rate:.0} images/s, {} not opened",
            manifest.reused().images
        );
        prints.push(manifest.fingerprint());
    }
    assert!(prints.windows(2).all(|two| two[0] == two[1]));
}

/// Small images in folders of a thousand, some hours old.
fn make(root: &Path, n: usize) {
    let hours_ago = SystemTime::now() - Duration::from_secs(7200);
    for i in 0..n {
        let path: PathBuf = root.join(format!("{:04}/{i:08}.png", i / 1000));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let value =
            |x: u32, y: u32| ((i as u32).wrapping_mul(2_654_435_761) >> (x % 24)) as u8 ^ y as u8;
        let image = GrayImage::from_fn(32, 32, |x, y| Luma([value(x, y)]));
        image.save(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(hours_ago).unwrap();
    }
}
