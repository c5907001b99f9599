//! Helpers that create small data folders.
#![allow(clippy::unwrap_used, reason = "a test's helper")]

pub(crate) mod dicom;

use std::path::{Path, PathBuf};

use dataset::{IndexConfig, PatientRule, SplitFolders};
use image::{DynamicImage, GrayImage, Luma};

/// A grey image that differs for every `seed`.
pub(crate) fn picture(seed: usize) -> DynamicImage {
    let value = |x: u32, y: u32| ((seed * 31 + x as usize * 7 + y as usize * 5) % 251) as u8;
    DynamicImage::ImageLuma8(GrayImage::from_fn(24, 18, |x, y| Luma([value(x, y)])))
}

/// A mask of pictures with its left half set.
pub(crate) fn half() -> DynamicImage {
    mask(|x, _| if x < 12 { 255 } else { 0 })
}

/// A mask of pictures.
pub(crate) fn mask(value: impl Fn(u32, u32) -> u8) -> DynamicImage {
    DynamicImage::ImageLuma8(GrayImage::from_fn(24, 18, |x, y| Luma([value(x, y)])))
}

pub(crate) fn save(image: &DynamicImage, path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

/// A small copy of Kaggle's layout: per split `n` normal and `n` pneumonia images.
pub(crate) fn kaggle_like(root: &Path, per_class: [usize; 3]) {
    let mut seed = 0;
    for (split, n) in ["train", "val", "test"].into_iter().zip(per_class) {
        for i in 0..n {
            seed += 2;
            let normal = format!("{split}/NORMAL/IM-{seed:04}-{i:04}.jpeg");
            let sick = format!("{split}/PNEUMONIA/person{seed}_virus_{i}.jpeg");
            save(&picture(seed), &root.join(normal));
            save(&picture(seed + 1), &root.join(sick));
        }
    }
}

pub(crate) fn config(root: &Path) -> IndexConfig {
    IndexConfig {
        root: root.to_owned(),
        splits: SplitFolders::default(),
        patients: PatientRule::kaggle_pneumonia(),
        ..IndexConfig::default()
    }
}

/// Data next to the repository.
pub(crate) fn shared(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    assert!(root.exists(), "{} is missing", root.display());
    root
}
