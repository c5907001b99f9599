//! Faulty data folders: bad files are skipped with a warning and counted, or end the run with an error that names them.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::{Path, PathBuf};

use dataset::phantom::{ClassImages, PhantomConfig, generate};
use pipeline::{Context, Indexed, OwnRun, RunDir, RunRecord, run};
use settings::Request;
use terminal::{Interrupt, Progress};

const TOML: &str = r#"
[pipeline]
stages = ["index", "eda", "report"]
[data]
dir = "phantom/images"
classes = ["NORMAL", "PNEUMONIA"]
[data.validation]
fraction = 0.3
[image]
size = 32
"#;

struct Workspace {
    root: tempfile::TempDir,
}

impl Workspace {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let eight = ClassImages {
            normal: 8,
            pneumonia: 8,
        };
        let config = PhantomConfig {
            size: 32,
            train: eight,
            val: eight,
            test: eight,
            ..PhantomConfig::default()
        };
        generate(&root.path().join("phantom"), &config).unwrap();
        fs::create_dir(root.path().join("pipelines")).unwrap();
        fs::write(root.path().join("pipelines/lungs.toml"), TOML).unwrap();
        Workspace { root }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join("phantom/images").join(name)
    }

    fn request(&self, set: &[&str]) -> Request {
        Request {
            set: set.iter().map(|s| (*s).to_owned()).collect(),
            ..Request::new(self.root.path(), "lungs")
        }
    }

    fn run(&self, set: &[&str]) -> Result<PathBuf, String> {
        let request = self.request(set);
        let finished = run(&request, false, Progress::Silent, &Interrupt::default());
        finished.map(|f| f.folder).map_err(|e| format!("{e:#}"))
    }

    /// A workspace with these images, each of different noise, instead of the phantoms.
    fn of_images(paths: &[String]) -> Self {
        let workspace = Self::new();
        fs::remove_dir_all(workspace.folder("")).unwrap();
        for (seed, path) in paths.iter().enumerate() {
            let noise = |x: u32, y: u32| {
                let mixed = (seed as u32 * 7919 + x * 31 + y * 17).wrapping_mul(2_654_435_761);
                image::Luma([(mixed >> 24) as u8])
            };
            let path = workspace.folder(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::GrayImage::from_fn(32, 32, noise).save(path).unwrap();
        }
        workspace
    }
}

fn any_image(folder: &Path) -> PathBuf {
    fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path()
}

fn check_refused(spoil: impl Fn(&Workspace), set: &[&str], expected: &[&str]) {
    let workspace = Workspace::new();
    spoil(&workspace);
    let error = workspace.run(set).unwrap_err();
    for part in expected {
        assert!(error.contains(part), "no {part:?} in {error:?}");
    }
}

#[test]
fn bad_images_are_left_out_named_and_counted() {
    let workspace = Workspace::new();
    let folder = workspace.folder("train/NORMAL");
    let whole = fs::read(any_image(&folder)).unwrap();
    fs::write(folder.join("truncated.jpeg"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.join("empty.jpeg"), "").unwrap();
    fs::write(folder.join("text.jpeg"), "this is no image").unwrap();
    let run = workspace.run(&[]).unwrap();
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    assert!(report.contains("3 files could not be read"), "{report}");
    for name in ["truncated.jpeg", "empty.jpeg", "text.jpeg"] {
        assert!(report.contains(name), "{name}");
        assert!(
            !fs::read_to_string(run.join("manifest.csv"))
                .unwrap()
                .contains(name)
        );
    }
}

#[test]
fn bad_images_stop_the_run_if_requested() {
    for (name, bytes) in [("empty.jpeg", ""), ("text.jpeg", "this is no image")] {
        let spoil =
            |w: &Workspace| fs::write(w.folder("test/PNEUMONIA").join(name), bytes).unwrap();
        check_refused(spoil, &["data.on_bad_image=fail"], &[name, "on_bad_image"]);
    }
}

#[test]
fn missing_and_empty_classes_are_named() {
    check_refused(
        |w| fs::remove_dir_all(w.folder("test/NORMAL")).unwrap(),
        &[],
        &["NORMAL", "test"],
    );
    check_refused(
        |w| fs::remove_dir_all(w.folder("train")).unwrap(),
        &[],
        &["train"],
    );
    check_refused(
        |w| {
            fs::remove_dir_all(w.folder("train/PNEUMONIA")).unwrap();
            fs::create_dir(w.folder("train/PNEUMONIA")).unwrap();
        },
        &[],
        &["PNEUMONIA", "no usable image"],
    );
    check_refused(|_| {}, &["data.classes=['NORMAL', 'COVID']"], &["COVID"]);
    check_refused(
        |_| {},
        &["data.classes=[]", "data.positive=COVID"],
        &["COVID", "is not a class"],
    );
}

#[test]
fn patient_rules_that_are_not_regular_expressions_are_refused() {
    check_refused(
        |_| {},
        &["data.patients=[{pattern='(unclosed'}]"],
        &["(unclosed"],
    );
}

#[test]
fn weights_of_another_architecture_are_refused() {
    let set = [
        "pipeline.stages=['index', 'train']",
        "model.encoder=tf_efficientnet_lite0",
        "model.decoder=unet",
        "model.pretrained=WEIGHTS",
    ];
    let workspace = Workspace::new();
    let spec = model::build::ModelSpec {
        encoder: Some("efficientnet_b0".into()),
        ..Default::default()
    };
    let graph = model::build::build(&spec).unwrap();
    let store = model::store::ParamStore::initialized(&graph, 0);
    let path = workspace.root.path().join("b0.safetensors");
    formats::weights::save(&path, &graph, &store, &Default::default()).unwrap();
    let set = set.map(|s| s.replace("WEIGHTS", &path.display().to_string()));
    let error = workspace
        .run(&set.iter().map(String::as_str).collect::<Vec<_>>())
        .unwrap_err();
    assert!(error.contains("b0.safetensors"), "{error}");
}

#[test]
fn phantoms_with_masks_are_counted_in_the_report() {
    let report = |set: &[&str]| {
        let workspace = Workspace::new();
        fs::read_to_string(workspace.run(set).unwrap().join("report.md")).unwrap()
    };
    let cells = report(&[
        "phantom.kind=cells",
        "phantom.images=12",
        "phantom.size=32",
        "data.classes=[]",
        "data.validation={policy='count', count=2, test_count=3, by='order'}",
    ]);
    for part in [
        "mean area of cell",
        "last images",
        "cells with dark membranes",
    ] {
        assert!(cells.contains(part), "no {part:?} in {cells}");
    }
    let heads = report(&[
        "phantom.kind=heads",
        "phantom.per_class=[6, 2]",
        "phantom.size=32",
        "data.classes=[]",
        "data.names={no_tumor='healthy'}",
        "image.fit=pad",
    ]);
    for part in ["mean area of pituitary", "healthy", "have an empty mask"] {
        assert!(heads.contains(part), "no {part:?} in {heads}");
    }
}

/// Settings for class folders without splits, and a small network.
const PLAIN: [&str; 7] = [
    "data.classes=[]",
    "data.folders={}",
    "data.validation={policy='holdout', fraction=0.25, test_fraction=0.25}",
    "model={encoder='tf_efficientnet_lite0', decoder='unet'}",
    "train={epochs=1, batch_size=8}",
    "evaluate={bootstrap=20, baseline_size=8}",
    "overlays.examples=2",
];

const ALL_STAGES: &str = "pipeline.stages=['index', 'eda', 'augment-preview', 'train', 'evaluate', 'overlays', 'report']";

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|e| name(e).to_string_lossy().into_owned())
        .collect()
}

/// Classes and images whose names collide as file names, and paths longer than a file name may be.
#[test]
fn file_names_do_not_collide_and_are_not_too_long() {
    let long = "1.2.840.113619.2.55.3.604688119.969.1267250591.535/".repeat(4);
    let of_class = |class: &str| -> Vec<String> {
        let twins = (0..6).flat_map(|i| [format!("q_{i}.png"), format!("q/{i}.png")]);
        let deep = (0..4).map(|i| format!("{long}{i}.png"));
        twins
            .chain(deep)
            .map(|name| format!("{class}/{name}"))
            .collect()
    };
    let paths = [of_class("COVID+"), of_class("COVID-")].concat();
    let workspace = Workspace::of_images(&paths);
    let set: Vec<&str> = PLAIN.iter().copied().chain([ALL_STAGES]).collect();
    let run = workspace.run(&set).unwrap();
    let figures = files(&run.join("figures"));
    let of_overlays = figures
        .iter()
        .filter(|name| name.starts_with("overlay-covid"));
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    let groups = report.matches("](figures/overlay-").count();
    assert_eq!(of_overlays.count(), groups, "{figures:?}");
    assert!(groups >= 2);
    // Each case of the groups has its own overlay file.
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(run.join("overlays.json")).unwrap()).unwrap();
    assert_eq!(json["classes"].as_array().unwrap().len(), 2);
    let overlays = files(&run.join("overlays"));
    let shown: usize = report
        .lines()
        .filter_map(|line| {
            line.split_once(" of ")
                .filter(|(_, rest)| rest.contains("test image"))
        })
        .filter_map(|(n, _)| n.parse::<usize>().ok())
        .sum();
    assert_eq!(overlays.len(), shown, "{overlays:?}");
}

#[test]
fn what_is_left_out_is_named_in_the_report() {
    let workspace = Workspace::new();
    let folder = workspace.folder("train/NORMAL");
    for name in ["a.gif", "b.gif", "c.nii"] {
        fs::write(folder.join(name), "II*").unwrap();
    }
    let image = any_image(&folder);
    for stray in [".ipynb_checkpoints", "masks"] {
        fs::create_dir(folder.join(stray)).unwrap();
        fs::copy(&image, folder.join(stray).join("x.jpeg")).unwrap();
    }
    let run = workspace
        .run(&["pipeline.stages=['index', 'report']"])
        .unwrap();
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    for part in [
        "3 of 51 files are not read",
        "2 .gif, 1 .nii",
        "1 in .ipynb",
        "1 in masks/",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    assert_eq!(
        fs::read_to_string(run.join("manifest.csv"))
            .unwrap()
            .lines()
            .count(),
        49
    );
}

#[test]
fn splits_are_reported_as_by_patient_only_where_patients_are_known() {
    let workspace = Workspace::new();
    let report = |set: &[&str]| {
        let run = workspace.run(set).unwrap();
        fs::read_to_string(run.join("report.md")).unwrap()
    };
    let unknown = report(&[]);
    assert!(unknown.contains("patients are unknown"), "{unknown}");
    assert!(
        !unknown.contains("drawn by patient") && !unknown.contains("0 patients"),
        "{unknown}"
    );
    let rules =
        "data.patients=[{pattern='^person(?<n>[0-9]+)'}, {pattern='IM-(?<n>[0-9]+)', prefix='n'}]";
    let known = report(&[rules]);
    assert!(
        known.contains("drawn by patient") && known.contains("| 0 patients"),
        "{known}"
    );
}

/// A second run of one process takes the images from the index of the first, unless it would index them differently.
#[test]
fn runs_of_one_process_share_the_index() {
    let workspace = Workspace::new();
    let load = |set: &[&str]| settings::load(&workspace.request(set)).unwrap();
    let (first, seed) = (load(&[]), load(&["pipeline.seed=5"]));
    let limit = load(&["image.max_megapixels=7"]);
    let interrupt = Interrupt::default();
    let mut indexed = Indexed::default();
    let mut read = |settings: &settings::Settings| {
        let run = OwnRun::create(&workspace.root.path().join("runs"), "lungs").unwrap();
        run.write_json("run.json", &RunRecord::default()).unwrap();
        Context::new(settings, &run, Progress::Silent, &interrupt, &mut indexed).data_cloned()
    };
    let before = read(&first).unwrap();
    fs::remove_dir_all(&first.data.index.root).unwrap();
    let shared = read(&seed).unwrap();
    assert_eq!(shared.as_shipped.rows(), before.as_shipped.rows());
    assert_ne!(shared.splits, before.splits);
    assert!(read(&limit).is_err());
}

/// An image that disappears during a run ends it, because the test split would be smaller than the report states.
#[test]
fn an_image_that_vanishes_ends_the_run_by_name() {
    let workspace = Workspace::new();
    let settings = settings::load(&workspace.request(&[])).unwrap();
    let run = OwnRun::create(&workspace.root.path().join("runs"), "lungs").unwrap();
    run.write_json("run.json", &RunRecord::default()).unwrap();
    let interrupt = Interrupt::default();
    let mut indexed = Indexed::default();
    let mut context = Context::new(&settings, &run, Progress::Silent, &interrupt, &mut indexed);
    let data = context.data_cloned().unwrap();
    let victim = data
        .manifest
        .image_file(&data.manifest.rows()[data.splits.test[3]]);
    fs::remove_file(&victim).unwrap();
    let loader = context.loader(data.splits.test.clone()).unwrap();
    let error = loader.epoch(0).find_map(Result::err).unwrap().to_string();
    let name = victim.display().to_string();
    assert!(
        error.contains(&name) && error.contains("put it back"),
        "{error}"
    );
}

/// Markdown, HTML and escape sequences in names of classes and files are shown literally in the report.
#[cfg(unix)]
#[test]
fn names_are_escaped_in_the_report() {
    let classes = ["A|<b>*x*", "B`_\u{1b}[31m"];
    let image = |i: usize| {
        let class = classes[i % 2];
        ["train", "val", "test"].map(|split| format!("{split}/{class}/{i}<script>`|\u{1b}[2J.png"))
    };
    let images: Vec<String> = (0..16).flat_map(image).collect();
    let workspace = Workspace::of_images(&images);
    let broken = format!("train/{}/<img src=x>`a`.png", classes[0]);
    fs::write(workspace.folder(&broken), "no image").unwrap();
    let list = format!("data.classes={}", serde_json::to_string(&classes).unwrap());
    let folder = workspace.run(&[&list]).unwrap();
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(!report.contains('\u{1b}'), "{report}");
    let prose: String = report.split("```").step_by(2).collect();
    for part in [
        "A\\|&lt;b&gt;\\*x\\*",
        "B\\`\\_\\\\u001b\\[31m",
        "``train/A",
    ] {
        assert!(prose.contains(part), "{part}: {report}");
    }
    for raw in ["<b>*x*\n", "<script>", " <b>*x* "] {
        assert!(!prose.contains(raw), "{raw}: {report}");
    }
}

/// A run that another process works on cannot be resumed until that process has ended; the error says so.
#[test]
fn a_run_in_use_is_not_resumed() {
    let workspace = Workspace::new();
    let bad = any_image(&workspace.folder("train/NORMAL"));
    let sound = fs::read(&bad).unwrap();
    fs::write(&bad, "damaged").unwrap();
    let strict = ["data.on_bad_image=fail"];
    workspace.run(&strict).unwrap_err();
    fs::write(&bad, sound).unwrap();
    let runs = workspace.root.path().join("runs/lungs");
    let mut folders = fs::read_dir(&runs).unwrap().map(|e| e.unwrap().path());
    let folder = folders.find(|p| p.join("run.json").is_file()).unwrap();
    let resume = || {
        let request = workspace.request(&strict);
        let resumed = run(&request, true, Progress::Silent, &Interrupt::default());
        resumed.map(|f| f.folder).map_err(|e| format!("{e:#}"))
    };
    let held = files::Lock::at(&folder.join(".lock")).unwrap();
    let error = resume().unwrap_err();
    let pid = std::process::id().to_string();
    assert!(error.contains("in use") && error.contains(&pid), "{error}");
    drop(held);
    let leftover = folder.join(".writing-1-0.tmp");
    fs::write(&leftover, "cut").unwrap();
    assert_eq!(
        fs::canonicalize(resume().unwrap()).unwrap(),
        folder.canonicalize().unwrap()
    );
    assert!(!leftover.exists() && !folder.join(".lock").exists());
}

/// If the record misses a stage, the stages after it run again. Impossible times in `timings.json` do not stop the run.
#[test]
fn stages_after_a_missing_one_run_again() {
    let workspace = Workspace::new();
    let folder = workspace.run(&[]).unwrap();
    let file = folder.join("run.json");
    let read = || -> RunRecord { serde_json::from_slice(&fs::read(&file).unwrap()).unwrap() };
    let whole = read();
    let broken = RunRecord {
        done: ["lost", "eda"].map(str::to_owned).into(),
        finished: false,
        ..read()
    };
    fs::write(&file, serde_json::to_vec(&broken).unwrap()).unwrap();
    fs::write(
        folder.join("timings.json"),
        r#"{"index": -9, "eda": 1e300}"#,
    )
    .unwrap();
    fs::remove_file(folder.join("eda.json")).unwrap();
    let request = workspace.request(&[]);
    run(&request, true, Progress::Silent, &Interrupt::default()).unwrap();
    assert_eq!(read(), whole);
    assert!(folder.join("eda.json").is_file());
}

#[test]
fn latest_moves_only_to_a_run_that_completed_a_stage() {
    let workspace = Workspace::new();
    let good = workspace.run(&["pipeline.stages=['index']"]).unwrap();
    let latest = workspace.root.path().join("runs/lungs/latest");
    let is_good = || RunDir::open(&latest).unwrap().path() == fs::canonicalize(&good).unwrap();
    assert!(is_good());
    workspace
        .run(&["data.positive=COVID", "data.classes=[]"])
        .unwrap_err();
    assert!(is_good());
    let next = workspace.run(&["pipeline.stages=['index']"]).unwrap();
    assert_eq!(
        RunDir::open(&latest).unwrap().path(),
        fs::canonicalize(next).unwrap()
    );
}

/// Masks whose names do not match the images are useless for training, which is detected before training starts.
#[test]
fn masks_that_match_nothing_end_the_run_before_training() {
    let paths: Vec<String> = (0..24)
        .map(|i| format!("{}/{i:02}.png", ["A", "B"][i % 2]))
        .collect();
    let workspace = Workspace::of_images(&paths);
    for (i, path) in paths.iter().enumerate() {
        let mask = workspace.folder(&format!("../drawn/{}", path.replace(".png", "_mask.png")));
        fs::create_dir_all(mask.parent().unwrap()).unwrap();
        let half = |x: u32, _| image::Luma([if x < 4 + i as u32 { 255 } else { 0 }]);
        image::GrayImage::from_fn(32, 32, half).save(mask).unwrap();
    }
    let run = |masks: &str| {
        let masks = format!("data.masks={masks}");
        let stages =
            "pipeline.stages=['index', 'train', 'evaluate', 'evaluate-segmentation', 'report']";
        let map = "train.map={loss='dice'}";
        let set: Vec<&str> = PLAIN.iter().copied().chain([stages, map, &masks]).collect();
        workspace.run(&set)
    };
    let error = run("{dir}/../drawn").unwrap_err();
    for part in [
        "\"index\"",
        "split train",
        "24 mask files",
        "A/00_mask.png",
        "{stem}_mask.png",
    ] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    let run = run("{dir}/../drawn/{stem}_mask.png").unwrap();
    assert!(run.join("segmentation.json").is_file());
}
