//! Invalid settings are refused before anything runs, with key, place and remedy.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::Path;

use settings::Request;

const GOOD: &str = r#"
[data]
dir = "images"
classes = ["NORMAL", "PNEUMONIA"]

[image]
size = 64

[model]
encoder = "tf_efficientnet_lite0"
decoder = "unet"

[train]
epochs = 3
"#;

fn workspace(toml: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("images")).unwrap();
    fs::create_dir(root.path().join("pipelines")).unwrap();
    fs::write(root.path().join("pipelines/lungs.toml"), toml).unwrap();
    root
}

fn request(root: &Path, set: &[&str]) -> Request {
    Request {
        set: set.iter().map(|s| (*s).to_owned()).collect(),
        ..Request::new(root, "lungs")
    }
}

/// Every part of `expected` is in the error.
fn check(set: &[&str], expected: &[&str]) {
    check_file(GOOD, set, expected);
}

fn check_file(toml: &str, set: &[&str], expected: &[&str]) {
    let root = workspace(toml);
    let error = settings::load(&request(root.path(), set))
        .err()
        .unwrap_or_else(|| panic!("{set:?} was accepted"));
    let text = error.to_string();
    for part in expected {
        assert!(text.contains(part), "{set:?}: no {part:?} in {text:?}");
    }
}

#[test]
fn precision_auto_resolves_to_one_that_the_processor_multiplies() {
    let root = workspace(GOOD);
    let set = ["pipeline.precision=auto", "pipeline.device=cpu"];
    let settings = settings::load(&request(root.path(), &set)).unwrap();
    let (precision, words) = match settings.device.device.multiplies_bf16() {
        true => ("bf16", "cpu; precision: bf16 (auto)"),
        false => ("f32", "cpu; precision: f32 (auto: bf16 would be emulated)"),
    };
    assert_eq!(settings.precision.to_string(), precision);
    assert_eq!(settings.device.words, words);
    let resolved = format!("precision = \"{precision}\"");
    assert!(
        settings.resolved.contains(&resolved),
        "{}",
        settings.resolved
    );
}

#[test]
fn good_settings_pass_and_resolve_to_themselves() {
    let root = workspace(GOOD);
    let settings = settings::load(&request(
        root.path(),
        &["train.epochs=8", "model.decoder=unetpp"],
    ))
    .unwrap();
    assert_eq!(
        (settings.train.epochs, settings.model.decoder.as_deref()),
        (8, Some("unetpp"))
    );
    let again = root.path().join("runs/lungs/now");
    fs::create_dir_all(&again).unwrap();
    fs::write(again.join("resolved.toml"), &settings.resolved).unwrap();
    let file = again.join("resolved.toml").display().to_string();
    let repeated = settings::load(&Request::new(root.path(), file)).unwrap();
    assert_eq!(
        (repeated.name.as_str(), &repeated.leaves),
        ("lungs", &settings.leaves)
    );
}

/// Numbers that no machine has the memory or time for are refused, naming the key, before anything is read.
#[test]
fn excessive_numbers_are_refused_by_key() {
    let huge = i64::MAX;
    let of = |key: &str, expected: &[&str]| {
        check(&[&format!("{key}={huge}")], &[&[key], expected].concat());
    };
    of("image.size", &["too large", "at most 8192"]);
    of("train.batch_size", &["from 1 to 4,096"]);
    of("train.epochs", &["from 1 to 100,000"]);
    of("train.repeats", &["from 1 to 10000"]);
    of("report.samples", &["from 0 to 400"]);
    of("overlays.examples", &["from 1 to 50"]);
    of("evaluate.bootstrap", &["from 10 to 1000000"]);
    of("image.cache_mib", &["out of range"]);
    of("model.base_channels", &["base_channels"]);
    check(&["image.size=[64, 8193]"], &["image.size", "at most 8192"]);
    check(
        &["image.crop=[64, 1000000]"],
        &["image.crop", "from 1 to 65536"],
    );
    // A batch that the limit of each number allows, but no machine's memory.
    check(
        &[
            "image.size=1024",
            "train.batch_size=4096",
            "pipeline.device=cpu",
        ],
        &[
            "`train.batch_size`",
            "4096 images needs",
            "this machine has",
            "the largest batch that fits",
        ],
    );
}

#[test]
fn an_unknown_pipeline_error_names_the_nearest() {
    let root = workspace(GOOD);
    let error = settings::load(&Request::new(root.path(), "lung"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("no pipeline \"lung\"") && error.contains("did you mean \"lungs\"?"),
        "{error}"
    );
}

#[test]
fn unknown_keys_name_the_nearest_and_their_place() {
    check_file(
        &GOOD.replace("epochs", "epoch"),
        &[],
        &[
            "pipelines/lungs.toml:14:1",
            "`train.epoch`",
            "did you mean \"epochs\"?",
        ],
    );
    check_file(
        "[trian]\nepochs = 3\n",
        &[],
        &[
            "pipelines/lungs.toml:1",
            "`trian`",
            "did you mean \"train\"?",
        ],
    );
    check(
        &["model.pretraind=x"],
        &[
            "--set model.pretraind=x",
            "`model.pretraind`",
            "did you mean \"pretrained\"?",
        ],
    );
    check(
        &["augment.random_resized_crop={scale=[0.5, 1.0]}"],
        &[
            "`augment.random_resized_crop.scale`",
            "known here: area, ratio, probability",
        ],
    );
    check(
        &["augment.rotation={degree=5.0}"],
        &["`augment.rotation.degree`", "did you mean \"degrees\"?"],
    );
    check(
        &["train.schedule={name='cosine', warmup=1.0}"],
        &["`train.schedule.warmup`", "did you mean \"warmup_epochs\"?"],
    );
    check(
        &["data.validation.fractoin=0.1"],
        &["did you mean \"fraction\"?"],
    );
    check(
        &["demo.train.epoch=1"],
        &["--set demo.train.epoch=1", "unknown key `train.epoch`"],
    );
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    check(
        &["train.epochs='ten'"],
        &["`train.epochs` must be a whole number of at least 0, found the string \"ten\""],
    );
    check(
        &["train.epochs=-1"],
        &["`train.epochs`", "at least 0", "-1"],
    );
    check(
        &["train.epochs=1.5"],
        &["`train.epochs` must be a whole number", "1.5"],
    );
    check(
        &["evaluate.tta=1"],
        &["`evaluate.tta` must be true or false, found the number 1"],
    );
    check(
        &["data.classes='NORMAL'"],
        &["`data.classes` must be a list, found the string"],
    );
    check(
        &["model.encoder=3"],
        &["`model.encoder` must be a string in quotes, found the number 3"],
    );
    check(&["train=3"], &["`train` must be a table, found 3"]);
    for (area, found) in [("[0.5]", "found 1"), ("[0.1, 0.5, 1.0]", "found 3")] {
        check(
            &[&format!("augment.random_resized_crop={{area={area}}}")],
            &[
                "`augment.random_resized_crop.area` must be a list of 2 values",
                found,
            ],
        );
    }
    check(
        &["augment.random_resized_crop={area=[0.1, 'all']}"],
        &["`augment.random_resized_crop.area[1]` must be a number, found the string \"all\""],
    );
    check(
        &["image.size='big'"],
        &["`image.size` must be a side in pixels, or [height, width]"],
    );
    check(
        &["data.on_bad_image='explode'"],
        &["`data.on_bad_image`", "skip, fail"],
    );
}

#[test]
fn a_whole_network_replaces_encoder_and_decoder() {
    let root = workspace(GOOD);
    let set = "model={architecture='unetpp_2018', base_channels=8, pruning_level=3}";
    let settings = settings::load(&request(root.path(), &[set])).unwrap();
    assert_eq!(settings.model.label(), "unetpp_2018, cam");
    assert_eq!(settings.image.mean, [0.5; 3]);
    assert_eq!(settings.graph(2).unwrap().size_multiple, 8);
}

#[test]
fn impossible_values_say_what_is_possible() {
    check(
        &["image.size=100"],
        &["image.size", "multiples of 32", "96x96 and 128x128"],
    );
    check(&["image.size=[64, 70]"], &["64x64 and 64x96"]);
    check(
        &["image.channels=2"],
        &["image.channels", "1 (grey) or 3 (RGB)"],
    );
    check(
        &["model.encoder=efficientnet_b11"],
        &["efficientnet_b11", "did you mean \"efficientnet_b1\"?"],
    );
    check(&["model.decoder=none"], &["model"]);
    check(
        &["model.head=bottleneck"],
        &["\"overlays\" needs a trained class map", "remove the stage"],
    );
    check(
        &["model.architecture=unet_2015"],
        &["model.encoder", "whole network with encoder included"],
    );
    check(
        &["model={architecture='unet_2016'}"],
        &["model.architecture", "did you mean \"unet_2015\"?"],
    );
    check(
        &["model={architecture='unet_2015_valid'}"],
        &["image.size", "188 plus a multiple of 16", "188x188"],
    );
    check(
        &["model={architecture='unet_2015_valid'}", "image.size=188"],
        &["pipeline.stages", "4x4 for an image of 188x188"],
    );
    check(
        &["model={architecture='unet_2015', pretrained='Cargo.toml'}"],
        &["model.pretrained", "no EfficientNet encoder"],
    );
    check(
        &["model.classes=3"],
        &["model.classes", "the class folders determine it"],
    );
    check(
        &["pipeline.precision=f16"],
        &["pipeline.precision", "f32", "bf16"],
    );
    check(
        &["train.epochs=0"],
        &["`train.epochs`", "from 1 to 100,000"],
    );
    check(
        &["train.optimizer={name='adam', lr=-1.0}"],
        &["train.optimizer.lr"],
    );
    let unstopped = "train.early_stopping={enabled=false}";
    check(
        &["train.swa={epochs=2}"],
        &["`train.early_stopping.enabled`", "false with swa"],
    );
    check(
        &["train.swa={epochs=4}", unstopped],
        &["`train.swa.epochs`", "not more than train.epochs"],
    );
    check(
        &["train.swa={epochs=0}", unstopped],
        &["`train.swa.epochs`", "at least 1"],
    );
    check(
        &["train.swa={epochs=2}", unstopped, "train.ema=0.9"],
        &["`train.ema`", "with swa"],
    );
    check(&["train.swa={last=2}"], &["`train.swa.last`"]);
    check(
        &["train.freeze=all"],
        &["train.freeze", "{ encoder_epochs = N }"],
    );
    check(&["train.freeze={epochs=3}"], &["train.freeze", "encoder"]);
    check(
        &["train.freeze={encoder_epochs=0}"],
        &["train.freeze", "freeze"],
    );
    check(
        &["train.freeze=encoder", "model.drop_path=0.2"],
        &["`model.drop_path`", "train.freeze"],
    );
    check(
        &[
            "train.freeze=encoder",
            "model={architecture='unet_2015'}",
            "pipeline.stages=['index','train','report']",
        ],
        &["`train.freeze`", "no encoder"],
    );
    let scaled = "train.optimizer={name='adamw', encoder_lr_scale=0.1}";
    check(
        &[
            scaled,
            "model={architecture='unet_2015'}",
            "pipeline.stages=['index','train','report']",
        ],
        &["`train.optimizer.encoder_lr_scale`", "no encoder"],
    );
    check(
        &[scaled, "train.freeze=encoder"],
        &["`train.optimizer.encoder_lr_scale`", "never trained"],
    );
    check(
        &["train.optimizer={name='sgd', encoder_lr_scale=0.0}"],
        &["`train.optimizer.encoder_lr_scale`", "a positive number"],
    );
    check(
        &["augment.flip={horizontal=2.0}"],
        &["flip.horizontal", "2"],
    );
    check(
        &["augment.random_resized_crop={area=[0.08, 1.5]}"],
        &[
            "`random_resized_crop.area[1]` is 1.5",
            "a fraction of the image's area, from 0.001 to 1",
        ],
    );
    check(
        &["augment.random_resized_crop={ratio=[1.4, 0.7]}"],
        &["`random_resized_crop.ratio` runs from 1.4 to 0.7", "swap"],
    );
    check(
        &["augment.mixup={alpha=0.0}"],
        &["`mixup.alpha` is 0", "from 0.001 to 1000"],
    );
    check(
        &["augment.cutmix={alpha=1.0, switch=0.5}"],
        &["`cutmix.switch`", "`mixup` is off"],
    );
    check(
        &["evaluate.threshold=1.5"],
        &["evaluate.threshold", "from 0 to 1"],
    );
    check(
        &["data.validation.fraction=1.5"],
        &["data.validation.fraction"],
    );
    check(
        &["data.positive=PNEUMONA"],
        &["\"PNEUMONA\" is not a class", "did you mean \"PNEUMONIA\"?"],
    );
    check(
        &["pipeline.device=gpu"],
        &["no device \"gpu\"", "auto, cpu, cuda"],
    );
    check(&["pipeline.precision=tf23"], &["tf23", "tf32"]);
}

#[test]
fn missing_files_and_folders_are_named() {
    check(
        &["model.pretrained=/nowhere/lite0.safetensors"],
        &[
            "no weights file at /nowhere/lite0.safetensors",
            "set the key to \"none\"",
        ],
    );
    check(
        &["data.dir=/nowhere"],
        &["no data folder at /nowhere", "data/README.md"],
    );
    check(
        &["data.masks=/nowhere/masks"],
        &["data.masks", "/nowhere/masks"],
    );
    check_file("[train]\nepochs = 1\n", &[], &["no folder is given"]);
}

/// A root with `images`, `masks` and a table.
fn with_masks(toml: &str) -> tempfile::TempDir {
    let root = workspace(toml);
    fs::create_dir(root.path().join("masks")).unwrap();
    fs::write(root.path().join("images/table.csv"), "path\n").unwrap();
    root
}

#[test]
fn layouts_and_masks_resolve_to_themselves() {
    let toml = r#"
        [data]
        dir = "."
        layout = "images"
        images = "images"
        masks = "{dir}/masks"
        on_bad_mask = "fail"
        resize_masks = true
        [data.mask]
        values = { 0 = 0, 255 = 1 }
        ignore = [128]
        names = ["membrane", "cell"]
        [data.validation]
        policy = "count"
        count = 3
        test_count = 5
        by = "order"
        [image]
        size = 64
        fit = "pad"
        crop = [96, 64]
        [pipeline]
        stages = ["index", "eda", "train"]
        [model]
        head = "none"
        [train]
        task = "segment"
        [train.map]
        loss = "bce"
    "#;
    let root = with_masks(toml);
    let settings = settings::load(&request(root.path(), &[])).unwrap();
    let index = &settings.data.index;
    assert!(index.root.ends_with("images") && index.layout == dataset::DataLayout::Images);
    assert_eq!(index.splits, dataset::SplitFolders::none());
    let masks = index.masks.as_ref().unwrap();
    assert!(
        matches!(&masks.places[..], [dataset::MaskPlace::Tree { root, .. }] if root.ends_with("masks"))
    );
    assert_eq!((masks.coding.classes(), masks.resize), (2, true));
    assert_eq!(masks.coding.values[&imaging::PixelValue::Grey(255)], 1);
    assert_eq!(
        (settings.image.fit, settings.image.crop),
        (imaging::Fit::Pad, Some((96, 64)))
    );
    let again = root.path().join("runs/lungs/now");
    fs::create_dir_all(&again).unwrap();
    fs::write(again.join("resolved.toml"), &settings.resolved).unwrap();
    let file = again.join("resolved.toml").display().to_string();
    let repeated = settings::load(&Request::new(root.path(), file)).unwrap();
    assert_eq!(repeated.leaves, settings.leaves);
    assert_eq!(repeated.data.index, *index);
}

#[test]
fn a_table_is_found_in_the_data_folder() {
    let toml = "[data]\ndir = \"images\"\nlayout = \"csv\"\ncsv = { file = \"{dir}/table.csv\", mask = \"truth\" }\n";
    let root = with_masks(toml);
    let settings = settings::load(&request(root.path(), &[])).unwrap();
    let masks = settings.data.index.masks.unwrap();
    assert_eq!(masks.places, [dataset::MaskPlace::Column]);
    let dataset::DataLayout::Csv(layout) = settings.data.index.layout else {
        panic!("a table")
    };
    assert!(layout.file.ends_with("images/table.csv"));
}

#[test]
fn every_phantom_has_the_layout_that_is_drawn() {
    let layout = |set: &[&str]| {
        let root = workspace(&format!("{GOOD}\n[demo.phantom]\nsize = 64\n"));
        let demo = Request {
            demo: true,
            ..request(root.path(), set)
        };
        settings::load(&demo).unwrap().data.index
    };
    let chest = layout(&["demo.phantom.masks=lungs"]);
    let masks = chest.masks.unwrap();
    assert!(
        matches!(&masks.places[..], [dataset::MaskPlace::Tree { root, .. }] if root.ends_with("lungs"))
    );
    let cells = layout(&[
        "demo.phantom.kind=cells",
        "demo.phantom.images=4",
        "pipeline.stages=['index', 'eda']",
    ]);
    assert_eq!(cells.layout, dataset::DataLayout::Images);
    let heads = layout(&["demo.phantom.kind=heads", "demo.phantom.per_class=[5, 2]"]);
    assert_eq!(heads.splits.named().count(), 2);
    assert_eq!(heads.masks.unwrap().coding.classes(), 4);
    check(
        &["demo.phantom.kind=cells", "demo.phantom.difficulty=0.1"],
        &["phantom.difficulty", "kind = \"chest\" only"],
    );
    check(
        &["demo.phantom.per_class=[1, 1]"],
        &["kind = \"heads\" only"],
    );
}

#[test]
fn incompatible_masks_and_layouts_are_refused() {
    check(&["data.layout=csv"], &["`data.csv`", "name the table"]);
    check(
        &["data.layout=flat"],
        &["`data.layout`", "classes, images, csv"],
    );
    check(
        &["data.images=x"],
        &["`data.images`", "layout = \"images\""],
    );
    check(&["data.csv.file=x"], &["`data.csv`", "layout = \"csv\""]);
    check(
        &["data.csv.fil=x"],
        &["`data.csv.fil`", "did you mean \"file\"?"],
    );
    check(
        &["data.layout=images"],
        &["`data.classes`", "one name or none"],
    );
    check(
        &["data.on_bad_mask=skip"],
        &["`data.on_bad_mask`", "there are no masks"],
    );
    check(&["data.on_missing_mask=explode"], &["unknown, skip, fail"]);
    check(
        &["data.mask={valus={}}"],
        &["`data.mask.valus`", "did you mean \"values\"?"],
    );
    let masks = "data.masks={stem}_mask.png";
    check(
        &["data.masks={stem}/mask.png"],
        &["`data.masks`", "a file name that holds {stem}"],
    );
    check(
        &["image.max_megapixels=0"],
        &["`image.max_megapixels`", "1 to 4000"],
    );
    check(
        &[masks, "data.mask={values={a=1}}"],
        &["data.mask.values.a", "0 to 65535"],
    );
    check(
        &[masks, "data.mask={values={0=0, 9=2}}"],
        &["`data.mask`", "no value has class 1"],
    );
    check(
        &["data.names={NORML='n'}"],
        &["\"NORML\" is not a class", "did you mean \"NORMAL\"?"],
    );
    check(&["train.map={loss='bce'}"], &["`train.map`", "data.masks"]);
    check(
        &[masks, "train.map={loss='bce'}", "augment.mixup={alpha=0.2}"],
        &["`augment.mixup`", "use augment.cutmix"],
    );
    check(&["image.crop=64"], &["`image.crop`", "crops need masks"]);
    let trained = [masks, "train.map={loss='bce'}", "image.crop=64"];
    check(
        &trained,
        &["`image.crop`", "\"overlays\" draws whole images"],
    );
    check(&["image.fit=squash"], &["`image.fit`", "stretch, pad"]);
    check(
        &["data.validation.count=3"],
        &["data.validation.count", "policy = \"count\" only"],
    );
    check(
        &["data.validation.policy=count"],
        &["data.validation.count", "1"],
    );
    check(
        &["data.validation.policy=list", "data.validation.by=order"],
        &["data.validation.by", "policy = \"count\" only"],
    );
}

/// Encoder, decoder, head, loss and task can be changed by name, without code.
#[test]
fn parts_are_exchanged_by_name() {
    let root = with_masks(GOOD);
    let masks = "data.masks={stem}_mask.png";
    let stages = "pipeline.stages=['index','train','evaluate-segmentation','report']";
    let settings = |set: &[&str]| {
        let set: Vec<&str> = [masks, stages]
            .into_iter()
            .chain(set.iter().copied())
            .collect();
        settings::load(&request(root.path(), &set)).unwrap_or_else(|e| panic!("{set:?}: {e}"))
    };
    let channels = |set: &[&str], output: &str| {
        let graph = settings(set).graph(3).unwrap();
        graph.output(output).map(|id| graph.node(id).channels)
    };
    for encoder in ["efficientnet_b0", "tf_efficientnet_lite1"] {
        for decoder in ["unet", "unetpp"] {
            for loss in [
                "bce",
                "dice",
                "bce_dice",
                "focal",
                "tversky",
                "cross_entropy",
            ] {
                let parts = [
                    format!("model.encoder={encoder}"),
                    format!("model.decoder={decoder}"),
                    format!("train.map.loss={loss}"),
                ];
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let both = [&parts[..], &["train.task=both"]].concat();
                let segment = [&parts[..], &["train.task=segment", "model.head=none"]].concat();
                // One class of the images against the rest, or all classes of the masks.
                let trained = if loss == "cross_entropy" { 2 } else { 3 };
                assert_eq!(channels(&both, "map"), Some(trained), "{both:?}");
                assert_eq!(channels(&both, "logits"), Some(3));
                assert_eq!(channels(&segment, "map"), Some(2), "{segment:?}");
                assert_eq!(channels(&segment, "logits"), None);
            }
        }
    }
    let by_image = [
        "train.map.loss=cross_entropy",
        "data.mask={marks='image_class'}",
    ];
    assert_eq!(channels(&by_image, "map"), Some(4));
    // The map's class 0 is the background in both cases, which is all that the head needs.
    let region = ["train.map.loss=cross_entropy", "model.head=region"];
    assert_eq!(channels(&region, "map"), Some(2));
    assert_eq!(channels(&region, "logits"), Some(3));
    let region = [&by_image[..], &["model.head=region"]].concat();
    assert_eq!(channels(&region, "map"), Some(4));
    for whole in [
        "unet_2015",
        "unetpp_2018",
        "tpcuar_segmenter",
        "eff_unet_keras",
    ] {
        let model = format!("model={{architecture='{whole}', head='none'}}");
        let set = [&model, "train.task=segment", "train.map.loss=dice"];
        assert_eq!(channels(&set, "map"), Some(2), "{whole}");
    }
}

/// Incompatible parts are refused with the reason, before anything runs.
#[test]
fn incompatible_tasks_heads_and_stages_are_refused() {
    let masks = "data.masks={stem}_mask.png";
    let trained = "train.map={loss='bce'}";
    let stages = "pipeline.stages=['index','train','evaluate-segmentation']";
    check(
        &["model.head=none"],
        &[
            "`model.head`",
            "no class scores",
            "train.task = \"segment\"",
        ],
    );
    check(
        &[masks, trained, "train.task=segment"],
        &["`model.head`", "model.head = \"none\""],
    );
    let teach = [
        "`model.head`",
        "set data.masks and train.map.loss to cross_entropy, multiclass_dice or cross_entropy_dice",
    ];
    let region = "model.head=region";
    check(&[region], &teach);
    check(&[region, masks], &teach);
    check(&[region, masks, trained], &teach);
    check(&[region, "train.map={loss='cross_entropy'}"], &teach);
    check(
        &[masks, trained, "train.task=segment", "model.head=none"],
        &[
            "`pipeline.stages`",
            "\"evaluate\"",
            "\"evaluate-segmentation\"",
        ],
    );
    check(
        &[stages],
        &[
            "`pipeline.stages`",
            "\"evaluate-segmentation\" evaluates",
            "train.map.loss",
        ],
    );
    check(
        &["model={encoder='efficientnet_b0', decoder='none', head='none'}"],
        &["`model.head`", "segment"],
    );
    check(
        &[
            masks,
            trained,
            stages,
            "train.task=segment",
            "model={encoder='efficientnet_b0', decoder='none', head='none'}",
        ],
        &["model.decoder", "class map"],
    );
    check(
        &[masks, trained, "data.mask={values={0=0,1=1,2=2}}"],
        &["`train.map.loss`", "one class against the rest"],
    );
    check(
        &[masks, trained, "data.mask={marks='image_class'}"],
        &["`train.map.loss`", "cross_entropy"],
    );
    check(
        &[
            masks,
            "data.mask={marks='image_class', values={0=0,1=1,2=2}}",
        ],
        &["`data.mask`", "binary masks"],
    );
    check(
        &[
            masks,
            stages,
            "train={task='segment', map={loss='bce', class=0}}",
            "model.head=none",
        ],
        &["`train.map", "always 1, which the masks mark"],
    );
    check(&["train.border={}"], &["`train.border`", "binary masks"]);
    check(
        &[masks, "train={map={loss='bce'}, border={sigma=0}}"],
        &["`train.border", "sigma"],
    );
    check(&["train.repeats=0"], &["`train.repeats`", "1"]);
    check(&["data.classes=['NORMAL']"], &["`train", "of one class"]);
    check(
        &["model.map_classes=3"],
        &["`model.map_classes`", "masks' classes determine it"],
    );
    check(
        &["evaluate.tile_overlap=1.0"],
        &["`evaluate.tile_overlap`", "0.95"],
    );
    check(
        &[
            "model.decoder=none",
            "train.task=segment",
            "model.head=none",
        ],
        &["train"],
    );
}

#[test]
fn stages_need_the_artifacts_that_they_read() {
    check(
        &["pipeline.stages=['index', 'evaluate']"],
        &[
            "\"evaluate\" reads model.safetensors",
            "put \"train\" before it",
        ],
    );
    check(
        &["pipeline.stages=['train', 'index']"],
        &["\"train\" reads manifest.csv", "put \"index\" before it"],
    );
    check(
        &["pipeline.stages=['index', 'trian']"],
        &["no stage \"trian\"", "did you mean \"train\"?"],
    );
    check(
        &["pipeline.stages=['index', 'index']"],
        &["is listed twice"],
    );
    check(&["pipeline.stages=[]"], &["no stage is given"]);
}

#[test]
fn malformed_assignments_and_files_are_refused() {
    check(&["train.epochs"], &["--set train.epochs", "key.path=value"]);
    check(&["=3"], &["key.path=value"]);
    check_file("[train\nepochs = 3\n", &[], &["pipelines/lungs.toml:1"]);
}

#[test]
fn the_demo_overlay_applies_only_where_data_are_absent() {
    let toml = format!(
        "{GOOD}\n[demo.train]\nepochs = 1\n[demo.phantom]\nsize = 64\nstands_in_for = \"images\"\n"
    );
    let root = workspace(&toml);
    let with_data = settings::load(&request(root.path(), &[])).unwrap();
    assert_eq!(
        (with_data.train.epochs, with_data.data.phantom.is_none()),
        (3, true)
    );
    let asked = settings::load(&Request {
        demo: true,
        ..request(root.path(), &[])
    })
    .unwrap();
    assert_eq!(
        (asked.train.epochs, asked.data.phantom.map(|p| p.size())),
        (1, Some(64))
    );
    fs::remove_dir(root.path().join("images")).unwrap();
    let absent = settings::load(&request(root.path(), &["train.epochs=2"])).unwrap();
    assert_eq!(
        (absent.train.epochs, absent.data.phantom.is_some()),
        (2, true)
    );
    let error = settings::load(&Request {
        data: Some("/nowhere".into()),
        ..request(root.path(), &[])
    })
    .err()
    .unwrap()
    .to_string();
    assert!(
        error.contains("--data /nowhere") && error.contains("no data folder"),
        "{error}"
    );
}

/// A mistyped folder must not lead to training on phantoms silently.
#[test]
fn phantoms_stand_in_only_for_the_folder_they_are_meant_for() {
    let toml = format!("{GOOD}\n[demo.phantom]\nsize = 64\nstands_in_for = \"images\"\n");
    let refused = |toml: &str, spoil: fn(&Path)| {
        let root = workspace(toml);
        fs::remove_dir(root.path().join("images")).unwrap();
        spoil(root.path());
        let error = settings::load(&request(root.path(), &[])).err().unwrap();
        let text = error.to_string();
        for part in ["`data.dir`", "no data folder", "--demo"] {
            assert!(text.contains(part), "no {part:?} in {text:?}");
        }
    };
    refused(
        &toml.replace("dir = \"images\"", "dir = \"imagse\""),
        |_| {},
    );
    refused(&format!("{GOOD}\n[demo.phantom]\nsize = 64\n"), |_| {});
    #[cfg(unix)]
    refused(&toml, |root| {
        std::os::unix::fs::symlink("unmounted", root.join("images")).unwrap();
    });
}

/// Masks whose names differ from the images', in a tree or relative to the image's folder.
#[test]
fn masks_may_have_names_and_folders_of_their_own() {
    let root = workspace(GOOD);
    fs::create_dir(root.path().join("images_masks")).unwrap();
    let place = |masks: &str| {
        let set = format!("data.masks={masks}");
        let settings = settings::load(&request(root.path(), &[&set])).unwrap();
        let places = settings.data.index.masks.unwrap().places;
        let [place] = <[_; 1]>::try_from(places).unwrap();
        place
    };
    let tree = |pattern: &str| dataset::MaskPlace::Tree {
        root: root.path().join("images_masks"),
        pattern: pattern.to_owned(),
    };
    assert_eq!(place("{dir}_masks"), tree("{stem}.png"));
    assert_eq!(
        place("{dir}_masks/{stem}_mask.png"),
        tree("{stem}_mask.png")
    );
    let absolute = root.path().join("images_masks/{stem}_m.png");
    assert_eq!(place(&absolute.display().to_string()), tree("{stem}_m.png"));
    assert_eq!(place("{dir}_masks/{stem}_mask"), tree("{stem}_mask"));
    for beside in ["{stem}_mask.png", "../masks/{stem}.png", "../masks/{stem}"] {
        assert_eq!(
            place(beside),
            dataset::MaskPlace::Adjacent(beside.to_owned())
        );
    }
}

#[test]
fn folds_are_checked_and_exclude_the_keys_of_other_policies() {
    let fold = |keys: &str| format!("data.validation={{policy=\"fold\", {keys}}}");
    let root = workspace(GOOD);
    let set = fold("fold=2, folds=3, official_val=\"drop\"");
    let settings = settings::load(&request(root.path(), &[&set, "pipeline.seed=7"])).unwrap();
    let expected = dataset::SplitPolicy::Fold {
        fold: 2,
        folds: 3,
        by: dataset::FoldBy::Class,
        seed: 7,
        official_val: dataset::OfficialVal::Drop,
    };
    assert_eq!(settings.data.policy, expected);
    check(
        &[&fold("folds=1")],
        &["data.validation.folds", "from 2 to 100"],
    );
    check(
        &[&fold("fold=4, folds=3")],
        &["data.validation.fold`", "from 1 to 3"],
    );
    check(
        &[&fold("fraction=0.2")],
        &["data.validation.fraction", "from_train"],
    );
    check(
        &["data.validation.folds=3"],
        &["data.validation.folds", "policy = \"fold\""],
    );
}

/// pipelines/README.md documents every key that a table knows.
#[test]
fn every_key_is_documented() {
    let root = workspace(GOOD);
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/README.md"))
            .unwrap();
    for table in [
        "pipeline",
        "data",
        "data.validation",
        "data.csv",
        "data.mask",
        "data.validation.lists",
        "image",
        "augment",
        "model",
        "train",
        "train.border",
        "train.map",
        "evaluate",
        "overlays",
        "report",
        "phantom",
    ] {
        let error = settings::load(&request(root.path(), &[&format!("{table}.no_such_key=1")]))
            .err()
            .unwrap()
            .to_string();
        let known = error
            .split("known here: ")
            .nth(1)
            .unwrap_or_else(|| panic!("{table}: {error}"))
            .trim_end_matches(')');
        for key in known.split(", ").filter(|key| {
            !["classes", "map_classes", "in_channels"].contains(key) || table == "data"
        }) {
            assert!(
                readme.contains(&format!("`{key}`")),
                "{table}.{key} is not in pipelines/README.md"
            );
        }
    }
}

/// The shipped pipelines are valid, with their demo and (where only the data folder is missing) without.
#[test]
fn shipped_pipelines_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in settings::Kind::Pipeline.names(&root) {
        let demo = settings::load(&Request {
            demo: true,
            ..Request::new(&root, &name)
        })
        .unwrap();
        assert!(demo.data.phantom.is_some());
        let empty = tempfile::tempdir().unwrap();
        let full = settings::load(&Request {
            data: Some(empty.path().into()),
            dry: true,
            ..Request::new(&root, &name)
        })
        .unwrap();
        assert!(full.data.phantom.is_none());
    }
}

/// Weights that state their input normalization: `auto` uses it, and any value that differs is refused.
#[test]
fn normalization_comes_with_the_weights() {
    use formats::weights::{About, InputNormalization, SaveOptions, save};

    let root = workspace(GOOD);
    let encoder = model::build::find_encoder("tf_efficientnet_lite0").unwrap();
    let graph = model::build::build(&model::build::ModelSpec {
        encoder: Some(encoder.name.into()),
        decoder: Some("none".into()),
        head: "bottleneck".into(),
        ..Default::default()
    })
    .unwrap();
    let store = model::store::ParamStore::initialized(&graph, 0);
    let path = root.path().join("lite0.safetensors");
    // The encoder's usual normalization is `half`.
    let metadata = About::new(encoder, InputNormalization::imagenet()).to_metadata();
    let options = SaveOptions {
        metadata,
        ..SaveOptions::default()
    };
    save(&path, &graph, &store, &options).unwrap();
    let pretrained = format!("model.pretrained={}", path.display());
    let load = |set: &[&str]| {
        let set = [&[pretrained.as_str()], set].concat();
        settings::load(&request(root.path(), &set)).map(|settings| settings.image)
    };
    assert_eq!(load(&[]).unwrap().mean, [0.485, 0.456, 0.406]);
    assert_eq!(load(&["image.channels=1"]).unwrap().mean.len(), 1);
    let written = "image.normalization={mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]}";
    assert!(load(&[written]).is_ok());
    for other in [
        "image.normalization=half",
        "image.normalization={mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]}",
    ] {
        let text = load(&[other]).unwrap_err().to_string();
        for part in [
            "`image.normalization`",
            "mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5]",
            "mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn errors_on_unfetched_known_weights_say_how_to_fetch_them() {
    check(
        &["model.pretrained=tf_efficientnet_lite4.in1k"],
        &["cargo xtask weights fetch tf_efficientnet_lite4.in1k"],
    );
}

/// A demo or an option can remove the weights that a file names, and a dry request, which only describes the network,
/// does not need them.
#[test]
fn weights_can_be_removed_and_are_needed_only_where_they_are_read() {
    let toml = GOOD.replace(
        "[train]",
        "pretrained = \"tf_efficientnet_lite4.in1k\"\n[train]",
    );
    let toml = format!("{toml}\n[demo.model]\npretrained = \"none\"\n[demo.phantom]\nsize = 64\n");
    check_file(&toml, &[], &["weights fetch tf_efficientnet_lite4.in1k"]);
    let root = workspace(&toml);
    let load = |set: &[&str], demo, dry| {
        let request = Request {
            demo,
            dry,
            ..request(root.path(), set)
        };
        settings::load(&request).unwrap()
    };
    let without = [
        load(&[], true, false),
        load(&["model.pretrained=none"], false, false),
        load(&[], false, true),
    ];
    for settings in without {
        assert_eq!(
            (settings.pretrained, &settings.image.mean[..]),
            (None, &[0.5; 3][..])
        );
    }
}

#[test]
fn a_shift_must_change_single_images() {
    let refused = |shift: &str, part: &str| {
        let set = format!("evaluate.shifts={{dark={shift}}}");
        check(&[&set], &["evaluate.shifts.dark", part]);
    };
    refused("{}", "changes nothing");
    refused("{mixup={alpha=0.2}}", "one image at a time");
    refused("{contrast={min=-1.0, max=1.0}}", "contrast");
    refused("{contrst={min=0.5, max=0.5}}", "contrst");
}

/// Only what describes the images is read of the file; the rest may refer to files that no longer exist.
#[test]
fn an_evaluation_reads_what_describes_its_images() {
    let file = r#"
[pipeline]
seed = 7
stages = ["index", "train", "evaluate"]
[data]
dir = "gone"
classes = ["a", "b", "c"]
names = { a = "A" }
masks = "gone"
folders = { test = "test" }
validation = { policy = "from_train", fraction = 0.5 }
[image]
region = { model = "gone.safetensors" }
[model]
pretrained = "gone.safetensors"
[train]
nonsense = 1
[evaluate]
bootstrap = 77
[phantom]
size = 32
"#;
    let root = workspace(file);
    let load = |set: &[&str], csv: Option<&Path>| {
        let request = Request {
            data: Some(root.path().join("images")),
            ..request(root.path(), set)
        };
        settings::load_for_evaluation(&request, csv)
    };
    let read = load(&[], None).unwrap();
    assert_eq!((read.seed, read.evaluate.bootstrap), (7, 77));
    assert_eq!(read.data.index.root, root.path().join("images"));
    assert!(read.data.index.classes.is_empty() && read.data.index.masks.is_none());
    assert_eq!(read.data.index.class_names["a"], "A");
    assert_eq!(read.data.index.splits.test.as_deref(), Some("test"));
    assert!(read.data.phantom.is_none() && read.pretrained.is_none());

    let csv = root.path().join("images.csv");
    let missing = load(&[], Some(&csv)).err().unwrap().to_string();
    assert!(missing.contains("images.csv does not exist"), "{missing}");
    fs::write(&csv, "path,class\n").unwrap();
    let columns = ["data.csv.class=finding", "data.classes=['a']"];
    let read = load(&columns, Some(&csv)).unwrap();
    let dataset::DataLayout::Csv(layout) = &read.data.index.layout else {
        panic!("{:?}", read.data.index.layout)
    };
    assert_eq!(
        (&layout.file, layout.class.as_deref()),
        (&csv, Some("finding"))
    );
    assert_eq!(read.data.index.classes, ["a"]);

    for (assignment, part) in [
        ("train.epochs=3", "checkpoint's"),
        ("demo.phantom.size=32", "checkpoint's"),
        ("data.positive=b", "positive class"),
        ("data.limit_per_class=3", "--split"),
        ("data.mask.values=[0,1]", "masks"),
        ("data.dir=x", "--data"),
        ("pipeline.stages=[]", "no stages"),
    ] {
        let error = load(&[assignment], None).err().unwrap().to_string();
        let key = assignment.split('=').next().unwrap();
        assert!(error.contains(key) && error.contains(part), "{error}");
    }
    let unknown = load(&["data.klasses=[]"], None).err().unwrap().to_string();
    assert!(unknown.contains("klasses"), "{unknown}");
}

/// A list of trees and patterns resolves to itself, as everything else.
#[test]
fn masks_may_be_in_several_places() {
    let masks = "masks = [\"{dir}_left\", \"{dir}_right/{stem}_r\", \"{stem}_m.png\"]";
    let root = workspace(&GOOD.replace("[image]", &format!("{masks}\n[image]")));
    for tree in ["images_left", "images_right"] {
        fs::create_dir(root.path().join(tree)).unwrap();
    }
    let settings = settings::load(&request(root.path(), &[])).unwrap();
    let tree = |name: &str, pattern: &str| dataset::MaskPlace::Tree {
        root: root.path().join(name),
        pattern: pattern.to_owned(),
    };
    let places = &settings.data.index.masks.as_ref().unwrap().places;
    let expected = [
        tree("images_left", "{stem}.png"),
        tree("images_right", "{stem}_r"),
        dataset::MaskPlace::Adjacent("{stem}_m.png".to_owned()),
    ];
    assert_eq!(places[..], expected);
    let again = root.path().join("runs/lungs/now");
    fs::create_dir_all(&again).unwrap();
    fs::write(again.join("resolved.toml"), &settings.resolved).unwrap();
    let file = again.join("resolved.toml").display().to_string();
    let repeated = settings::load(&Request::new(root.path(), file)).unwrap();
    assert_eq!(repeated.data.index, settings.data.index);
    check(&["data.masks=[]"], &["`data.masks`", "the list is empty"]);
    check(
        &["data.masks=3"],
        &["`data.masks`", "a string in quotes, or a list"],
    );
    check(
        &["data.masks=['{stem}_a.gif']"],
        &["`data.masks`", ".gif, which is not read"],
    );
}

#[test]
fn codings_of_masks_are_checked() {
    let masks = "data.masks={stem}_mask";
    let refused = |mask: &str, expected: &[&str]| {
        check(&[masks, &format!("data.mask={mask}")], expected);
    };
    refused("{threshold=0}", &["`data.mask`", "at least 1"]);
    refused(
        "{threshold=9, values={0=0, 1=1}}",
        &["threshold makes masks binary"],
    );
    refused(
        "{channel='opacity'}",
        &["`data.mask.channel`", "grey, red, green, blue, alpha"],
    );
    refused(
        "{values={'#00ff'=0}}",
        &["data.mask.values.#00ff", "\"#ff8000\""],
    );
    refused(
        "{values={'#000000'=0, 1=1}}",
        &["all grey values or all colours"],
    );
    let root = workspace(GOOD);
    let mask = "data.mask={values={'#000000'=0, '#FF0000'=1}, ignore=['#e0e0c0']}";
    let settings = settings::load(&request(root.path(), &[masks, mask])).unwrap();
    let coding = settings.data.index.masks.unwrap().coding;
    assert_eq!(coding.values[&imaging::PixelValue::Colour([255, 0, 0])], 1);
}

const TABLE: &str = r#"
[data]
dir = "images"
layout = "csv"
classes = ["NORMAL", "PNEUMONIA"]
[data.csv]
file = "{dir}/table.csv"
class = "Finding Labels"
separator = "|"
labels = { "No Finding" = "NORMAL", Pneumonia = "PNEUMONIA", Infiltration = "PNEUMONIA" }
precedence = ["PNEUMONIA"]
[image]
size = 64
[model]
encoder = "tf_efficientnet_lite0"
decoder = "unet"
"#;

#[test]
fn labels_are_mapped_to_classes() {
    let root = with_masks(TABLE);
    let labels = |set: &[&str]| {
        let settings = settings::load(&request(root.path(), set)).unwrap();
        let dataset::DataLayout::Csv(layout) = settings.data.index.layout else {
            panic!("a table")
        };
        (layout.class, layout.labels)
    };
    let (class, names) = labels(&[]);
    assert_eq!(class.as_deref(), Some("Finding Labels"));
    assert_eq!(names.separator.as_deref(), Some("|"));
    assert_eq!(names.classes["Infiltration"], "PNEUMONIA");
    let columns = "data.csv={file='{dir}/table.csv', class=['No Finding', 'Pneumonia'], labels={'No Finding'='NORMAL', \
                   Pneumonia='PNEUMONIA'}, uncertain='positive', blank='negative', otherwise='NORMAL'}";
    let (class, columns) = labels(&[columns]);
    assert_eq!((class, columns.columns.len()), (None, 2));
    assert_eq!(columns.uncertain, dataset::Uncertain::Positive);
    assert_eq!(columns.blank, dataset::Blank::Negative);
}

#[test]
fn inconsistent_labels_are_refused() {
    let check = |set: &[&str], expected: &[&str]| {
        let root = with_masks(TABLE);
        let error = settings::load(&request(root.path(), set)).err();
        let text = error
            .unwrap_or_else(|| panic!("{set:?} was accepted"))
            .to_string();
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    };
    check(
        &["data.csv.labels.Pneumonia=PNEUMONA"],
        &["`data.csv.labels.Pneumonia`", "did you mean \"PNEUMONIA\"?"],
    );
    check(
        &["data.csv.otherwise=SICK"],
        &["`data.csv.otherwise`", "NORMAL, PNEUMONIA"],
    );
    check(
        &["data.csv.precedence=['Pneumonia']"],
        &["`data.csv.precedence`", "is not a class"],
    );
    check(
        &["data.csv.uncertain=positive"],
        &["`data.csv.uncertain`", "list them in csv.class"],
    );
    check(
        &["data.csv.uncertain=maybe"],
        &["leave_out, positive, negative"],
    );
    check(
        &["data.csv.separator="],
        &["`data.csv.separator`", "it is empty"],
    );
    check(
        &["data.csv.class=['a', 'a']"],
        &["`data.csv.class`", "once"],
    );
    check(
        &["data.csv.class=['a']"],
        &["`data.csv.labels.Infiltration`", "not one of the columns"],
    );
    check(
        &["data.csv={file='{dir}/table.csv', precedence=['NORMAL']}"],
        &["`data.csv.precedence`", "one label only"],
    );
    check(
        &["data.csv={file='{dir}/table.csv', blank='negative'}"],
        &["`data.csv.blank`", "csv.labels"],
    );
    check(&["data.csv.lables={}"], &["did you mean \"labels\"?"]);
}

#[test]
fn caches_are_below_the_runs_unless_they_are_elsewhere_or_off() {
    let root = workspace(GOOD);
    let load = |set: &[&str]| settings::load(&request(root.path(), set));
    let plain = load(&[]).unwrap();
    let index = root.path().join("runs/.cache/index");
    assert_eq!(
        (plain.data.index.cache, plain.image.disk),
        (Some(index), None)
    );
    let off = load(&["data.cache=none"]).unwrap();
    assert_eq!(off.data.index.cache, None);
    let here = root.path().join("elsewhere");
    let set = format!("data.cache={}", here.display());
    let elsewhere = load(&[&set, "image.cache=disk", "image.cache_disk_mib=10"]).unwrap();
    assert_eq!(elsewhere.data.index.cache, Some(here));
    let disk = elsewhere.image.disk.unwrap();
    assert_eq!(disk.folder, root.path().join("runs/.cache/decoded"));
    assert_eq!(disk.bytes, 10 << 20);
    let error = load(&["image.cache_disk_mib=10"])
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("image.cache = \"disk\""), "{error}");
}
