//! Batches: their contents, their order, and errors.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{config, half, kaggle_like, picture, save};
use dataset::{
    Batch, DatasetError, DiskCache, IndexConfig, Loader, LoaderConfig, Manifest, MaskConfig,
    Sample, SampleKey, SplitFolders, Transform, class_weights, index,
};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma};
use imaging::{Fit, Frame, Rect};

fn data(dir: &Path) -> Manifest {
    kaggle_like(dir, [6, 2, 2]);
    index(&config(dir)).unwrap()
}

fn settings() -> LoaderConfig {
    LoaderConfig {
        height: 9,
        width: 12,
        batch_size: 3,
        seed: 5,
        ..LoaderConfig::default()
    }
}

fn batches(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch).collect::<Result<_, _>>().unwrap()
}

/// Noise that depends on the key, like an augmentation.
fn noisy() -> Transform {
    Arc::new(|sample: &mut Sample, key: SampleKey| {
        let mut state = key.rng_seed();
        for value in &mut sample.image {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            *value = (*value + (state >> 40) as f32 / 1e9).clamp(0.0, 1.0);
        }
    })
}

#[test]
fn batches_have_the_shapes_and_labels_of_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    let rows: Vec<usize> = (0..10).collect();
    let loader = Loader::new(&manifest, rows.clone(), settings()).unwrap();
    let got = batches(&loader, 0);
    assert_eq!(
        (got.len(), loader.batches_per_epoch(), loader.len()),
        (4, 4, 10)
    );
    assert_eq!(got.iter().map(|b| b.len).collect::<Vec<_>>(), [3, 3, 3, 1]);
    assert_eq!(
        got.iter().flat_map(|b| b.rows.clone()).collect::<Vec<_>>(),
        rows
    );
    for batch in &got {
        assert_eq!(batch.images.len(), batch.len * 9 * 12 * 3);
        assert!(batch.masks.is_none() && batch.images.iter().all(|v| (-1.0..=1.0).contains(v)));
        let labels: Vec<usize> = batch
            .rows
            .iter()
            .map(|&row| manifest.rows()[row].class)
            .collect();
        assert_eq!(batch.labels, labels);
    }
    let full = LoaderConfig {
        drop_last: true,
        ..settings()
    };
    assert_eq!(
        batches(&Loader::new(&manifest, rows, full).unwrap(), 0).len(),
        3
    );
}

#[test]
fn normalisation_is_mean_and_std_by_channel() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    let (mean, std) = (vec![0.1, 0.2, 0.3], vec![0.5, 1.0, 2.0]);
    let config = LoaderConfig {
        mean: mean.clone(),
        std: std.clone(),
        ..settings()
    };
    let loader = Loader::new(&manifest, vec![4], config).unwrap();
    let plain = loader.sample(4, None).unwrap();
    let batch = &batches(&loader, 0)[0];
    for (i, (value, raw)) in batch.images.iter().zip(&plain.image).enumerate() {
        assert!((value - (raw - mean[i % 3]) / std[i % 3]).abs() < 1e-6);
    }
    assert!(
        plain.image.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]),
        "grey is replicated"
    );
}

#[test]
fn shuffling_depends_on_seed_and_epoch_alone() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    let loader = |seed| {
        let config = LoaderConfig {
            shuffle: true,
            seed,
            ..settings()
        };
        Loader::new(&manifest, (0..20).collect(), config).unwrap()
    };
    assert_eq!(loader(1).order(3), loader(1).order(3));
    assert_ne!(loader(1).order(3), loader(1).order(4));
    assert_ne!(loader(1).order(3), loader(2).order(3));
    let mut order = loader(1).order(3);
    order.sort_unstable();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
}

#[test]
fn neither_cache_nor_queue_nor_batch_size_changes_a_sample() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    let images = |cache_bytes: usize, queue: usize, batch_size: usize| -> Vec<f32> {
        let config = LoaderConfig {
            cache_bytes,
            queue,
            batch_size,
            shuffle: true,
            ..settings()
        };
        let loader = Loader::new(&manifest, (0..20).collect(), config).unwrap();
        let loader = loader.with_transform(noisy());
        let _warm = batches(&loader, 0);
        batches(&loader, 1)
            .into_iter()
            .flat_map(|batch| batch.images)
            .collect()
    };
    let expected = images(1 << 20, 2, 3);
    assert_eq!(expected, images(0, 2, 3));
    assert_eq!(expected, images(700, 0, 3));
    assert_eq!(expected, images(1 << 20, 8, 7));
}

#[test]
fn the_cache_decodes_a_file_once() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    let loader = Loader::new(&manifest, (0..20).collect(), settings()).unwrap();
    let before = batches(&loader, 0);
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(batches(&loader, 1), before);
}

/// Skipping it would evaluate fewer images than the report states.
#[test]
fn a_missing_or_damaged_file_ends_the_epoch_with_its_name() {
    let check = |spoil: fn(&Path), expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let manifest = data(dir.path());
        let victim = manifest.image_file(&manifest.rows()[4]);
        spoil(&victim);
        let loader = Loader::new(&manifest, (0..9).collect(), settings()).unwrap();
        let mut epoch = loader.epoch(0);
        assert!(epoch.next().unwrap().is_ok());
        let error = epoch.next().unwrap().unwrap_err();
        assert!(
            matches!(&error, DatasetError::Vanished { path, .. } if *path == victim),
            "{error}"
        );
        assert!(error.to_string().contains(expected), "{error}");
        assert!(epoch.next().is_none());
    };
    check(
        |victim| std::fs::remove_file(victim).unwrap(),
        "no such file",
    );
    let cut = |victim: &Path| {
        let bytes = std::fs::read(victim).unwrap();
        std::fs::write(victim, &bytes[..bytes.len() / 2]).unwrap();
    };
    check(cut, "truncated");
}

#[test]
fn a_panic_in_a_transform_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    let fail = |transform: Transform, expected: &str| {
        let loader = Loader::new(&manifest, (0..9).collect(), settings()).unwrap();
        let results: Vec<_> = loader.with_transform(transform).epoch(0).collect();
        let text = results.last().unwrap().as_ref().unwrap_err().to_string();
        assert_eq!(results.len(), 2);
        assert!(
            text.contains(&manifest.rows()[4].path) && text.contains(expected),
            "{text}"
        );
    };
    fail(
        Arc::new(|_, key| assert_ne!(key.index, 4, "no fours")),
        "no fours",
    );
    let cut: Transform = Arc::new(|sample, key| {
        if key.index == 4 {
            sample.image.pop();
        }
    });
    fail(cut, "shape");
}

#[test]
fn dropping_an_epoch_early_stops_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    for queue in [0, 1, 4] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let count: Transform = Arc::new(move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let rows = (0..400).map(|i| i % 20).collect();
        let config = LoaderConfig {
            queue,
            batch_size: 2,
            ..settings()
        };
        let loader = Loader::new(&manifest, rows, config)
            .unwrap()
            .with_transform(count);
        let mut epoch = loader.epoch(0);
        assert!(epoch.next().unwrap().is_ok());
        drop(epoch);
        let made = calls.load(Ordering::Relaxed);
        assert!(
            made <= 2 * (queue + 3),
            "{made} samples for 1 batch and a queue of {queue}"
        );
        drop(loader.epoch(1));
    }
}

#[test]
fn masks_follow_their_images_and_stay_binary() {
    let dir = tempfile::tempdir().unwrap();
    let (images, masks) = (dir.path().join("images"), dir.path().join("masks"));
    kaggle_like(&images, [2, 1, 1]);
    let half = GrayImage::from_fn(24, 18, |x, _| Luma([u8::from(x < 12)]));
    save(
        &DynamicImage::ImageLuma8(half),
        &masks.join("train/NORMAL/IM-0002-0000.png"),
    );
    let manifest = index(&IndexConfig {
        masks: Some(MaskConfig::tree(masks)),
        ..config(&images)
    })
    .unwrap();
    let row = manifest.rows().iter().position(|r| r.has_mask()).unwrap();
    let other = (row + 1) % 8;
    let loader = Loader::new(&manifest, vec![row, other], settings()).unwrap();
    let batch = &batches(&loader, 0)[0];
    assert_eq!(batch.has_mask, [true, false]);
    let masks = batch.masks.as_ref().unwrap();
    assert_eq!(masks.len(), 2 * 9 * 12);
    let expected = (0..9 * 12).map(|i| if i % 12 < 6 { 1.0 } else { 0.0 });
    assert!(masks.iter().zip(expected).all(|(a, b)| *a == b));
    assert!(masks[9 * 12..].iter().all(|v| v.is_nan()));
}

#[test]
fn sixteen_bit_images_keep_their_precision() {
    let dir = tempfile::tempdir().unwrap();
    let faint: ImageBuffer<_, Vec<u16>> =
        ImageBuffer::from_fn(12, 9, |x, y| Luma([(y * 12 + x) as u16]));
    save(
        &DynamicImage::ImageLuma16(faint),
        &dir.path().join("a/x.png"),
    );
    save(&picture(1), &dir.path().join("b/y.png"));
    let config = IndexConfig {
        splits: SplitFolders::none(),
        ..config(dir.path())
    };
    let manifest = index(&config).unwrap();
    let one = LoaderConfig {
        channels: 1,
        mean: vec![0.0],
        std: vec![1.0],
        ..settings()
    };
    let batch = &batches(&Loader::new(&manifest, vec![0], one).unwrap(), 0)[0];
    for (i, value) in batch.images.iter().enumerate() {
        assert!((value - i as f32 / 65535.0).abs() < 1e-9);
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    let check = |rows: Vec<usize>, config: LoaderConfig, expected: &str| {
        let text = Loader::new(&manifest, rows, config)
            .err()
            .unwrap()
            .to_string();
        assert!(text.contains(expected), "{text}");
    };
    check(vec![], settings(), "rows");
    check(vec![20], settings(), "20 rows");
    check(
        vec![0],
        LoaderConfig {
            batch_size: 0,
            ..settings()
        },
        "batch_size",
    );
    check(
        vec![0],
        LoaderConfig {
            width: 0,
            ..settings()
        },
        "width",
    );
    check(
        vec![0],
        LoaderConfig {
            channels: 2,
            ..settings()
        },
        "channels",
    );
    check(
        vec![0],
        LoaderConfig {
            mean: vec![0.5],
            ..settings()
        },
        "mean",
    );
    check(
        vec![0],
        LoaderConfig {
            std: vec![1.0, 0.0, 1.0],
            ..settings()
        },
        "std",
    );
    check(
        vec![0],
        LoaderConfig {
            drop_last: true,
            ..settings()
        },
        "drop_last",
    );
}

#[test]
fn keys_give_distinct_seeds() {
    let key = |seed, epoch, index| SampleKey { seed, epoch, index }.rng_seed();
    let seeds: std::collections::BTreeSet<u64> = (0..20)
        .flat_map(|s| (0..20).flat_map(move |e| (0..20).map(move |i| key(s, e, i))))
        .collect();
    assert_eq!(seeds.len(), 8000);
}

#[test]
fn class_weights_are_scikit_learns_balanced() {
    // compute_class_weight("balanced", classes=[0, 1], y=[0]*1341 + [1]*3875)
    let weights = class_weights(&[1341, 3875]);
    assert!((weights[0] - 1.944_817_3).abs() < 1e-6 && (weights[1] - 0.673_032_3).abs() < 1e-6);
    assert_eq!(class_weights(&[2, 0]), [0.5, 0.0]);
}

#[test]
fn a_region_takes_the_place_of_the_whole_image() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data(dir.path());
    // A part of a different size in each image, so that regions cannot be exchanged unnoticed.
    let part = |(i, r): (usize, &dataset::ImageRecord)| Rect {
        top: 1 + i % 2,
        left: i % 3,
        height: r.height as usize / 2,
        width: r.width as usize / 2,
    };
    let parts: Vec<Rect> = manifest.rows().iter().enumerate().map(part).collect();
    let cut = manifest.with_regions(&parts).unwrap();
    let loader = Loader::new(&cut, (0..10).collect(), settings()).unwrap();
    let frame = Frame {
        height: 9,
        width: 12,
        channels: 3,
        fit: Fit::Stretch,
    };
    for (row, record) in cut.rows().iter().enumerate() {
        let file = manifest.read(record).unwrap();
        let expected = file.framed_part(Some(parts[row]), frame).unwrap();
        let sample = loader.sample(row, None).unwrap();
        assert_eq!(sample.image, expected.image.values());
        assert_eq!(sample.placement.source, parts[row]);
        let framed = cut.framed_region(record, frame).unwrap();
        assert_eq!(framed.image.values(), sample.image);
        let whole = cut.framed(record, frame).unwrap().image.values();
        assert_ne!(whole, sample.image);
    }

    let refused = |parts: &[Rect]| manifest.with_regions(parts).unwrap_err().to_string();
    assert!(refused(&parts[1..]).contains("not one per image"));
    let mut outside = parts.clone();
    outside[3].width = 10_000;
    assert!(refused(&outside).contains(&manifest.rows()[3].path));
    outside[3].width = 0;
    assert!(refused(&outside).contains("is not inside"));
    let crop = LoaderConfig {
        crop: Some(dataset::Crop {
            height: 4,
            width: 4,
            random: true,
        }),
        ..settings()
    };
    let error = Loader::new(&cut, vec![0], crop).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("cannot be combined with regions"),
        "{error}"
    );
}

/// Images with masks, and the settings of a loader that keeps them on the disk alone.
fn on_disk(folder: &Path, bytes: u64) -> (Manifest, LoaderConfig) {
    let images = folder.join("images");
    kaggle_like(&images, [6, 2, 2]);
    let wide: ImageBuffer<_, Vec<u16>> =
        ImageBuffer::from_fn(24, 18, |x, y| Luma([(2500 * x + y) as u16]));
    save(
        &DynamicImage::ImageLuma16(wide),
        &images.join("train/NORMAL/deep.png"),
    );
    for file in ["train/NORMAL/deep.png", "test/NORMAL/IM-0018-0000.png"] {
        save(&half(), &folder.join("masks").join(file));
    }
    let manifest = index(&IndexConfig {
        masks: Some(MaskConfig::tree(folder.join("masks"))),
        ..config(&images)
    });
    let disk = DiskCache {
        folder: folder.join("decoded"),
        bytes,
    };
    let settings = LoaderConfig {
        cache_bytes: 0,
        disk: Some(disk),
        ..settings()
    };
    (manifest.unwrap(), settings)
}

/// The batches of all rows, as text, in which unknown pixels are equal.
fn all_batches(manifest: &Manifest, settings: &LoaderConfig, epoch: u64) -> String {
    let rows = (0..manifest.rows().len()).collect();
    let loader = Loader::new(manifest, rows, settings.clone()).unwrap();
    format!("{:?}", batches(&loader.with_transform(noisy()), epoch))
}

fn packs(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for folder in std::fs::read_dir(folder.join("decoded"))
        .into_iter()
        .flatten()
    {
        let packs = std::fs::read_dir(folder.unwrap().path()).unwrap();
        found.extend(packs.map(|pack| pack.unwrap().path()));
    }
    found.sort();
    found
}

#[test]
fn images_on_the_disk_are_those_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, settings) = on_disk(dir.path(), 1 << 30);
    let plain = LoaderConfig {
        disk: None,
        ..settings.clone()
    };
    let expected = [0, 1].map(|epoch| all_batches(&manifest, &plain, epoch));
    assert_eq!(all_batches(&manifest, &settings, 0), expected[0]);
    assert_eq!(packs(dir.path()).len(), 1);
    // From now on no file is opened.
    for record in manifest.rows() {
        std::fs::write(manifest.image_file(record), b"gone").unwrap();
    }
    for epoch in [0, 1] {
        assert_eq!(
            all_batches(&manifest, &settings, epoch),
            expected[epoch as usize]
        );
    }
    // Other settings find nothing there.
    let wider = LoaderConfig {
        width: 13,
        ..settings.clone()
    };
    let loader = Loader::new(&manifest, vec![0], wider).unwrap();
    assert!(loader.epoch(0).next().unwrap().is_err());
}

#[test]
fn damaged_images_on_the_disk_are_decoded_again() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, settings) = on_disk(dir.path(), 1 << 30);
    let expected = all_batches(&manifest, &settings, 0);
    let whole = std::fs::read(&packs(dir.path())[0]).unwrap();
    let cut = [0, 10, 200, whole.len() - 1].map(|n| whole[..n].to_vec());
    let flipped = (0..whole.len()).step_by(whole.len() / 60).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    });
    for bytes in flipped.chain(cut) {
        let all = packs(dir.path());
        all.iter()
            .skip(1)
            .for_each(|pack| std::fs::remove_file(pack).unwrap());
        std::fs::write(&all[0], bytes).unwrap();
        assert_eq!(all_batches(&manifest, &settings, 0), expected);
    }
}

#[test]
fn the_disk_keeps_no_more_than_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, settings) = on_disk(dir.path(), 9_000);
    let plain = LoaderConfig {
        disk: None,
        ..settings.clone()
    };
    let size = || {
        packs(dir.path())
            .iter()
            .map(|p| p.metadata().unwrap().len())
            .sum::<u64>()
    };
    all_batches(&manifest, &settings, 0);
    let first = packs(dir.path());
    assert!(
        first.len() == 1 && (3_000..9_000).contains(&size()),
        "{}",
        size()
    );
    // Other settings take the place of the former, of which there is no room for both.
    let wider = LoaderConfig {
        width: 13,
        ..settings.clone()
    };
    all_batches(&manifest, &wider, 0);
    let second = packs(dir.path());
    assert!(
        second.len() == 1 && second != first && size() <= 9_000,
        "{}",
        size()
    );
    // What has no room is not kept, and not missed.
    let larger = LoaderConfig {
        height: 90,
        ..settings.clone()
    };
    let expected = all_batches(
        &manifest,
        &LoaderConfig {
            disk: None,
            ..larger.clone()
        },
        0,
    );
    assert_eq!(all_batches(&manifest, &larger, 0), expected);
    assert!(size() <= 9_000);
    assert_eq!(
        all_batches(&manifest, &settings, 3),
        all_batches(&manifest, &plain, 3)
    );
}

/// The key is the content that was indexed.
#[test]
fn a_file_that_was_changed_after_it_was_indexed_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, settings) = on_disk(dir.path(), 1 << 30);
    let expected = all_batches(&manifest, &settings, 0);
    packs(dir.path())
        .iter()
        .for_each(|pack| std::fs::remove_file(pack).unwrap());
    let file = manifest.image_file(&manifest.rows()[1]);
    let original = std::fs::read(&file).unwrap();
    save(&picture(200), &file);
    assert_ne!(all_batches(&manifest, &settings, 0), expected);
    std::fs::write(&file, original).unwrap();
    assert_eq!(all_batches(&manifest, &settings, 0), expected);
}
