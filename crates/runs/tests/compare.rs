//! Compares finished runs on phantoms.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

#[path = "../../pipeline/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::{Path, PathBuf};

use runs::compare::{compare, write};
use tiny::{metrics, run};

/// Path and correctness of each test image, from `predictions.csv`.
fn correct(run: &Path) -> Vec<(String, bool)> {
    let text = fs::read_to_string(run.join("predictions.csv")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("test,"));
    let mut rows: Vec<_> = rows
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            (fields[1].to_owned(), fields[5] == "true")
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn differences_agree_with_the_runs_metrics() {
    let home = tempfile::tempdir().unwrap();
    let seeds = ["pipeline.seed=1", "pipeline.seed=2"];
    let runs = seeds.map(|seed| run(home.path(), &[seed]));
    let compared = compare(&runs).unwrap();
    let [a, b] = [0, 1].map(|i| metrics(&runs[i]).test);
    let pair = &compared.pairs[0];
    let auc = a.auc.unwrap().estimate - b.auc.unwrap().estimate;
    assert!((pair.bootstrap.auc.unwrap().estimate - auc).abs() < 1e-12);
    assert!((pair.delong.unwrap().interval.estimate - auc).abs() < 1e-12);
    let accuracy = a.accuracy.estimate - b.accuracy.estimate;
    assert!((pair.bootstrap.accuracy.estimate - accuracy).abs() < 1e-12);

    let rows = correct(&runs[0]).into_iter().zip(correct(&runs[1]));
    let differ: Vec<_> = rows.filter(|(a, b)| a.1 != b.1).collect();
    let only_first = differ.iter().filter(|(a, _)| a.1).count() as u64;
    assert_eq!(pair.mcnemar.first_only, only_first);
    assert_eq!(pair.mcnemar.second_only, differ.len() as u64 - only_first);
    let mut paths: Vec<_> = compared.disagreements.iter().map(|d| &d.path).collect();
    paths.sort();
    assert_eq!(paths, differ.iter().map(|(a, _)| &a.0).collect::<Vec<_>>());
    let keys: Vec<_> = compared.settings.keys().collect();
    assert_eq!(keys, ["pipeline.seed"]);

    write(&compared, &home.path().join("out")).unwrap();
    let report = fs::read_to_string(home.path().join("out/compare.md")).unwrap();
    assert!(
        report.contains("| `pipeline.seed` | `1` | `2` |"),
        "{report}"
    );
    assert!(home.path().join("out/compare.json").is_file());
}

#[test]
fn only_runs_on_the_same_test_images_are_compared() {
    let home = tempfile::tempdir().unwrap();
    let first = run(home.path(), &[]);
    let other = run(home.path(), &["demo.phantom.test=[10,12]"]);
    let refused = |runs: &[PathBuf]| format!("{:#}", compare(runs).unwrap_err());
    let error = refused(&[first.clone(), other]);
    assert!(error.contains("different test images"), "{error}");
    let error = refused(std::slice::from_ref(&first));
    assert!(error.contains("two or more"), "{error}");
    let error = refused(&[first.clone(), home.path().join("absent")]);
    assert!(error.contains("absent"), "{error}");
    let indexed = run(home.path(), &["pipeline.stages=['index']"]);
    let error = refused(&[first.clone(), indexed]);
    assert!(error.contains("\"evaluate\""), "{error}");

    // The same name with other content is another image.
    let text = fs::read_to_string(first.join("manifest.csv")).unwrap();
    let changed = home.path().join("changed");
    fs::create_dir(&changed).unwrap();
    for name in ["metrics.json", "predictions.csv", "resolved.toml"] {
        fs::copy(first.join(name), changed.join(name)).unwrap();
    }
    let line = text.lines().find(|line| line.starts_with("test/")).unwrap();
    let content = line.split(',').find(|field| field.len() == 64).unwrap();
    let text = text.replace(content, &"0".repeat(64));
    fs::write(changed.join("manifest.csv"), text).unwrap();
    let error = refused(&[first, changed]);
    assert!(
        error.contains("1 only in the first, 1 only in the second"),
        "{error}"
    );
}
