//! Indexing good and bad folders.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{config, kaggle_like, picture, save};
use dataset::{
    DataLayout, Eda, EdaConfig, IndexConfig, Manifest, MaskConfig, OnBadImage, PatientRule, Reason,
    Split, SplitFolders, SplitPolicy, Splits, index, index_with_progress,
};
use image::{DynamicImage, ImageBuffer, Rgb, RgbImage};
use imaging::Decoder;

fn left_out(manifest: &Manifest) -> usize {
    manifest.left_out().iter().map(|group| group.files).sum()
}

#[test]
fn rows_are_typed_sorted_and_in_the_frame() {
    let dir = tempfile::tempdir().unwrap();
    kaggle_like(dir.path(), [3, 1, 2]);
    let manifest = index(&config(dir.path())).unwrap();
    assert_eq!(manifest.classes(), ["NORMAL", "PNEUMONIA"]);
    assert_eq!(manifest.rows().len(), 12);
    assert!(manifest.rows().is_sorted_by(|a, b| a.path < b.path));
    let row = manifest
        .rows()
        .iter()
        .find(|r| r.path == "test/PNEUMONIA/person10_virus_0.jpeg")
        .unwrap();
    assert_eq!((row.split, row.class), (Some(Split::Test), 1));
    assert_eq!(
        (row.patient.as_str(), row.channels, row.bit_depth),
        ("virus-10", 1, 8)
    );
    assert_eq!((row.width, row.height, row.sha256.len()), (24, 18, 64));
    assert_eq!(
        (manifest.frame().height(), manifest.frame().width()),
        (12, 16)
    );
    assert_eq!(manifest.class_counts(&(0..12).collect::<Vec<_>>()), [6, 6]);
}

#[test]
fn hashes_means_and_depths_are_correct() {
    let dir = tempfile::tempdir().unwrap();
    let wide: ImageBuffer<_, Vec<u16>> =
        ImageBuffer::from_fn(2, 2, |x, _| image::Luma([if x == 0 { 0 } else { 65535 }]));
    let colour = RgbImage::from_pixel(3, 2, Rgb([255, 0, 0]));
    save(
        &DynamicImage::ImageLuma16(wide),
        &dir.path().join("a/x.png"),
    );
    save(
        &DynamicImage::ImageRgb8(colour),
        &dir.path().join("b/y.png"),
    );
    let config = IndexConfig {
        splits: SplitFolders::none(),
        ..config(dir.path())
    };
    let manifest = index(&config).unwrap();
    let [grey, red] = manifest.rows() else {
        panic!("two rows")
    };
    assert_eq!((grey.channels, grey.bit_depth, grey.split), (1, 16, None));
    assert!((grey.mean - 0.5).abs() < 1e-6 && (grey.std - 0.5).abs() < 1e-6);
    assert_eq!((red.channels, red.bit_depth), (3, 8));
    assert!((red.mean - 76.0 / 255.0).abs() < 1e-6 && red.std < 1e-6);
    assert_eq!(manifest.unmatched_patients(), 2);
    assert_eq!(red.patient, "b/y.png");
}

#[test]
fn bad_files_are_named_and_left_out_or_rejected() {
    let dir = tempfile::tempdir().unwrap();
    kaggle_like(dir.path(), [3, 1, 1]);
    let class = dir.path().join("train/NORMAL");
    let whole = std::fs::read(class.join("IM-0002-0000.jpeg")).unwrap();
    std::fs::write(class.join("cut.jpeg"), &whole[..whole.len() * 2 / 3]).unwrap();
    std::fs::write(class.join("empty.png"), b"").unwrap();
    std::fs::write(class.join("text.jpeg"), b"hello, I am text").unwrap();
    for ignored in [".DS_Store", "._IM-0002.jpeg", "notes.txt"] {
        std::fs::write(class.join(ignored), b"x").unwrap();
    }
    let mut config = config(dir.path());
    let manifest = index(&config).unwrap();
    let bad: Vec<(&str, &str)> = manifest
        .bad_images()
        .iter()
        .map(|bad| (bad.path.as_str(), bad.reason.as_str()))
        .collect();
    let expected = [
        ("train/NORMAL/cut.jpeg", "truncated JPEG"),
        ("train/NORMAL/empty.png", "the file is empty"),
        ("train/NORMAL/text.jpeg", "not a JPEG, PNG, TIFF"),
    ];
    assert_eq!(bad.len(), 3, "{bad:?}");
    for ((path, reason), (expected_path, expected_reason)) in bad.iter().zip(expected) {
        assert_eq!(*path, expected_path);
        assert!(reason.starts_with(expected_reason), "{reason}");
    }
    assert_eq!((manifest.rows().len(), left_out(&manifest)), (10, 3));
    config.on_bad_image = OnBadImage::Fail;
    let text = index(&config).unwrap_err().to_string();
    assert!(
        text.contains("cut.jpeg") && text.contains("truncated"),
        "{text}"
    );
}

#[test]
fn missing_and_empty_folders_are_errors_that_name_them() {
    let check = |change: fn(&Path), edit: fn(&mut IndexConfig), expected: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        kaggle_like(dir.path(), [2, 1, 1]);
        change(dir.path());
        let mut config = config(dir.path());
        edit(&mut config);
        let text = index(&config).unwrap_err().to_string();
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    };
    let keep = |_: &Path| {};
    let same = |_: &mut IndexConfig| {};
    check(
        keep,
        |c| c.root.push("nowhere"),
        &["no data folder", "nowhere"],
    );
    check(
        keep,
        |c| c.splits.train = Some("Training".into()),
        &["no train folder", "test, train, val"],
    );
    check(
        keep,
        |c| c.classes = vec!["NORMAL".into(), "COVID".into()],
        &["\"COVID\"", "no folder"],
    );
    check(
        |d| std::fs::remove_dir_all(d.join("val/NORMAL")).unwrap(),
        same,
        &["\"NORMAL\"", "val"],
    );
    check(
        |d| {
            std::fs::remove_dir_all(d.join("val/NORMAL")).unwrap();
            std::fs::create_dir(d.join("val/NORMAL")).unwrap();
        },
        same,
        &["no usable image", "\"NORMAL\"", "val"],
    );
    check(
        keep,
        |c| {
            c.splits = SplitFolders::none();
            c.root.push("train/NORMAL");
        },
        &["0 class folder"],
    );
    check(
        keep,
        |c| c.masks = Some(MaskConfig::tree("no/masks")),
        &["no/masks"],
    );
    check(
        keep,
        |c| c.patients[0].pattern = "(".into(),
        &["patient rule"],
    );
}

#[test]
fn a_class_with_only_bad_files_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    kaggle_like(dir.path(), [2, 1, 1]);
    for file in std::fs::read_dir(dir.path().join("val/PNEUMONIA")).unwrap() {
        std::fs::write(file.unwrap().path(), b"").unwrap();
    }
    let text = index(&config(dir.path())).unwrap_err().to_string();
    assert!(text.contains("no usable image"), "{text}");
}

#[test]
fn progress_counts_every_file() {
    let dir = tempfile::tempdir().unwrap();
    kaggle_like(dir.path(), [3, 1, 1]);
    let (calls, last) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let progress = |done: usize, total: usize| {
        calls.fetch_add(1, Ordering::Relaxed);
        last.fetch_max(done, Ordering::Relaxed);
        assert_eq!(total, 10);
    };
    index_with_progress(&config(dir.path()), &progress).unwrap();
    assert_eq!((calls.into_inner(), last.into_inner()), (10, 10));
}

#[test]
fn csv_holds_every_row_and_the_fingerprint_depends_on_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    kaggle_like(dir.path(), [2, 1, 1]);
    let manifest = index(&config(dir.path())).unwrap();
    let csv = dir.path().join("manifest.csv");
    manifest.write_csv(&csv).unwrap();
    let text = std::fs::read_to_string(&csv).unwrap();
    assert!(
        text.starts_with("path,split,class,label,patient,mask,width,height,"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 9);
    assert_eq!(
        index(&config(dir.path())).unwrap().fingerprint(),
        manifest.fingerprint()
    );
    save(
        &picture(99),
        &dir.path().join("train/NORMAL/IM-0002-0000.jpeg"),
    );
    assert_ne!(
        index(&config(dir.path())).unwrap().fingerprint(),
        manifest.fingerprint()
    );
    assert!(
        manifest
            .write_csv(&dir.path().join("no/where.csv"))
            .is_err()
    );
}

#[test]
fn configurations_parse_from_toml() {
    let text = r#"
        root = "data/brain"
        splits = { train = "Training", test = "Testing" }
        on_bad_image = "fail"
        patients = [{ pattern = '(?<n>\d+)', prefix = "p" }]
    "#;
    let config: IndexConfig = toml::from_str(text).unwrap();
    let named: Vec<_> = config.splits.named().collect();
    assert_eq!(
        named,
        [(Split::Train, "Training"), (Split::Test, "Testing")]
    );
    assert_eq!(config.on_bad_image, OnBadImage::Fail);
    assert!(toml::from_str::<IndexConfig>("root = 'x'\nspilts = {}").is_err());
}

/// Two class folders of twelve images, to which tests add stray files as in public data sets.
fn untidy(root: &Path) -> IndexConfig {
    for class in ["A", "B"] {
        for i in 0..12 {
            let seed = 100 * usize::from(class == "B") + i;
            save(&picture(seed), &root.join(format!("{class}/{i:02}.png")));
        }
    }
    IndexConfig {
        root: root.to_owned(),
        splits: SplitFolders::none(),
        ..IndexConfig::default()
    }
}

/// Reason, number and kind of each group of files that are not samples.
fn groups(manifest: &Manifest) -> Vec<(Reason, usize, &str)> {
    let groups = manifest.left_out().iter();
    groups
        .map(|g| (g.reason, g.files, g.what.as_str()))
        .collect()
}

#[test]
fn hidden_folders_masks_and_outputs_are_not_samples() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let config = untidy(root);
    for (seed, stray) in [
        "A/.ipynb_checkpoints/00-checkpoint.png",
        "A/.Trash-0/files/old.png",
        "B/@eaDir/00.png/THUMB.jpg",
        ".ipynb_checkpoints/x.png",
        "A/00_mask.png",
        "A/00_mask_1.png",
        "A/01_segmentation.png",
        "A/masks/00.png",
        "B/03.overlay.png",
        "B/03.mask.png",
        "masks/A/00.png",
        "loose.png",
    ]
    .iter()
    .enumerate()
    {
        save(&picture(1000 + seed), &root.join(stray));
    }
    let manifest = index(&config).unwrap();
    assert_eq!(manifest.rows().len(), 24);
    assert_eq!(manifest.classes(), ["A", "B"]);
    assert_eq!(
        groups(&manifest),
        [
            (Reason::Elsewhere, 1, "next to the folders"),
            (Reason::Mask, 2, "*_mask.png"),
            (Reason::Mask, 2, "in masks/"),
            (Reason::Mask, 1, "*_segmentation.png"),
            (Reason::Output, 1, "*.mask.png"),
            (Reason::Output, 1, "*.overlay.png"),
            (Reason::Hidden, 2, "in .ipynb_checkpoints/"),
            (Reason::Hidden, 1, "in .Trash-0/"),
            (Reason::Hidden, 1, "in @eaDir/"),
        ]
    );
    let eda = Eda::new(&manifest, &EdaConfig::default()).unwrap();
    let warned = |part: &str| eda.warnings.iter().any(|warning| warning.contains(part));
    assert!(warned("5 files are taken for masks"), "{:?}", eda.warnings);
    assert!(warned("4 hidden or system files"), "{:?}", eda.warnings);
}

#[test]
fn files_that_are_not_read_are_counted_by_extension() {
    let dir = tempfile::tempdir().unwrap();
    let config = untidy(dir.path());
    for i in 0..20 {
        std::fs::write(dir.path().join(format!("B/{i}.gif")), b"GIF").unwrap();
    }
    std::fs::write(dir.path().join("B/x.nii"), b"n+1").unwrap();
    let manifest = index(&config).unwrap();
    let words = manifest.notes().join(" ");
    assert!(
        words.contains("21 of 45 files are not read") && words.contains("20 .gif, 1 .nii"),
        "{words}"
    );
    std::fs::remove_dir_all(dir.path().join("A")).unwrap();
    std::fs::create_dir(dir.path().join("A")).unwrap();
    for i in 0..10 {
        std::fs::write(dir.path().join(format!("A/{i}.gif")), b"GIF").unwrap();
    }
    let text = index(&config).unwrap_err().to_string();
    assert!(text.contains("\"A\"") && text.contains("10 .gif"), "{text}");
}

/// 8 patients per class with 3 views each; all patients' files have the same names.
fn chexpert(root: &Path) -> IndexConfig {
    let mut seed = 0;
    for class in ["negative", "positive"] {
        for patient in 0..8 {
            for view in 1..=3 {
                seed += 1;
                let path = format!("{class}/{class}{patient}/study1/view{view}_frontal.png");
                save(&picture(seed), &root.join(path));
            }
        }
    }
    IndexConfig {
        root: root.to_owned(),
        splits: SplitFolders::none(),
        ..IndexConfig::default()
    }
}

fn parted(manifest: &Manifest) -> usize {
    let policy = SplitPolicy::Holdout {
        val: 0.2,
        test: 0.2,
        seed: 1,
    };
    let splits = Splits::new(manifest, &policy, None).unwrap();
    let mut sides = std::collections::BTreeMap::<&str, std::collections::BTreeSet<Split>>::new();
    for split in Split::ALL {
        for &row in splits.rows(split) {
            let folder = manifest.rows()[row].path.rsplit_once("/study").unwrap().0;
            sides.entry(folder).or_default().insert(split);
        }
    }
    sides.values().filter(|splits| splits.len() > 1).count()
}

#[test]
fn patients_may_be_folders() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = chexpert(dir.path());
    let manifest = index(&config).unwrap();
    assert!(!manifest.patients_are_known() && manifest.unmatched_patients() == 0);
    assert!(parted(&manifest) > 8);
    let eda = Eda::new(&manifest, &EdaConfig::default()).unwrap();
    let found = eda.patient_folders.clone().unwrap();
    assert_eq!((found.folders, found.images), (16, 48));
    assert!(
        eda.warnings.iter().any(|w| w.contains(&found.pattern)),
        "{:?}",
        eda.warnings
    );
    let rule = |pattern: &str| PatientRule {
        pattern: pattern.to_owned(),
        template: String::new(),
        prefix: String::new(),
    };
    for pattern in [
        found.pattern.as_str(),
        "^(?<p>[a-z]+itive[0-9]|[a-z]+ative[0-9])",
    ] {
        config.patients = vec![rule(pattern)];
        let manifest = index(&config).unwrap();
        assert!(manifest.patients_are_known() && manifest.patient_folders().is_none());
        assert_eq!(parted(&manifest), 0, "{pattern}");
    }
    config.patients = vec![rule("(?<p>person[0-9])")];
    let manifest = index(&config).unwrap();
    assert_eq!(manifest.unmatched_patients(), 48);
    assert!(manifest.patient_folders().is_some());
}

#[test]
fn a_cyclic_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let config = untidy(dir.path());
    #[cfg(unix)]
    std::os::unix::fs::symlink("..", dir.path().join("A/again")).unwrap();
    assert_eq!(index(&config).unwrap().rows().len(), 24);
}

#[test]
fn the_number_of_pixels_is_limited() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = untidy(dir.path());
    config.decoder = Decoder {
        max_pixels: 24 * 17,
        ..Decoder::default()
    };
    let text = index(&config).unwrap_err().to_string();
    assert!(
        text.contains("24x18") && text.contains("max_megapixels"),
        "{text}"
    );
}

#[test]
fn a_tree_of_masks_among_the_images_is_not_a_class() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = untidy(dir.path());
    let mask = DynamicImage::ImageLuma8(image::GrayImage::new(24, 18));
    save(&mask, &dir.path().join("truth/A/00.png"));
    save(&mask, &dir.path().join("lungs/A/00.png"));
    config.masks = Some(MaskConfig::tree(dir.path().join("truth")));
    config.aside = vec![dir.path().join("lungs")];
    let manifest = index(&config).unwrap();
    assert_eq!(
        (manifest.classes(), manifest.rows().len()),
        (&["A".to_owned(), "B".to_owned()][..], 24)
    );
    assert_eq!(groups(&manifest), []);
    config.layout = DataLayout::Images;
    let manifest = index(&config).unwrap();
    assert_eq!(manifest.rows().len(), 24);
}

#[test]
fn incomplete_data_need_neither_all_classes_nor_all_folders() {
    let dir = tempfile::tempdir().unwrap();
    let grey = || DynamicImage::ImageLuma8(ImageBuffer::from_pixel(4, 4, image::Luma([9])));
    save(&grey(), &dir.path().join("train/A/x.png"));
    save(&grey(), &dir.path().join("train/B/y.png"));
    save(&grey(), &dir.path().join("test/A/z.png"));
    let complete = IndexConfig {
        root: dir.path().into(),
        splits: SplitFolders::new(Some("train"), None, Some("test")),
        ..IndexConfig::default()
    };
    let error = index(&complete).unwrap_err().to_string();
    assert!(error.contains("every split needs a folder"), "{error}");
    let incomplete = IndexConfig {
        incomplete: true,
        class_names: [("A".into(), "a".into()), ("C".into(), "c".into())].into(),
        ..complete
    };
    let manifest = index(&incomplete).unwrap();
    assert_eq!(manifest.classes(), ["a", "B"]);
    assert_eq!(manifest.rows().len(), 3);
    let one = IndexConfig {
        splits: SplitFolders::new(None, None, Some("test")),
        ..incomplete
    };
    assert_eq!(index(&one).unwrap().classes(), ["a"]);
    // But there must be images.
    std::fs::remove_file(dir.path().join("test/A/z.png")).unwrap();
    let error = index(&one).unwrap_err().to_string();
    assert!(error.contains("no usable image"), "{error}");
    std::fs::remove_dir(dir.path().join("test/A")).unwrap();
    let error = index(&one).unwrap_err().to_string();
    assert!(error.contains("0 class folder(s)"), "{error}");
}
