//! Experiments are expanded and checked as a whole before anything runs.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::Path;

use dataset::{FoldBy, OfficialVal, SplitPolicy};
use settings::{Experiment, Request, load_experiment};

const PIPELINE: &str = r#"
[data]
dir = "images"
classes = ["NORMAL", "PNEUMONIA"]
[data.validation]
fraction = 0.3
official_val = "drop"
[image]
size = 64
[model]
encoder = "tf_efficientnet_lite0"
decoder = "unet"
[train]
epochs = 3
optimizer = { name = "adam", lr = 1e-3 }
"#;

const EXPERIMENT: &str = r#"
[experiment]
pipeline = "lungs"
seeds = [7, 3]
folds = 2
set = ["train.batch_size=4"]
[experiment.grid]
"train.optimizer.lr" = [1e-4, 3e-4]
model.decoder = ["unet", "unetpp"]
"#;

fn workspace(pipeline: &str, experiment: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["images", "pipelines", "experiments"] {
        fs::create_dir(root.path().join(folder)).unwrap();
    }
    fs::write(root.path().join("pipelines/lungs.toml"), pipeline).unwrap();
    fs::write(root.path().join("experiments/many.toml"), experiment).unwrap();
    root
}

fn request(root: &Path, set: &[&str]) -> Request {
    Request {
        set: set.iter().map(|s| (*s).to_owned()).collect(),
        ..Request::new(root, "many")
    }
}

fn load(experiment: &str, set: &[&str]) -> Experiment {
    let root = workspace(PIPELINE, experiment);
    load_experiment(&request(root.path(), set)).unwrap()
}

/// Every part of `expected` is in the error.
fn check(pipeline: &str, experiment: &str, set: &[&str], expected: &[&str]) {
    let root = workspace(pipeline, experiment);
    let Err(error) = load_experiment(&request(root.path(), set)) else {
        panic!("{experiment} {set:?} was accepted");
    };
    let text = error.to_string();
    for part in expected {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

/// As [`check`], with a line replaced.
fn check_with(line: &str, by: &str, expected: &[&str]) {
    assert!(EXPERIMENT.contains(line));
    check(PIPELINE, &EXPERIMENT.replace(line, by), &[], expected);
}

#[test]
fn every_combination_is_a_run_with_its_own_settings() {
    let experiment = load(EXPERIMENT, &["train.epochs=5"]);
    let names: Vec<&str> = experiment
        .runs
        .iter()
        .map(|run| run.name.as_str())
        .collect();
    assert_eq!(names.len(), 16);
    assert_eq!(
        names[..5],
        [
            "setting-1-seed-7-fold-1",
            "setting-1-seed-7-fold-2",
            "setting-1-seed-3-fold-1",
            "setting-1-seed-3-fold-2",
            "setting-2-seed-7-fold-1",
        ]
    );
    let values = [
        ("model.decoder", "\"unet\""),
        ("train.optimizer.lr", "0.0003"),
    ];
    assert_eq!(experiment.values(1), values);
    assert_eq!(experiment.settings(), 4);
    let run = &experiment.runs[7];
    assert_eq!((run.setting, run.seed, run.fold), (1, 3, Some(2)));
    let settings = &run.settings;
    let expected = SplitPolicy::Fold {
        fold: 2,
        folds: 2,
        by: FoldBy::Class,
        seed: 3,
        official_val: OfficialVal::Drop,
    };
    assert_eq!(settings.data.policy, expected);
    assert_eq!((settings.name.as_str(), settings.seed), ("lungs", 3));
    assert_eq!((settings.train.epochs, settings.train.batch_size), (5, 4));
    assert!(
        settings
            .leaves
            .contains(&("train.optimizer.lr".into(), "0.0003".into()))
    );
}

#[test]
fn folds_by_appearance_are_passed_on_and_need_a_number() {
    let file = EXPERIMENT.replace("folds = 2", "folds = 2\nfolds_by = \"appearance\"");
    assert_ne!(file, EXPERIMENT);
    let experiment = load(&file, &[]);
    assert_eq!(experiment.folds_by, FoldBy::Appearance);
    let policy = &experiment.runs[0].settings.data.policy;
    let by_appearance = SplitPolicy::Fold {
        fold: 1,
        folds: 2,
        by: FoldBy::Appearance,
        seed: 7,
        official_val: OfficialVal::Drop,
    };
    assert_eq!(*policy, by_appearance);
    let without = EXPERIMENT.replace("folds = 2", "folds_by = \"appearance\"");
    check(
        PIPELINE,
        &without,
        &[],
        &["experiment.folds_by", "set experiment.folds"],
    );
}

#[test]
fn without_folds_and_grid_the_seeds_remain() {
    let experiment = load(
        "[experiment]\ntitle = \"Two\"\npipeline = \"lungs\"\nseeds = [1]\n",
        &["experiment.seeds=[4, 5]"],
    );
    let names: Vec<&str> = experiment
        .runs
        .iter()
        .map(|run| run.name.as_str())
        .collect();
    assert_eq!(
        (experiment.title.as_str(), names),
        ("Two", vec!["seed-4", "seed-5"])
    );
    let policy = &experiment.runs[1].settings.data.policy;
    assert!(matches!(
        policy,
        SplitPolicy::ValidationFromTrain { seed: 5, .. }
    ));
}

#[test]
fn an_experiment_resolves_to_itself() {
    let root = workspace(PIPELINE, EXPERIMENT);
    let first = load_experiment(&request(root.path(), &["train.epochs=5"])).unwrap();
    let folder = root.path().join("runs/many/now");
    fs::create_dir_all(folder.join("setting-1-seed-7-fold-1")).unwrap();
    let file = folder.join("resolved.toml");
    fs::write(&file, &first.resolved).unwrap();
    let again = Request::new(root.path(), file.display().to_string());
    let again = load_experiment(&again).unwrap();
    assert_eq!(
        (again.name.as_str(), &again.leaves),
        ("many", &first.leaves)
    );
    for (a, b) in first.runs.iter().zip(&again.runs) {
        assert_eq!((&a.name, &a.settings.leaves), (&b.name, &b.settings.leaves));
    }
    // A run of it has a folder of its own when it is repeated alone.
    let file = folder.join("setting-1-seed-7-fold-1/resolved.toml");
    fs::write(&file, &first.runs[0].settings.resolved).unwrap();
    let alone = settings::load(&Request::new(root.path(), file.display().to_string())).unwrap();
    assert_eq!(alone.name, "many-setting-1-seed-7-fold-1");
    assert_eq!(alone.leaves, first.runs[0].settings.leaves);
}

#[test]
fn mistakes_name_the_key_and_its_place() {
    check_with(
        "seeds = [7, 3]",
        "",
        &["experiment.seeds", "one or more different seeds"],
    );
    check_with(
        "seeds = [7, 3]",
        "seeds = [7, 7]",
        &["many.toml:4:1", "different seeds"],
    );
    check_with(
        "folds = 2",
        "folds = 1",
        &["experiment.folds", "from 2 to 100"],
    );
    check_with(
        "folds = 2",
        "fold = 2",
        &["many.toml:5:1", "did you mean \"folds\"?"],
    );
    check_with(
        "seeds = [7, 3]",
        "seeds = 7",
        &["experiment.seeds", "must be a list"],
    );
    check_with(
        "\"lungs\"",
        "\"lung\"",
        &["no pipeline \"lung\"", "did you mean \"lungs\"?"],
    );
    check_with(
        "pipeline = \"lungs\"",
        "",
        &["experiment.pipeline", "name the pipeline"],
    );
    check_with(
        "set = [\"train.batch_size=4\"]",
        "set = [\"train.batch_size\"]",
        &["train.batch_size", "key.path=value"],
    );
    check_with(
        "[experiment]",
        "[train]\nepochs = 2\n[experiment]",
        &["unknown key `train`", "experiment.set"],
    );
    check(
        PIPELINE,
        "[experimnt]\nseeds = [1]",
        &[],
        &["many has no table [experiment]"],
    );
    check(
        PIPELINE,
        &format!("[pipeline]\nstages = [\"index\"]{PIPELINE}[experiment]\nseeds = [1]"),
        &[],
        &["experiment.pipeline", "evaluate"],
    );
    let root = workspace(PIPELINE, EXPERIMENT);
    let other = Request::new(root.path(), "mny");
    let error = load_experiment(&other).err().unwrap().to_string();
    assert!(
        error.contains("no experiment \"mny\"") && error.contains("\"many\"?"),
        "{error}"
    );
}

#[test]
fn the_grid_is_checked_value_by_value_with_its_place() {
    let grid = "\"train.optimizer.lr\" = [1e-4, 3e-4]";
    let refused = |by: &str, expected: &[&str]| check_with(grid, by, expected);
    refused(
        "train.epochs = [3, 0]",
        &["many.toml:8:", "`train.epochs`", "from 1 to"],
    );
    refused(
        "train.epoch = [3]",
        &["many.toml:8:", "unknown key `train.epoch`", "epochs"],
    );
    refused(
        "train.epochs = 3",
        &["experiment.grid.train.epochs", "list the values"],
    );
    refused(
        "train.epochs = []",
        &["experiment.grid.train.epochs", "one or more"],
    );
    refused(
        "train.epochs = [3, 3]",
        &["experiment.grid.train.epochs", "different values"],
    );
    refused(
        "\"train\" = [1]\n\"train.epochs\" = [1]",
        &["experiment.grid.train.epochs", "already varies train"],
    );
    refused(
        "pipeline.seed = [1]",
        &["experiment.grid.pipeline.seed", "experiment.seeds"],
    );
    for key in [
        "data.positive",
        "demo.train.epochs",
        "phantom.size",
        "image.max_megapixels",
        "pipeline.stages",
    ] {
        refused(
            &format!("{key} = [1]"),
            &[&format!("experiment.grid.{key}"), "the same in all runs"],
        );
    }
    check_with(
        "[experiment.grid]",
        "[ignored]\n[experiment.grid]",
        &["unknown key `ignored`"],
    );
    let many: Vec<String> = (1..300).map(|n| n.to_string()).collect();
    refused(
        &format!("train.epochs = [{}]", many.join(", ")),
        &["2392 runs", "at most 1000"],
    );
}

#[test]
fn assignments_without_effect_are_refused() {
    let refused = |set: &str, by: &str| {
        check(
            PIPELINE,
            EXPERIMENT,
            &[set],
            &[by, set, "remove one of the two"],
        )
    };
    refused("pipeline.seed=1", "experiment.seeds");
    refused("data.validation.fraction=0.2", "experiment.folds");
    refused("demo.data.validation.fraction=0.2", "experiment.folds");
    refused("train.optimizer.lr=1", "experiment.grid.train.optimizer.lr");
    load(EXPERIMENT, &["data.validation.official_val=\"drop\""]);
}

#[test]
fn folds_need_a_test_split_of_their_own_and_names_must_not_collide() {
    let holdout = PIPELINE.replace("official_val = \"drop\"", "policy = \"holdout\"");
    check(
        &holdout,
        EXPERIMENT,
        &[],
        &["many.toml:5:1", "experiment.folds", "from_train"],
    );
    let root = workspace(PIPELINE, EXPERIMENT);
    fs::write(root.path().join("pipelines/many.toml"), PIPELINE).unwrap();
    let error = load_experiment(&request(root.path(), &[]))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("a pipeline has this name"), "{error}");
}

/// experiments/README.md documents every key.
#[test]
fn every_key_is_documented() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let root = workspace(PIPELINE, EXPERIMENT);
    let error = load_experiment(&request(root.path(), &["experiment.no_such_key=1"]));
    let error = error.err().unwrap().to_string();
    let known = error
        .split("known here: ")
        .nth(1)
        .unwrap()
        .trim_end_matches(')');
    assert!(known.split(", ").count() >= 6, "{known}");
    for key in known.split(", ") {
        assert!(
            readme.contains(&format!("| `{key}` |")),
            "{key} is not in experiments/README.md"
        );
    }
}

#[test]
fn shipped_experiments_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let names = settings::Kind::Experiment.names(&root);
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        let demo = Request {
            demo: true,
            ..Request::new(&root, &name)
        };
        let experiment = load_experiment(&demo).unwrap();
        assert!(
            experiment
                .runs
                .iter()
                .all(|run| run.settings.data.phantom.is_some())
        );
        assert_ne!(settings::Kind::Experiment.title(&root, &name), None);
        let empty = tempfile::tempdir().unwrap();
        let full = Request {
            data: Some(empty.path().into()),
            dry: true,
            ..Request::new(&root, &name)
        };
        assert_eq!(
            load_experiment(&full).unwrap().runs.len(),
            experiment.runs.len()
        );
    }
}
