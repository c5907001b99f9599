//! Altered copies are found across splits, and images of different patients are not taken for copies.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::path::Path;

use crate::common::{config, save};
use dataset::phantom::{ClassImages, PhantomConfig, PhantomFormat, generate};
use dataset::{Eda, EdaConfig, NearCopies, index, synthetic};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, Luma};

/// Phantoms of different patients.
fn phantoms(dir: &Path, seed: u64) -> std::path::PathBuf {
    let of = |normal, pneumonia| ClassImages { normal, pneumonia };
    let settings = PhantomConfig {
        size: 160,
        train: of(30, 30),
        val: of(5, 5),
        test: of(15, 15),
        images_per_patient: 1,
        format: PhantomFormat::Png,
        seed,
        ..PhantomConfig::default()
    };
    generate(&dir.join("phantom"), &settings).unwrap().images
}

fn near_copies(root: &Path) -> (NearCopies, Vec<String>) {
    let manifest = index(&config(root)).unwrap();
    let eda = Eda::new(&manifest, &EdaConfig::default()).unwrap();
    (eda.near_copies, eda.warnings)
}

/// What is done to a copy.
type Alteration = (&'static str, fn(&GrayImage, &Path));

const ALTERATIONS: [Alteration; 5] = [
    ("quality-60", |image, path| {
        let file = std::fs::File::create(path.with_extension("jpeg")).unwrap();
        image
            .write_with_encoder(JpegEncoder::new_with_quality(file, 60))
            .unwrap();
    }),
    ("half", |image, path| {
        let (width, height) = (image.width() / 2, image.height() / 2);
        let half = image::imageops::resize(image, width, height, FilterType::Triangle);
        half.save(path).unwrap();
    }),
    ("brighter", |image, path| {
        let brighter = |v: u8| (f32::from(v) * 1.1).min(255.0) as u8;
        GrayImage::from_fn(image.width(), image.height(), |x, y| {
            Luma([brighter(image.get_pixel(x, y).0[0])])
        })
        .save(path)
        .unwrap();
    }),
    ("mirrored", |image, path| {
        image::imageops::flip_horizontal(image).save(path).unwrap();
    }),
    ("16-bits", |image, path| {
        let deep = DynamicImage::ImageLuma8(image.clone()).into_luma16();
        deep.save(path).unwrap();
    }),
];

/// The n-th training image of a class.
fn original(root: &Path, class: &str, n: usize) -> GrayImage {
    let folder = std::fs::read_dir(root.join("train").join(class)).unwrap();
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    image::open(&paths[n]).unwrap().into_luma8()
}

#[test]
fn different_phantoms_are_not_copies() {
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let (found, _) = near_copies(&phantoms(dir.path(), seed));
        assert_eq!(found.pairs, 0, "seed {seed}: {:#?}", found.closest);
    }
}

#[test]
fn altered_copies_are_found_across_splits() {
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let root = phantoms(dir.path(), seed);
        for (n, (name, alter)) in ALTERATIONS.iter().enumerate() {
            let test = root.join(format!("test/NORMAL/IM-9{n}00-0001-{name}.png"));
            alter(&original(&root, "NORMAL", 3 * n), &test);
        }
        let (found, warnings) = near_copies(&root);
        let counts = (found.pairs, found.across_splits, found.across_classes);
        assert_eq!(counts, (5, 5, 0), "seed {seed}: {:#?}", found.closest);
        for (name, _) in ALTERATIONS {
            let of = |pair: &&dataset::NearCopy| pair.paths.iter().any(|path| path.contains(name));
            let pair = found.closest.iter().find(of).unwrap();
            assert_eq!(pair.mirrored, name == "mirrored");
            let [test, train] = &pair.paths;
            assert!(test.starts_with("test/") && train.starts_with("train/"));
            assert!(pair.crosses_splits && pair.correlation >= found.min_correlation);
        }
        let expected = "5 pairs of nearly identical images between splits";
        assert!(
            warnings.iter().any(|warning| warning.contains(expected)),
            "{warnings:#?}"
        );
    }
}

#[test]
fn a_copy_with_another_label_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = phantoms(dir.path(), 9);
    let (_, alter) = ALTERATIONS[1];
    alter(
        &original(&root, "NORMAL", 0),
        &root.join("train/PNEUMONIA/person900_virus_1.png"),
    );
    let (found, warnings) = near_copies(&root);
    let counts = (found.pairs, found.across_splits, found.across_classes);
    assert_eq!(counts, (1, 0, 1), "{:#?}", found.closest);
    assert_eq!(found.across_patients, 1);
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("with different labels"))
    );
}

/// More images than are compared each with each, whose small copies are in files.
#[test]
fn copies_among_many_images_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = synthetic(20_000, dir.path()).unwrap();
    let eda = Eda::new(&manifest, &EdaConfig::default()).unwrap();
    let found = eda.near_copies;
    // One image in a hundred is a copy, and no pair besides is as similar.
    assert_eq!((found.pairs, found.truncated), (200, false));
    assert!(found.closest.iter().all(|pair| pair.correlation > 0.99));
}

/// Images of one colour have no correlation, and all of one image have a bounded number of comparisons.
#[test]
fn many_equal_images_and_plain_ones_are_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..1100_u32 {
        // Equal but for a pixel, which makes the bytes differ.
        let mut image = GrayImage::from_fn(20, 20, |x, y| Luma([(x * x + 3 * y) as u8 % 200]));
        let (x, y) = (i % 20, i / 20 % 20);
        let Luma([value]) = *image.get_pixel(x, y);
        image.put_pixel(x, y, Luma([value + 1 + (i / 400) as u8]));
        let class = ["NORMAL", "PNEUMONIA"][i as usize % 2];
        save(
            &image.into(),
            &dir.path().join(format!("train/{class}/{i:04}.png")),
        );
        if i < 4 {
            let plain = GrayImage::from_pixel(20, 20, Luma([i as u8 / 2 * 90]));
            let path = dir.path().join(format!("test/{class}/plain-{i}.png"));
            save(&plain.into(), &path);
        }
    }
    let settings = dataset::IndexConfig {
        splits: dataset::SplitFolders {
            val: None,
            ..dataset::SplitFolders::default()
        },
        ..config(dir.path())
    };
    let manifest = index(&settings).unwrap();
    let eda = Eda::new(&manifest, &EdaConfig::default()).unwrap();
    let found = eda.near_copies;
    assert!(found.truncated && found.pairs > 500_000, "{}", found.pairs);
    assert_eq!(found.closest.len(), 500);
    assert_eq!(found.across_splits, 0);
}
