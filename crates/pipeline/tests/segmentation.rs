//! Segmentation end to end, on phantoms: tiles, masks at full size, image classes as pixel classes, bad masks.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::{Path, PathBuf};

use dataset::phantom::{CellsConfig, ClassImages, PhantomConfig, generate, generate_cells};
use pipeline::predict::Predictor;
use pipeline::run;
use pipeline::stages::{OverlayStatistics, SegmentationMetrics};
use settings::Request;
use terminal::{Interrupt, Progress};

/// Cells of 48×48 pixels, a U-Net that reads windows of 32.
const CELLS: &str = r#"
[pipeline]
stages = ["index", "eda", "augment-preview", "train", "evaluate-segmentation", "report"]
[data]
dir = "cells"
layout = "images"
images = "images"
masks = "{dir}/masks"
mask = { names = ["membrane", "cell"] }
on_bad_mask = "skip"
[data.validation]
policy = "count"
count = 2
test_count = 2
by = "order"
[image]
size = 32
crop = 32
channels = 1
[augment]
elastic = { grid = 3, sigma = 2.0 }
rotation = { degrees = 180.0 }
[model]
architecture = "unet_2015"
base_channels = 2
head = "none"
[train]
task = "segment"
epochs = 2
repeats = 3
batch_size = 4
border = {}
map = { loss = "cross_entropy" }
[evaluate]
bootstrap = 50
[overlays]
examples = 1
"#;

/// Chest phantoms of 64×64 pixels with lung masks, whose pixels take the class of their image.
const CHESTS: &str = r#"
[pipeline]
stages = ["index", "train", "evaluate", "evaluate-segmentation", "overlays", "report"]
[data]
dir = "chests/images"
classes = ["NORMAL", "PNEUMONIA"]
masks = "{dir}/../masks/lungs"
mask = { marks = "image_class" }
regions = { lungs = "{dir}/../masks/lungs" }
[data.validation]
fraction = 0.3
[image]
size = 32
[model]
encoder = "tf_efficientnet_lite0"
decoder = "unet"
[train]
task = "both"
epochs = 1
batch_size = 8
map = { loss = "cross_entropy_dice", weight = 0.5 }
[evaluate]
bootstrap = 50
[overlays]
examples = 1
certainty = 0.3
"#;

struct Workspace {
    root: tempfile::TempDir,
}

impl Workspace {
    fn new(toml: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("pipelines")).unwrap();
        fs::write(root.path().join("pipelines/it.toml"), toml).unwrap();
        Workspace { root }
    }

    fn cells() -> Self {
        let workspace = Self::new(CELLS);
        let config = CellsConfig {
            size: 48,
            images: 8,
            seed: 3,
        };
        generate_cells(&workspace.path("cells"), &config).unwrap();
        workspace
    }

    fn chests() -> Self {
        let workspace = Self::new(CHESTS);
        let eight = ClassImages {
            normal: 8,
            pneumonia: 8,
        };
        let config = PhantomConfig {
            size: 64,
            train: eight,
            val: eight,
            test: eight,
            ..PhantomConfig::default()
        };
        generate(&workspace.path("chests"), &config).unwrap();
        workspace
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn run(&self, set: &[&str]) -> Result<PathBuf, String> {
        let request = Request {
            set: set.iter().map(|s| (*s).to_owned()).collect(),
            ..Request::new(self.root.path(), "it")
        };
        let finished = run(&request, false, Progress::Silent, &Interrupt::default());
        finished.map(|f| f.folder).map_err(|e| format!("{e:#}"))
    }
}

fn metrics(run: &Path) -> SegmentationMetrics {
    serde_json::from_slice(&fs::read(run.join("segmentation.json")).unwrap()).unwrap()
}

fn text(run: &Path, name: &str) -> String {
    fs::read_to_string(run.join(name)).unwrap()
}

#[test]
fn tiles_are_merged_and_evaluated_at_full_size() {
    let workspace = Workspace::cells();
    let folder = workspace.run(&[]).unwrap();
    let found = metrics(&folder);
    assert_eq!((found.test.n, found.without_mask, found.tiles), (2, 0, 4));
    assert_eq!(found.classes, ["membrane", "cell"]);
    assert!(found.marked.is_none() && found.baselines.otsu.is_some());
    for name in ["6.png", "7.png"] {
        let mask = image::open(folder.join(format!("masks/{name}.png"))).unwrap();
        assert_eq!((mask.width(), mask.height()), (48, 48));
        let values = mask.into_luma8().into_raw();
        assert!(values.iter().all(|v| *v == 0 || *v == 255));
    }
    let csv = text(&folder, "segmentation.csv");
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.starts_with("path,patient,dice,dice_membrane,"), "{csv}");
    let history = text(&folder, "history.csv");
    assert!(history.contains("map_loss") && history.contains("val_dice"));
    let report = text(&folder, "report.md");
    for part in [
        "overlapping tiles",
        "Otsu's threshold",
        "segmentation-worst.png",
        "border weights w0 10, sigma 5",
    ] {
        assert!(report.contains(part), "no {part:?}");
    }
    // A second identical run gives the same bytes.
    let again = workspace.run(&[]).unwrap();
    let json = |run: &Path| text(run, "segmentation.json");
    assert_eq!(json(&folder), json(&again));
}

#[test]
fn a_segmenter_predicts_a_mask_of_any_image() {
    let workspace = Workspace::cells();
    let folder = workspace.run(&["train.epochs=1"]).unwrap();
    let image = workspace.path("wide.png");
    let shade = |x: u32, y: u32| image::Luma([(x * 3 + y * 5) as u8]);
    image::GrayImage::from_fn(100, 40, shade)
        .save(&image)
        .unwrap();
    let out = workspace.path("out");
    let predictor = Predictor::open(&folder).unwrap();
    let prediction = predictor.predict(&image, &out).unwrap();
    assert_eq!(
        (prediction.class.as_ref(), prediction.overlay.as_ref()),
        (None, None)
    );
    let found = prediction.segmentation.clone().unwrap();
    // 40 rows in two tiles, 100 columns in six: each overlaps the next by half.
    assert_eq!(found.tiles, 2 * 6);
    assert_eq!(found.shares[1].value, 255);
    assert!((found.shares.iter().map(|s| s.share).sum::<f64>() - 1.0).abs() < 1e-9);
    let mask = image::open(found.mask.as_ref().unwrap()).unwrap();
    assert_eq!((mask.width(), mask.height()), (100, 40));
    assert!(prediction.in_words().starts_with("pixels: membrane"));
    // The format is detected from the content, not from the name; a file that is no image is named in the error.
    let misnamed = workspace.path("misnamed.jpg");
    fs::copy(&image, &misnamed).unwrap();
    let again = predictor.predict(&misnamed, &out).unwrap();
    assert_eq!(again.segmentation.unwrap().shares, found.shares);
    let none = workspace.path("none.png");
    fs::write(&none, "this is no image").unwrap();
    let error = predictor.predict(&none, &out).unwrap_err();
    assert!(format!("{error:#}").contains("none.png"), "{error:#}");
}

#[test]
fn the_unpadded_unet_learns_and_is_tiled() {
    let workspace = Workspace::cells();
    let folder = workspace
        .run(&[
            "model={architecture='unet_2015_valid', base_channels=1, head='none'}",
            "image={size=220, crop=48, channels=1}",
            "train.epochs=1",
            "train.repeats=1",
        ])
        .unwrap();
    let found = metrics(&folder);
    assert_eq!(found.test.n, 2);
    // Its map is 36×36: an image of 220 takes many.
    assert!(found.tiles > 100, "{}", found.tiles);
}

#[test]
fn marked_pixels_take_their_images_class() {
    let workspace = Workspace::chests();
    let folder = workspace.run(&[]).unwrap();
    let found = metrics(&folder);
    assert_eq!(found.classes, ["background", "NORMAL", "PNEUMONIA"]);
    assert_eq!(found.test.n, 16);
    assert!(found.marked.is_some() && found.baselines.otsu.is_none());
    // The lungs are at about the same place in all phantoms.
    assert!(found.baselines.mean_mask.test.mean_dice.unwrap().estimate > 0.2);
    let overlays: OverlayStatistics =
        serde_json::from_str(&text(&folder, "overlays.json")).unwrap();
    assert_eq!(overlays.class, "PNEUMONIA");
    let report = text(&folder, "report.md");
    for part in [
        "Results per class",
        "only the location counts",
        "what the masks mark",
    ] {
        assert!(report.contains(part), "no {part:?}");
    }
    let image = workspace.path("chests/images/test/NORMAL");
    let image = fs::read_dir(image).unwrap().next().unwrap().unwrap().path();
    let prediction = Predictor::open(&folder)
        .unwrap()
        .predict(&image, &workspace.path("out"))
        .unwrap();
    assert!(prediction.class.is_some() && prediction.overlay.is_some());
    let values = prediction.segmentation.unwrap().shares;
    let values: Vec<u16> = values.iter().map(|share| share.value).collect();
    assert_eq!(values, [0, 1, 2]);
}

/// Predicts each test image of a run again: the predictions must be those that were evaluated.
fn check_predictions(workspace: &Workspace, folder: &Path, images: &Path) -> usize {
    let predictor = Predictor::open(folder).unwrap();
    let csv = text(folder, "predictions.csv");
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|h| *h == name).unwrap();
    let (path, called) = (column("path"), column("predicted"));
    let mut n = 0;
    for line in lines.filter(|line| line.starts_with("test,")) {
        let cells: Vec<&str> = line.split(',').collect();
        let image = images.join(cells[path]);
        let out = workspace.path("again");
        let found = predictor.predict(&image, &out).unwrap();
        assert_eq!(found.class.as_deref(), Some(cells[called]));
        for p in &found.probabilities {
            let expected: f64 = cells[column(&format!("p_{}", p.class))].parse().unwrap();
            let off = (p.probability - expected).abs();
            assert!(off <= 1e-6, "{}: {p:?}, expected {expected}", cells[path]);
        }
        check_mask(folder, cells[path], found.segmentation.and_then(|s| s.mask));
        n += 1;
    }
    n
}

/// The predicted mask must equal the evaluated one byte by byte.
fn check_mask(folder: &Path, path: &str, predicted: Option<PathBuf>) {
    let judged = folder.join(format!("masks/{}.png", path.replace('/', "_")));
    let judged = fs::read(judged).unwrap();
    assert!(judged == fs::read(predicted.unwrap()).unwrap(), "{path}");
}

#[test]
fn predictions_equal_those_that_the_run_evaluated() {
    let workspace = Workspace::chests();
    let set = ["evaluate.tta=true", "overlays.certainty=0.4"];
    let folder = workspace.run(&set).unwrap();
    let images = workspace.path("chests/images");
    assert_eq!(check_predictions(&workspace, &folder, &images), 16);
    let image = images.join("test/NORMAL");
    let image = fs::read_dir(image).unwrap().next().unwrap().unwrap().path();
    let predictor = Predictor::open(&folder).unwrap();
    let found = predictor.predict(&image, &workspace.path("out")).unwrap();
    assert!(found.mirrored && found.certainty == 0.4);
    assert!(found.threshold.is_some() && found.threshold_log_odds.is_some());
    // The mirror image matters: without it the prediction differs.
    let plain = Workspace::chests();
    let without = plain.run(&["overlays.certainty=0.4"]).unwrap();
    let other = Predictor::open(&without).unwrap();
    let other = other.predict(&image, &workspace.path("out")).unwrap();
    assert!(!other.mirrored);
    assert_ne!(other.probabilities, found.probabilities);
}

#[test]
fn a_segmenter_predicts_the_masks_that_were_evaluated() {
    let workspace = Workspace::cells();
    let set = ["evaluate.tta=true", "evaluate.tile_overlap=0.25"];
    let folder = workspace.run(&set).unwrap();
    let predictor = Predictor::open(&folder).unwrap();
    for name in ["6.png", "7.png"] {
        let image = workspace.path("cells/images").join(name);
        let found = predictor.predict(&image, &workspace.path("out")).unwrap();
        check_mask(&folder, name, found.segmentation.and_then(|s| s.mask));
    }
}

/// With a loss on one class the map keeps the images' classes; it is evaluated on what the masks mark.
#[test]
fn binary_masks_may_mark_one_class_of_the_images() {
    let workspace = Workspace::chests();
    let folder = workspace
        .run(&[
            "data.mask={names=['elsewhere', 'lungs']}",
            "train={task='both', epochs=2, batch_size=8, map={loss='bce', class=0}}",
            "pipeline.stages=['index','train','evaluate-segmentation','report']",
        ])
        .unwrap();
    let found = metrics(&folder);
    assert_eq!(found.classes, ["elsewhere", "lungs"]);
    let mut shares = vec![];
    for file in fs::read_dir(folder.join("masks")).unwrap() {
        let mask = image::open(file.unwrap().path())
            .unwrap()
            .into_luma8()
            .into_raw();
        assert!(mask.iter().all(|value| [0, 255].contains(value)));
        shares.push(mask.iter().filter(|value| **value == 255).count());
    }
    // The pixels marked in the files are those that were evaluated.
    let confusion = &found.test.confusion;
    assert_eq!(
        shares.iter().sum::<usize>() as u64,
        confusion.predicted()[1]
    );
}

/// Four bad masks, each bad in its own way, and an empty one, which is valid.
fn spoil(workspace: &Workspace) {
    let mask = |i: usize| workspace.path(&format!("cells/masks/{i}.png"));
    fs::remove_file(mask(0)).unwrap();
    image::GrayImage::new(40, 48).save(mask(1)).unwrap();
    let shaded = |x: u32, _| image::Luma([x as u8]);
    image::GrayImage::from_fn(48, 48, shaded)
        .save(mask(2))
        .unwrap();
    image::GrayImage::new(48, 48).save(mask(3)).unwrap();
    fs::write(mask(6), "this is no image").unwrap();
}

const FAULTS: [(&str, &str); 4] = [
    ("0.png", "no such file"),
    ("1.png", "no common scale"),
    ("2.png", "0 and one other value"),
    ("6.png", "cannot"),
];

#[test]
fn bad_masks_are_left_out_named_and_counted() {
    let workspace = Workspace::cells();
    spoil(&workspace);
    let few = "data.validation={policy='count', count=1, test_count=1, by='order'}";
    let skip = workspace
        .run(&[few, "data.on_missing_mask=skip", "train.epochs=1"])
        .unwrap();
    let manifest = text(&skip, "manifest.csv");
    let report = text(&skip, "report.md");
    for (name, _) in FAULTS {
        assert!(!manifest.contains(name), "{name} was kept");
        assert!(report.contains(name), "{name} is not named");
    }
    assert!(manifest.contains("3.png"), "an empty mask is valid");
    assert_eq!(metrics(&skip).test.n, 1);
    // If kept, they are used neither in training nor in evaluation.
    let unknown = workspace
        .run(&["data.on_bad_mask=unknown", "train.epochs=1"])
        .unwrap();
    let manifest = text(&unknown, "manifest.csv");
    assert!(FAULTS.iter().all(|(name, _)| manifest.contains(name)));
    let found = metrics(&unknown);
    assert_eq!((found.test.n, found.without_mask), (1, 1));
    // Or each stops the run with an error that names it.
    for (name, reason) in FAULTS {
        let workspace = Workspace::cells();
        let bad = workspace.path(&format!("cells/masks/{name}"));
        let spoiled = Workspace::cells();
        spoil(&spoiled);
        match fs::read(spoiled.path(&format!("cells/masks/{name}"))) {
            Ok(bytes) => fs::write(bad, bytes).unwrap(),
            Err(_) => fs::remove_file(bad).unwrap(),
        }
        let error = workspace
            .run(&["data.on_missing_mask=fail", "data.on_bad_mask=fail"])
            .unwrap_err();
        assert!(error.contains(name), "{error}");
        assert!(reason == "cannot" || error.contains(reason), "{error}");
    }
}

#[test]
fn a_table_without_classes_is_enough_for_a_segmenter_alone() {
    let workspace = Workspace::cells();
    let rows = (0..8).map(|i| format!("images/{i}.png,masks/{i}.png\n"));
    let table = format!("path,mask\n{}", rows.collect::<String>());
    fs::write(workspace.path("cells/table.csv"), table).unwrap();
    let toml = CELLS.replace(
        "layout = \"images\"\nimages = \"images\"\nmasks = \"{dir}/masks\"",
        "layout = \"csv\"\ncsv = { file = \"{dir}/table.csv\", mask = \"mask\" }",
    );
    fs::write(workspace.path("pipelines/it.toml"), toml).unwrap();
    let folder = workspace.run(&["train.epochs=1"]).unwrap();
    assert_eq!(metrics(&folder).test.n, 2);
    let classifier = [
        "train={task='both', epochs=1, map={loss='cross_entropy'}}",
        "model={architecture='unet_2015', base_channels=2, head='cam'}",
    ];
    let error = workspace.run(&classifier).unwrap_err();
    assert!(error.contains("of one class"), "{error}");
}

const REGION_STAGES: &str = "pipeline.stages=['index', 'region', 'augment-preview', 'train', 'evaluate', 'evaluate-segmentation', 'overlays', 'report']";

/// One network finds the lungs and classifies what lies inside them.
#[test]
fn a_region_head_classifies_segments_and_predicts_what_its_run_evaluated() {
    let workspace = Workspace::chests();
    let set = [
        "model.head=region",
        "data.mask={names=['background', 'lungs']}",
    ];
    let folder = workspace.run(&set).unwrap();
    let images = workspace.path("chests/images");
    assert_eq!(check_predictions(&workspace, &folder, &images), 16);
    let overlays: OverlayStatistics =
        serde_json::from_str(&text(&folder, "overlays.json")).unwrap();
    assert_eq!(overlays.class, "lungs");
    assert_eq!(metrics(&folder).classes, ["background", "lungs"]);
    let report = text(&folder, "report.md");
    assert!(
        report.contains("probability that it is not background"),
        "{report}"
    );
}

/// A segmenter of the lungs, trained in a few steps.
fn lungs(workspace: &Workspace) -> PathBuf {
    let set = [
        "pipeline.stages=['index', 'train', 'evaluate-segmentation', 'report']",
        "data.mask={names=['background', 'lungs']}",
        "model.head='none'",
        "train={task='segment', epochs=6, batch_size=4, map={loss='bce_dice'}, optimizer={name='adam', lr=3e-3}}",
    ];
    workspace.run(&set).unwrap()
}

#[test]
fn a_network_that_sees_regions_predicts_what_its_run_evaluated() {
    let workspace = Workspace::chests();
    let segmenter = lungs(&workspace);
    let region = format!(
        "image.region={{model='{}', margin=0.05}}",
        segmenter.display()
    );
    let folder = workspace.run(&[&region, REGION_STAGES]).unwrap();
    let images = workspace.path("chests/images");
    assert_eq!(check_predictions(&workspace, &folder, &images), 16);

    // The same part of each image as in the run; the checkpoint needs neither the segmenter nor the run.
    let regions: serde_json::Value = serde_json::from_str(&text(&folder, "regions.json")).unwrap();
    fs::rename(&segmenter, segmenter.with_extension("moved")).unwrap();
    let predictor = Predictor::open(&folder.join("model.safetensors")).unwrap();
    let mut found = 0;
    for image in regions["images"].as_array().unwrap() {
        let path = images.join(image["path"].as_str().unwrap());
        let seen = predictor.predict(&path, &workspace.path("out")).unwrap();
        let seen = seen.region.unwrap();
        let part = serde_json::json!([seen.top, seen.left, seen.height, seen.width]);
        assert_eq!(part, image["part"]);
        assert_eq!(serde_json::json!(seen.fallback), image["fallback"]);
        found += usize::from(seen.fallback.is_none() && seen.height < 64);
    }
    assert!(found > 30, "{found} regions of 48 images");
    let report = text(&folder, "report.md");
    assert!(report.contains("What the network sees") && report.contains("regions.png"));

    // Whole images give other predictions.
    let whole = workspace
        .run(&["image.region='none'", REGION_STAGES])
        .unwrap();
    assert_ne!(
        text(&whole, "predictions.csv"),
        text(&folder, "predictions.csv")
    );
}

#[test]
fn a_region_needs_a_segmenter_and_its_stage() {
    let workspace = Workspace::chests();
    let classifier = workspace.run(&[
        "train={epochs=1, batch_size=8}",
        "pipeline.stages=['index', 'train']",
    ]);
    let classifier = classifier.unwrap();
    let region = |model: &str, rest: &str| format!("image.region={{model='{model}'{rest}}}");
    let check = |set: &[&str], parts: &[&str]| {
        let error = workspace.run(set).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    let own = region(&classifier.display().to_string(), "");
    check(
        &[&own, REGION_STAGES],
        &["`image.region.model`", "not trained on masks"],
    );
    check(
        &[&region("nowhere", ""), REGION_STAGES],
        &["`image.region.model`", "no trained segmenter at"],
    );
    check(
        &["image.region='lungs'"],
        &["`image.region`", "\"lungs\" is not known"],
    );
    let segmenter = lungs(&workspace).display().to_string();
    check(
        &[&region(&segmenter, ", classes=['lung']"), REGION_STAGES],
        &[
            "`image.region.classes`",
            "\"lung\" is not a class",
            "did you mean \"lungs\"",
        ],
    );
    check(
        &[&region(&segmenter, ", margin=2")],
        &["`image.region.margin`", "from 0 to 1"],
    );
    check(
        &[&region(&segmenter, "")],
        &["`pipeline.stages`", "put the stage \"region\" before it"],
    );
    let late = "pipeline.stages=['index', 'train', 'region', 'evaluate', 'report']";
    check(
        &[&region(&segmenter, ""), late],
        &["`pipeline.stages`", "must come before \"train\""],
    );
}
