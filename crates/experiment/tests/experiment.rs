//! Experiments on phantoms of 16×16 pixels: what they write, and that they resume to the same bytes.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use dataset::phantom::{ClassImages, PhantomConfig, generate};
use experiment::{LabelErrors, Results};
use settings::Request;
use terminal::{Interrupt, Interrupted, Progress};

const PIPELINE: &str = r#"
[pipeline]
device = "cpu"
stages = ["index", "train", "evaluate"]
[data]
dir = "data/images"
classes = ["NORMAL", "PNEUMONIA"]
patients = [
    { pattern = '^person(?<number>\d+)_(?<kind>bacteria|virus)', template = '${kind}-${number}' },
    { pattern = '^IM-(?<number>\d+)' },
]
[image]
size = 16
[model]
architecture = "unet_2015"
base_channels = 1
[train]
epochs = 2
batch_size = 8
optimizer = { name = "adam", lr = 2e-3 }
[evaluate]
bootstrap = 20
baseline_size = 4
"#;

const FOLDS: &str = r#"
[experiment]
title = "Folds"
pipeline = "tiny"
seeds = [1, 2]
folds = 2
[experiment.grid]
train.epochs = [1, 2]
"#;

const SEEDS: &str = r#"
[experiment]
pipeline = "tiny"
seeds = [4, 5]
"#;

/// A folder with images, the pipeline and the experiment `many`.
fn home(experiment: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let images = |normal, pneumonia| ClassImages { normal, pneumonia };
    let config = PhantomConfig {
        size: 16,
        train: images(14, 16),
        val: images(2, 2),
        test: images(6, 6),
        ..PhantomConfig::default()
    };
    generate(&home.path().join("data"), &config).unwrap();
    for (file, text) in [
        ("pipelines/tiny", PIPELINE),
        ("experiments/many", experiment),
    ] {
        let file = home.path().join(format!("{file}.toml"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    home
}

fn run(home: &Path, resume: bool, interrupt: &Interrupt) -> anyhow::Result<PathBuf> {
    let request = Request::new(home, "many");
    experiment::run(&request, resume, Progress::Silent, interrupt)
}

fn good(home: &Path, resume: bool) -> PathBuf {
    run(home, resume, &Interrupt::default()).unwrap()
}

fn results(folder: &Path) -> Results {
    serde_json::from_str(&fs::read_to_string(folder.join("experiment.json")).unwrap()).unwrap()
}

/// The rows of a CSV without quotes, by column.
fn table(file: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text
        .lines()
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    lines
        .map(|line| header.iter().cloned().zip(line).collect())
        .collect()
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count() as f64
}

/// Everything that an experiment writes agrees with the files of its runs.
#[test]
fn folds_seeds_and_grid_are_put_together() {
    let home = home(FOLDS);
    let folder = good(home.path(), false);
    let results = results(&folder);
    assert_eq!((results.runs.len(), results.settings.len()), (8, 2));
    for run in &results.runs {
        let text = fs::read_to_string(folder.join(&run.name).join("metrics.json")).unwrap();
        let metrics: serde_json::Value = serde_json::from_str(&text).unwrap();
        let estimate = |split: &str, metric: &str| metrics[split][metric]["estimate"].as_f64();
        assert_eq!(estimate("test", "auc"), Some(run.test.auc));
        let accuracy = estimate("validation", "accuracy");
        assert_eq!(accuracy, Some(run.validation.accuracy));
    }
    let of = |setting: usize| {
        results
            .runs
            .iter()
            .filter(move |run| run.setting == setting)
    };
    let auc = |setting| mean(of(setting).map(|run| run.validation.auc));
    for setting in [1, 2] {
        let found = results.settings[setting - 1].validation.auc.runs;
        assert!((found.mean - auc(setting)).abs() < 1e-12 && found.n == 4);
        assert!(auc(setting) <= auc(results.chosen) + 1e-12);
        let loss = &results.settings[setting - 1].test.log_loss;
        assert_eq!(loss.over_seeds.unwrap().n, 2);
    }
    out_of_fold(&folder, &results);
    label_errors(&folder, &results);
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    for part in [
        "# Folds",
        "2 seeds (1, 2) × 2 folds × 2 settings",
        &format!("**Setting {} of 2 is chosen**", results.chosen),
        "to report, not to choose by",
        "(setting-2-seed-2-fold-1/metrics.json)",
        "figures/curves.png",
        "## Labels to look at",
        "averaged over 2 seeds",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    for figure in ["figures/curves.png", "figures/roc.png"] {
        assert!(folder.join(figure).is_file());
    }
}

/// For each setting and seed: every training image once, no patient in two folds, and an AUC that can be recomputed.
fn out_of_fold(folder: &Path, results: &Results) {
    let rows = table(&folder.join("out_of_fold.csv"));
    let splits = table(&folder.join(&results.runs[0].name).join("splits.csv"));
    let trained = splits
        .iter()
        .filter(|row| ["train", "val"].contains(&row["split"].as_str()));
    let pool: BTreeSet<&str> = trained.map(|row| row["path"].as_str()).collect();
    assert_eq!(results.out_of_fold.len(), 4);
    for all in &results.out_of_fold {
        let (setting, seed) = (all.setting.to_string(), all.seed.to_string());
        let own = rows
            .iter()
            .filter(|row| row["setting"] == setting && row["seed"] == seed);
        let own: Vec<_> = own.collect();
        let paths: BTreeSet<&str> = own.iter().map(|row| row["path"].as_str()).collect();
        assert_eq!((own.len(), &paths), (pool.len(), &pool));
        let mut fold_of = BTreeMap::new();
        for row in &own {
            let fold = fold_of.entry(&row["patient"]).or_insert(&row["fold"]);
            assert_eq!(*fold, &row["fold"]);
        }
        assert!(
            fold_of.len() < own.len(),
            "the phantoms have patients with several images"
        );
        assert_eq!((all.auc.n, all.patients), (own.len(), fold_of.len()));
        let score = |row: &BTreeMap<String, String>| {
            let of = |class: &str| row[&format!("score_{class}")].parse::<f32>().unwrap();
            f64::from(of("PNEUMONIA")) - f64::from(of("NORMAL"))
        };
        let labels: Vec<bool> = own.iter().map(|row| row["class"] == "PNEUMONIA").collect();
        let scores: Vec<f64> = own.iter().map(|row| score(row)).collect();
        let auc = metrics::roc_auc(&labels, &scores).unwrap();
        assert!((all.auc.estimate - auc).abs() < 1e-12);
    }
}

/// The likely label errors are those of the probabilities of the chosen setting, averaged over the seeds.
fn label_errors(folder: &Path, results: &Results) {
    let text = fs::read_to_string(folder.join("label_errors.json")).unwrap();
    let found: LabelErrors = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (found.setting, &found.seeds),
        (results.chosen, &results.seeds)
    );
    let mut images = BTreeMap::<String, (usize, Vec<f64>)>::new();
    let chosen = results.chosen.to_string();
    for row in table(&folder.join("out_of_fold.csv")) {
        if row["setting"] == chosen {
            let label = results.classes.iter().position(|c| *c == row["class"]);
            let p = |class: &String| row[&format!("p_{class}")].parse::<f64>().unwrap();
            let image = images.entry(row["path"].clone()).or_default();
            image.0 = label.unwrap();
            image.1.resize(2, 0.0);
            for (sum, class) in image.1.iter_mut().zip(&results.classes) {
                *sum += p(class) / results.seeds.len() as f64;
            }
        }
    }
    assert_eq!(found.images, images.len());
    let labels: Vec<usize> = images.values().map(|(label, _)| *label).collect();
    let p: Vec<f64> = images.values().flat_map(|(_, p)| p.clone()).collect();
    let p = metrics::Probabilities::new(2, &p).unwrap();
    let expected = metrics::label_errors(&labels, &p, Default::default(), Default::default());
    let paths: Vec<&String> = images.keys().collect();
    let expected: Vec<&String> = expected.unwrap().iter().map(|i| paths[*i]).collect();
    let listed: Vec<&String> = found.errors.iter().map(|error| &error.path).collect();
    assert_eq!(listed, expected);
    for error in &found.errors {
        let (label, p) = &images[&error.path];
        assert_eq!(error.given, results.classes[*label]);
        assert_eq!(error.suggested, results.classes[1 - label]);
        assert!((error.self_confidence - p[*label]).abs() < 1e-6);
    }
    let rows = table(&folder.join("label_errors.csv"));
    assert_eq!(rows.len(), found.errors.len());
    let figure = folder.join("figures/label-errors.png");
    assert_eq!(figure.is_file(), !found.errors.is_empty());
}

/// Files that must be the same however often an experiment was interrupted.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = [
        "experiment.json",
        "report.md",
        "report.html",
        "resolved.toml",
        "run.json",
    ]
    .map(str::to_owned)
    .to_vec();
    for seed in ["seed-4", "seed-5"] {
        for file in [
            "metrics.json",
            "model.safetensors",
            "predictions.csv",
            "run.json",
        ] {
            files.push(format!("{seed}/{file}"));
        }
    }
    files
        .into_iter()
        .map(|file| (file.clone(), fs::read(folder.join(file)).unwrap()))
        .collect()
}

/// An experiment is interrupted, one of its runs fails, its file and its images change: each is refused with its name,
/// and in the end the bytes are those of an unbroken experiment.
#[test]
fn interrupted_failed_and_changed_experiments_resume_to_the_same_bytes() {
    let home = home(SEEDS);
    let home = home.path();
    let unbroken = bytes(&good(home, false));
    let fails = |expected: &[&str]| {
        let error = format!("{:#}", run(home, true, &Interrupt::default()).unwrap_err());
        for part in expected {
            assert!(error.contains(part), "no {part:?} in {error:?}");
        }
    };
    fails(&["no unfinished run"]);
    fs::remove_dir_all(home.join("runs")).unwrap();

    let interrupt = Interrupt::default();
    interrupt.raise();
    let error = run(home, false, &interrupt).unwrap_err();
    assert!(error.downcast_ref::<Interrupted>().is_some(), "{error:#}");
    let entries = fs::read_dir(home.join("runs/many")).unwrap();
    let mut folders = entries.map(|e| e.unwrap().path());
    let folder = folders.find(|path| path.is_dir()).unwrap();

    fs::write(folder.join("seed-5"), "in the way").unwrap();
    fails(&[
        "run seed-5 (2 of 2)",
        "--resume",
        "cannot create the folder",
    ]);
    fs::remove_file(folder.join("seed-5")).unwrap();
    let written = || {
        let model = fs::metadata(folder.join("seed-4/model.safetensors"));
        model.unwrap().modified().unwrap()
    };
    let first = written();

    let file = home.join("experiments/many.toml");
    fs::write(&file, SEEDS.replace("5]", "6]")).unwrap();
    fails(&[
        "started with other settings",
        "experiment.seeds was [4, 5], now is [4, 6]",
    ]);
    fs::write(&file, SEEDS).unwrap();

    let test = home.join("data/images/test/NORMAL");
    let image = fs::read_dir(test).unwrap().next().unwrap().unwrap().path();
    let content = fs::read(&image).unwrap();
    fs::remove_file(&image).unwrap();
    fails(&["run seed-5 (2 of 2)", "have changed since this run began"]);
    fs::write(&image, content).unwrap();

    assert_eq!(
        fs::canonicalize(good(home, true)).unwrap(),
        fs::canonicalize(&folder).unwrap()
    );
    assert!(
        bytes(&folder) == unbroken,
        "the files differ from those of an unbroken experiment"
    );
    assert_eq!(first, written(), "a complete run was not skipped");
}

/// A run of an experiment predicts what the same settings give alone, and the experiment can be repeated from its folder.
#[test]
fn runs_are_ordinary_runs() {
    let home = home(SEEDS);
    let folder = good(home.path(), false);
    let request = |file: PathBuf| Request::new(home.path(), file.display().to_string());
    let silent = (Progress::Silent, Interrupt::default());
    let alone = request(folder.join("seed-5/resolved.toml"));
    let alone = pipeline::run(&alone, false, silent.0, &silent.1).unwrap();
    let own_folder = home.path().join("runs/many-seed-5");
    assert!(alone.folder.starts_with(own_folder), "{alone:?}");
    let predictions = |folder: &Path| fs::read(folder.join("predictions.csv")).unwrap();
    assert!(predictions(&alone.folder) == predictions(&folder.join("seed-5")));
    let again = request(folder.join("resolved.toml"));
    let again = experiment::run(&again, false, silent.0, &silent.1).unwrap();
    assert_ne!(again, folder);
    assert!(predictions(&again.join("seed-4")) == predictions(&folder.join("seed-4")));
}
