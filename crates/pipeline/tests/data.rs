//! Data folders that are not what they should be: skipped with a warning and counted, or an error that names them.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::{Path, PathBuf};

use dataset::phantom::{ClassImages, PhantomConfig, generate};
use pipeline::{Interrupt, Progress, Request, run};

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

    fn run(&self, set: &[&str]) -> Result<PathBuf, String> {
        let request = Request {
            set: set.iter().map(|s| (*s).to_owned()).collect(),
            ..Request::new(self.root.path(), "lungs")
        };
        let finished = run(&request, false, Progress::Silent, &Interrupt::default());
        finished.map(|f| f.folder).map_err(|e| format!("{e:#}"))
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
fn bad_images_stop_the_run_where_asked() {
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
        &["COVID", "is no class"],
    );
}

#[test]
fn patient_rules_that_are_no_expressions_are_refused() {
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
    model::weights::save(&path, &graph, &store, &Default::default()).unwrap();
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
