//! What the stages after the evaluation find on phantoms.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;

use crate::tiny::{metrics, run};
use formats::checkpoint::Checkpoint;
use model::engine::{Device, Precision};
use pipeline::measured::{Alone, Quantized};
use pipeline::predict::{InferencePrecision, Predictor};

const STAGES: &str = "pipeline.stages=['index', 'train', 'evaluate', 'novelty', 'stress', 'probe', 'explain', 'report']";

#[test]
fn the_checkpoint_has_the_novelty_of_every_prediction() {
    let home = tempfile::tempdir().unwrap();
    let stages = "pipeline.stages=['index', 'train', 'evaluate', 'novelty', 'report']";
    let folder = run(home.path(), &[stages]);
    let found = metrics(&folder).novelty.unwrap();
    let names: Vec<&str> = found.kinds.iter().map(|kind| kind.name.as_str()).collect();
    assert!(
        names.contains(&"noise") && names.contains(&"phantom cells"),
        "{names:?}"
    );
    // The data are chest phantoms themselves.
    assert!(!names.contains(&"phantom radiographs"), "{names:?}");
    assert_eq!(found.features, 320);
    let saved = Checkpoint::load(&folder.join("model.safetensors")).unwrap();
    let novelty = saved.novelty.unwrap();
    assert_eq!(novelty.mean.len(), 320);
    assert_eq!(novelty.class_means.len(), 2 * 320);

    // A test image gets the same score from the file as from the run: accepted ones are those of the run.
    let predictor = Predictor::open(&folder).unwrap();
    let images = fs::read_dir(home.path().join("runs/.phantom")).unwrap();
    let phantom = images
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir());
    let test = phantom.unwrap().join("images/test");
    let (mut accepted, mut all) = (0, 0);
    for class in ["NORMAL", "PNEUMONIA"] {
        for image in fs::read_dir(test.join(class)).unwrap() {
            let found = predictor
                .predict(&image.unwrap().path(), home.path())
                .unwrap();
            assert_eq!(found.unlike_training, Some(found.novelty.unwrap() > 1.0));
            accepted += usize::from(found.unlike_training == Some(false));
            all += 1;
        }
    }
    let share = accepted as f64 / f64::from(all);
    assert!((share - found.test.estimate).abs() < 1e-12, "{share}");
    assert_eq!(all, found.test.n as i32);
}

#[test]
fn a_planted_mark_is_found_by_the_probe() {
    let home = tempfile::tempdir().unwrap();
    let set = |shortcut: f64| {
        [
            "pipeline.stages=['index', 'train', 'evaluate', 'probe']".to_owned(),
            "demo.phantom.train=[80, 80]".into(),
            "demo.phantom.test=[40, 40]".into(),
            format!("demo.phantom.shortcut={shortcut:?}"),
        ]
    };
    let corners = |shortcut: f64| -> Alone {
        let set = set(shortcut);
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let folder = run(home.path(), &set);
        let probe = metrics(&folder).probe.unwrap();
        let of = |alone: &Alone| alone.sees == "corners" && alone.model == "logistic regression";
        probe.alone.into_iter().find(of).unwrap()
    };
    let planted = corners(0.9).auc.unwrap();
    assert!(planted.low > 0.75, "{planted:?}");
    let clean = corners(0.0).auc.unwrap();
    assert!(clean.low < 0.5 && clean.high < 0.75, "{clean:?}");
}

#[test]
fn every_stage_adds_its_figures_and_its_section() {
    let home = tempfile::tempdir().unwrap();
    let few = [
        "explain.images=2",
        "explain.randomized=1",
        "explain.steps=4",
    ];
    let small = ["stress.images=8", "probe.images=8", "novelty.images=8"];
    let group = "evaluate.subgroups={kind='_(bacteria|virus)_', odd='[13579]_'}";
    let set: Vec<&str> = few
        .iter()
        .chain(&small)
        .copied()
        .chain([STAGES, group])
        .collect();
    let folder = run(home.path(), &set);
    let found = metrics(&folder);
    let stress = found.stress.unwrap();
    assert_eq!((stress.images, stress.changes.len()), (8, 11));
    assert!(
        stress
            .changes
            .iter()
            .all(|change| change.strengths.len() == 5)
    );
    let probe = found.probe.unwrap();
    let lungs = probe
        .taken_away
        .iter()
        .find(|away| away.what == "lungs")
        .unwrap();
    assert!(lungs.may_hold_finding);
    let explained = found.explained.unwrap();
    let names: Vec<&str> = explained.methods.iter().map(|m| m.name.as_str()).collect();
    let expected = [
        "Grad-CAM",
        "Grad-CAM++",
        "integrated gradients",
        "occlusion",
        "class map",
        "random",
    ];
    assert_eq!(names, expected);
    assert_eq!(explained.methods[0].at_random.len(), 4);
    assert!(explained.methods[5].at_random.is_empty());
    let subgroups = found.subgroups.unwrap();
    let kind = subgroups
        .groupings
        .iter()
        .find(|own| own.name == "kind")
        .unwrap();
    // Only images with pneumonia are of one of the kinds: there is a sensitivity, and no specificity.
    assert_eq!((kind.groups.len(), kind.unknown), (2, 12));

    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    for part in [
        "## Images unlike the training images",
        "## Under stress",
        "## Shortcuts",
        "## What the class scores are based on",
        "### By subgroup",
        "figures/stress.png",
        "figures/explained.png",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    // The same settings give the same figures.
    let again = run(home.path(), &set);
    assert_eq!(metrics(&folder), metrics(&again));
}

#[test]
fn a_quantized_network_predicts_in_int8_and_no_other_does() {
    let home = tempfile::tempdir().unwrap();
    let stages = "pipeline.stages=['index', 'train', 'evaluate', 'quantize', 'report']";
    let folder = run(home.path(), &[stages, "quantize.images=8"]);
    let found: Quantized = read(&folder.join("quantization.json"));
    assert!(found.refused.is_empty() && found.coded > 50, "{found:?}");
    let test = found.test.unwrap();
    assert!(
        test.largest_change > 0.0 && test.largest_change < 0.1,
        "{test:?}"
    );
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("## Inference in int8"));

    let image = folder.join("figures/augmented.png");
    let image = if image.is_file() {
        image
    } else {
        folder.join("figures/roc.png")
    };
    let open = |precision| Predictor::open_on(&folder, Device::Cpu, precision);
    let predict = |precision| {
        open(precision)
            .unwrap()
            .predict(&image, home.path())
            .unwrap()
    };
    let (float, int8) = (
        predict(Precision::F32.into()),
        predict(InferencePrecision::Int8),
    );
    assert_eq!((&*float.precision, &*int8.precision), ("f32", "int8"));
    let change = float.probabilities[0].probability - int8.probabilities[0].probability;
    assert!(change != 0.0 && change.abs() < 0.1, "{change}");

    let plain = run(home.path(), &[]);
    let error = Predictor::open_on(&plain, Device::Cpu, InferencePrecision::Int8);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("cannot be run in int8"), "{error}");
}

fn read<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> T {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
