//! Evaluates trained networks on other data, on phantoms.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

#[path = "../../pipeline/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::{Path, PathBuf};

use formats::checkpoint::{Checkpoint, Decision, Ensemble};
use metrics::Interval;
use pipeline::predict::{Prediction, Predictor};
use runs::external::{Evaluated, Request, Split, evaluate};
use terminal::{Interrupt, Progress};
use tiny::{metrics, run};

/// The folder of the phantoms' images.
fn phantoms(home: &Path) -> PathBuf {
    let mut folders = vec![home.join("runs")];
    while let Some(folder) = folders.pop() {
        let inside = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
        for path in inside.filter(|path| path.is_dir()) {
            if path.ends_with("images") {
                return path;
            }
            folders.push(path);
        }
    }
    unreachable!("the run has drawn phantoms")
}

fn request(home: &Path, model: &Path, data: &Path) -> Request {
    Request {
        model: model.into(),
        data: data.into(),
        root: home.into(),
        out: Some(home.join("out")),
        phantoms_allowed: true,
        ..Request::default()
    }
}

fn evaluated(request: &Request) -> Evaluated {
    evaluate(request, Progress::Silent, &Interrupt::default()).unwrap()
}

fn refused(request: &Request) -> String {
    let result = evaluate(request, Progress::Silent, &Interrupt::default());
    format!("{:#}", result.unwrap_err())
}

/// Copies the images of the test split into class folders without splits, changed by `change`.
fn copied(images: &Path, to: &Path, change: impl Fn(u8) -> u8) {
    for class in ["NORMAL", "PNEUMONIA"] {
        fs::create_dir_all(to.join(class)).unwrap();
        for file in fs::read_dir(images.join("test").join(class)).unwrap() {
            let file = file.unwrap().path();
            let mut image = image::open(&file).unwrap().to_luma8();
            image.pixels_mut().for_each(|p| p.0[0] = change(p.0[0]));
            let name = file.with_extension("png");
            image
                .save(to.join(class).join(name.file_name().unwrap()))
                .unwrap();
        }
    }
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9, "{a} {b}");
}

fn same(a: Option<Interval>, b: Option<Interval>) {
    let (a, b) = (a.unwrap(), b.unwrap());
    close(a.estimate, b.estimate);
    close(a.low, b.low);
    close(a.high, b.high);
    assert_eq!(a.n, b.n);
}

#[test]
fn a_runs_own_test_split_repeats_its_results() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let model = run(home, &[]);
    let own = metrics(&model);
    let on_test = Request {
        split: Some(Split::Test),
        ..request(home, &model, &phantoms(home))
    };
    let found = evaluated(&on_test);
    let (here, there) = (&found.result.evaluation, &own.test);
    same(Some(here.accuracy), Some(there.accuracy));
    same(here.auc, there.auc);
    same(Some(here.log_loss), Some(there.log_loss));
    same(
        Some(here.expected_calibration_error),
        Some(there.expected_calibration_error),
    );
    let [a, b] = [here, there].map(|e| e.binary.clone().unwrap());
    same(a.sensitivity, b.sensitivity);
    same(a.specificity, b.specificity);
    assert_eq!(here.confusion, there.confusion);
    let (threshold, chosen) = (found.result.threshold.unwrap(), own.threshold.unwrap());
    close(threshold.log_odds, chosen.log_odds);
    close(threshold.probability, chosen.probability);
    close(found.result.temperature, own.calibration.temperature);
    same(
        Some(found.result.as_trained.log_loss),
        Some(own.calibration.test_nll[0]),
    );
    assert!(found.result.data.own_test);
    assert_eq!(found.result.data.seen_in_training, Some(0));
    let shift = found.result.shift.as_ref().unwrap();
    assert_eq!((shift.trained_on, shift.evaluated), (30, here.n));

    let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let report = read(&found.folder, "report.md");
    assert!(report.contains("the run's own test split"), "{report}");
    assert!(!report.contains("test split of the run |"), "{report}");
    for figure in ["confusion", "roc", "pr", "probabilities", "reliability"] {
        let file = format!("figures/{figure}.png");
        assert!(found.folder.join(&file).is_file() && report.contains(&file));
    }
    // The table has the rows of the run's for the test split, without the column of the split.
    let of_run = read(&model, "predictions.csv");
    let of_run = of_run.lines().filter_map(|line| line.strip_prefix("test,"));
    let mut of_run: Vec<&str> = of_run.collect();
    of_run.sort_unstable();
    let table = read(&found.folder, "predictions.csv");
    let mut rows: Vec<&str> = table.lines().skip(1).collect();
    rows.sort_unstable();
    assert_eq!(rows, of_run);

    // Without --out the folder is below runs/evaluations; equal inputs give equal bytes.
    let again = evaluated(&Request {
        out: None,
        ..on_test.clone()
    });
    assert!(again.folder.starts_with(home.join("runs/evaluations")));
    assert!(home.join("runs/evaluations/latest/report.md").is_file());
    let json = read(&again.folder, "evaluation.json");
    assert_eq!(json, read(&found.folder, "evaluation.json"));
    assert!(!json.contains(&home.display().to_string()));

    let on_train = Request {
        split: Some(Split::Train),
        ..on_test.clone()
    };
    let found = evaluated(&on_train);
    let n = found.result.evaluation.n;
    assert_eq!((n, found.result.data.seen_in_training), (30, Some(30)));
    let report = read(&found.folder, "report.md");
    assert!(
        report.contains("30 images of 30 are files of the training split"),
        "{report}"
    );
    let all = evaluated(&request(home, &model, &phantoms(home)));
    assert_eq!(all.result.evaluation.n, 64);
    assert_eq!(all.result.data.seen_in_validation, Some(10));
}

#[test]
fn other_data_are_described_and_compared() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let model = run(home, &[]);
    let other = home.join("other hospital");
    copied(&phantoms(home), &other, |v| (255 - v) / 2);
    let found = evaluated(&request(home, &model, &other)).result;
    assert_eq!(
        (found.evaluation.n, &found.data.counts[..]),
        (24, &[12, 12][..])
    );
    assert!(!found.data.own_test && found.data.seen_in_training == Some(0));
    let shift = found.shift.unwrap();
    assert_eq!((shift.trained_on, shift.evaluated), (30, 24));
    let of = |name: &str| {
        let mut quantities = shift.properties.iter();
        quantities
            .find(|q| q.name.starts_with(name))
            .unwrap()
            .clone()
    };
    // The values are halved.
    assert!(of("contrast").standardized_difference.unwrap() < -1.0);
    assert!(of("contrast").ks_distance > 0.9);
    assert!(of("mean").ks_distance > 0.1);
    assert_eq!(
        (of("width").standardized_difference, of("width").ks_distance),
        (Some(0.0), 0.0)
    );
    assert_eq!(shift.shares[0].name, "PNEUMONIA");
    close(shift.shares[0].evaluated.mean, 0.5);
    let report = fs::read_to_string(home.join("out/report.md")).unwrap();
    assert!(report.contains("test split of the run |"), "{report}");
    assert!(report.contains("training (n = 30)"), "{report}");

    // The same images by a table, with other names.
    let list = |class: &str, name: &str| -> Vec<String> {
        let files = fs::read_dir(other.join(class)).unwrap();
        let files = files.map(|e| e.unwrap().file_name().into_string().unwrap());
        files.map(|file| format!("{class}/{file},{name}")).collect()
    };
    let rows = [list("NORMAL", "healthy"), list("PNEUMONIA", "PNEUMONIA")].concat();
    let csv = home.join("images.csv");
    fs::write(&csv, format!("path,class\n{}\n", rows.join("\n"))).unwrap();
    let by_table = Request {
        csv: Some(csv),
        set: vec![r#"data.names={healthy="NORMAL"}"#.into()],
        ..request(home, &model, &other)
    };
    let table = evaluated(&by_table).result;
    assert_eq!(table.evaluation, found.evaluation);
    let unnamed = Request {
        set: vec![],
        ..by_table
    };
    let error = refused(&unnamed);
    assert!(
        error.contains("\"healthy\"") && error.contains("NORMAL, PNEUMONIA"),
        "{error}"
    );

    // One class is enough; there is no AUC then.
    fs::remove_dir_all(other.join("PNEUMONIA")).unwrap();
    let found = evaluated(&request(home, &model, &other)).result;
    assert_eq!(
        (found.evaluation.n, &found.data.counts[..]),
        (12, &[12, 0][..])
    );
    assert!(found.evaluation.auc.is_none());
    let report = fs::read_to_string(home.join("out/report.md")).unwrap();
    assert!(report.contains("(AUC) is –."), "{report}");
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let model = run(home, &[]);
    let images = phantoms(home);
    let other = home.join("other");
    copied(&images, &other, |v| v);
    let good = request(home, &model, &other);
    let check = |request: Request, parts: &[&str]| {
        let error = refused(&request);
        assert!(
            parts.iter().all(|part| error.contains(part)),
            "{parts:?}: {error}"
        );
    };
    let set = |assignment: &str| Request {
        set: vec![assignment.into()],
        ..good.clone()
    };
    check(
        Request {
            phantoms_allowed: false,
            ..good.clone()
        },
        &["phantoms only", "--allow-phantom-model"],
    );
    let absent = home.join("absent");
    check(
        request(home, &model, &absent),
        &["no data folder", "absent"],
    );
    check(
        request(home, &absent, &other),
        &["absent", "neither a run's folder nor a checkpoint"],
    );
    check(
        Request {
            split: Some(Split::Test),
            ..good.clone()
        },
        &["other", "24 images", "split test", "--split all"],
    );
    check(set("model.encoder=x"), &["model.encoder", "no effect"]);
    check(set("data.masks=x"), &["data.masks", "no effect"]);
    check(set("data.validation={}"), &["data.validation", "--split"]);
    check(
        set("evaluate.threshold=0.3"),
        &["evaluate.threshold", "checkpoint"],
    );
    check(set("data.layout=csv"), &["data.layout", "--csv"]);
    check(
        Request {
            out: Some(model.clone()),
            ..good.clone()
        },
        &["the folder of a run", "--out"],
    );
    let alone = home.join("alone.safetensors");
    fs::copy(model.join("model.safetensors"), &alone).unwrap();
    check(
        request(home, &alone, &other),
        &["resolved.toml", "--pipeline NAME"],
    );

    let empty = home.join("empty");
    fs::create_dir_all(&empty).unwrap();
    check(request(home, &model, &empty), &["empty", "0 class folder"]);
    fs::create_dir_all(empty.join("NORMAL")).unwrap();
    check(
        request(home, &model, &empty),
        &["NORMAL", "no usable image"],
    );
    fs::rename(other.join("NORMAL"), other.join("COVID")).unwrap();
    check(
        good.clone(),
        &[
            "\"COVID\"",
            "NORMAL, PNEUMONIA",
            "data.names",
            "data.classes",
        ],
    );
    // Folders of other classes can be left out.
    let found = evaluated(&set("data.classes=['PNEUMONIA']")).result;
    assert_eq!(found.data.counts, [0, 12]);
}

#[test]
fn each_network_of_an_ensemble_is_compared_with_it() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let runs = ["pipeline.seed=1", "pipeline.seed=2"].map(|seed| run(home, &[seed]));
    let [mut first, second] = runs
        .clone()
        .map(|run| Checkpoint::load(&run.join("model.safetensors")).unwrap());
    first.ensemble = Some(Box::new(Ensemble {
        others: vec![second],
        decision: Decision::new(Some(0.25), 1.5, vec![0.1, -0.1]),
    }));
    let path = home.join("ensemble.safetensors");
    first.save(&path).unwrap();
    let other = home.join("other");
    copied(&phantoms(home), &other, |v| v);
    // The runs' own seeds would give other intervals.
    let seed = "pipeline.seed=5";
    let of_both = Request {
        pipeline: Some(home.join("tiny.toml").display().to_string()),
        set: vec![seed.into()],
        ..request(home, &path, &other)
    };
    let both = evaluated(&of_both).result;
    assert_eq!(both.threshold.unwrap().log_odds, 0.25);
    assert!(both.shift.is_none() && both.data.seen_in_training.is_none());
    assert_eq!(both.members.len(), 2);
    for (member, run) in both.members.iter().zip(&runs) {
        // On its own it has the same results, at the same threshold.
        let alone = evaluated(&Request {
            set: vec![seed.into()],
            ..request(home, run, &other)
        });
        let alone = alone.result;
        same(Some(member.accuracy), Some(alone.evaluation.accuracy));
        same(member.auc, alone.evaluation.auc);
        let binary = alone.evaluation.binary.unwrap();
        same(member.sensitivity, binary.sensitivity);
        same(member.specificity, binary.specificity);
        close(
            member.threshold.unwrap(),
            alone.threshold.unwrap().probability,
        );
        let accuracy = both.evaluation.accuracy.estimate - member.accuracy.estimate;
        close(member.ensemble_minus.accuracy.estimate, accuracy);
    }
    evaluated(&of_both);
    let table = fs::read_to_string(home.join("out/predictions.csv")).unwrap();
    let header = table.lines().next().unwrap();
    assert!(
        header.ends_with("log_odds_PNEUMONIA_network_1,log_odds_PNEUMONIA_network_2"),
        "{header}"
    );
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map(|l| l.split(',').collect())
        .collect();
    assert_eq!(rows.len(), 24);
    for row in rows {
        // The log-odds of the ensemble are the mean of the networks'.
        let number = |i: usize| row[i].parse::<f64>().unwrap();
        close(number(8) - number(7), 0.5 * (number(9) + number(10)));
    }
    let report = fs::read_to_string(home.join("out/report.md")).unwrap();
    assert!(report.contains("Each network on its own"), "{report}");
    assert!(report.contains("ensemble − network"), "{report}");
}

#[test]
fn an_ensemble_predicts_with_the_mean_of_calibrated_scores() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let runs = ["pipeline.seed=1", "pipeline.seed=2"].map(|seed| run(home, &[seed]));
    let path = home.join("ensemble.safetensors");
    runs::ensemble(&runs).unwrap().save(&path).unwrap();
    let images = phantoms(home).join("test/NORMAL");
    let out = home.join("out");
    let open = |path: &Path| Predictor::open(path).unwrap();
    let (joined, single) = (open(&path), [open(&runs[0]), open(&runs[1])]);
    for image in fs::read_dir(images).unwrap() {
        let image = image.unwrap().path();
        let found = joined.predict(&image, &out).unwrap();
        let each = single
            .each_ref()
            .map(|one| one.predict(&image, &out).unwrap());
        let log_odds = |p: f64| (p / (1.0 - p)).ln();
        let of = |p: &Prediction| p.probabilities[1].probability;
        let mean = each.iter().map(|one| log_odds(of(one))).sum::<f64>() / 2.0;
        assert!((log_odds(of(&found)) - mean).abs() < 1e-6);
        let members: Vec<f64> = found.members.iter().map(|p| p[1]).collect();
        for (member, one) in members.iter().zip(&each) {
            assert!((member - of(one)).abs() < 1e-9);
        }
        let threshold = each
            .iter()
            .map(|one| log_odds(one.threshold.unwrap()))
            .sum::<f64>()
            / 2.0;
        assert!((found.threshold_log_odds.unwrap() - threshold).abs() < 1e-9);
        let positive = found.class.as_deref() == Some("PNEUMONIA");
        assert_eq!(positive, mean >= threshold);
        assert!(found.overlay.is_some() && found.preprocessing.len() == 4);
    }
    let refused = |runs: &[PathBuf]| format!("{:#}", runs::ensemble(runs).unwrap_err());
    let twice = [runs[0].clone(), runs[0].clone()];
    assert!(refused(&twice).contains("the same network"));
    assert!(refused(&[runs[0].clone(), path]).contains("an ensemble itself"));
    let unjudged = run(home, &["pipeline.stages=['index', 'train']"]);
    assert!(refused(&[runs[0].clone(), unjudged]).contains("\"evaluate\""));
}
