//! Masks: where they are, what is wrong with bad ones, and how their images are handled.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::path::Path;

use crate::common::{config, half, kaggle_like, picture, save, shared};
use dataset::phantom::{CellsConfig, HeadsConfig, generate_cells, generate_heads};
use dataset::{
    CountOrder, Crop, DataLayout, Eda, EdaConfig, IndexConfig, Loader, LoaderConfig, MaskConfig,
    MaskPlace, OnMask, SampleKey, SplitFolders, SplitLists, SplitPolicy, Splits, index,
};
use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use imaging::{Fit, MaskCoding, PixelValue};

fn mask(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> DynamicImage {
    DynamicImage::ImageLuma8(GrayImage::from_fn(width, height, |x, y| {
        Luma([value(x, y)])
    }))
}

/// Every fault that a mask can have, in a tree next to 5 + 1 + 2 images of each class.
fn faulty(dir: &Path) -> IndexConfig {
    let (images, masks) = (dir.join("images"), dir.join("masks"));
    kaggle_like(&images, [5, 1, 2]);
    let at = |name: &str| masks.join(format!("train/NORMAL/{name}.png"));
    save(&half(), &at("IM-0002-0000"));
    save(&mask(24, 18, |_, _| 0), &at("IM-0004-0001"));
    save(&mask(24, 17, |_, _| 0), &at("IM-0006-0002"));
    save(&picture(3), &at("IM-0008-0003"));
    std::fs::write(at("IM-0010-0004"), b"no mask").unwrap();
    let colour = RgbImage::from_fn(24, 18, |x, _| Rgb([x as u8, 0, 0]));
    let coloured = masks.join("test/NORMAL/IM-0014-0000.png");
    save(&DynamicImage::ImageRgb8(colour), &coloured);
    IndexConfig {
        masks: Some(MaskConfig::tree(masks)),
        ..config(&images)
    }
}

#[test]
fn every_fault_is_named_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = index(&faulty(dir.path())).unwrap();
    assert_eq!(
        (manifest.rows().len(), manifest.bad_images().len()),
        (16, 0)
    );
    let bad: Vec<_> = manifest
        .mask_faults()
        .iter()
        .filter(|f| !f.missing)
        .collect();
    let expected = [
        ("IM-0014-0000", "colour"),
        ("IM-0006-0002", "24x17 pixels, its image 24x18"),
        ("IM-0008-0003", "JPEG"),
        ("IM-0010-0004", "not a JPEG, PNG, TIFF"),
    ];
    assert_eq!(bad.len(), expected.len(), "{bad:?}");
    for (fault, (image, reason)) in bad.iter().zip(expected) {
        assert!(fault.image.contains(image), "{fault:?}");
        assert!(fault.reason.contains(reason), "{fault:?}");
        assert!(fault.file.is_file(), "{fault:?}");
    }
    let eda = Eda::new(&manifest, &EdaConfig::default()).unwrap();
    let counts = |m: &dataset::MaskSummary| [m.images, m.with_mask, m.missing, m.bad, m.empty];
    let splits: Vec<_> = eda.masks.iter().map(counts).collect();
    assert_eq!(splits, [[10, 2, 5, 3, 1], [2, 0, 2, 0, 0], [4, 0, 3, 1, 0]]);
    let train = &eda.masks[0];
    let shares: Vec<f64> = train.areas.iter().map(|a| a.mean_share).collect();
    assert_eq!((shares, train.areas[1].images), (vec![0.75, 0.25], 1));
    assert_eq!(train.areas[1].class, "foreground");
    assert_eq!(train.foreground_by_class[0].images, 2);
    assert!(
        eda.warnings
            .iter()
            .any(|w| w == "1 image has an empty mask."),
        "{:?}",
        eda.warnings
    );
}

#[test]
fn the_settings_decide_how_faulty_masks_are_handled() {
    let dir = tempfile::tempdir().unwrap();
    let good = faulty(dir.path());
    let with = |on_bad: OnMask, on_missing: OnMask| {
        let masks = MaskConfig {
            on_bad,
            on_missing,
            ..good.masks.clone().unwrap()
        };
        index(&IndexConfig {
            masks: Some(masks),
            ..good.clone()
        })
    };
    let skipped = with(OnMask::Skip, OnMask::Unknown).unwrap();
    assert_eq!(skipped.rows().len(), 16 - 4);
    let text = with(OnMask::Unknown, OnMask::Fail).unwrap_err().to_string();
    assert!(
        text.contains("no such file") && text.contains("on_missing_mask"),
        "{text}"
    );
    let text = with(OnMask::Fail, OnMask::Unknown).unwrap_err().to_string();
    assert!(
        text.contains("IM-0014-0000.png") && text.contains("on_bad_mask"),
        "{text}"
    );
}

#[test]
fn masks_next_to_images_are_not_images() {
    let dir = tempfile::tempdir().unwrap();
    kaggle_like(dir.path(), [2, 1, 1]);
    save(
        &half(),
        &dir.path().join("train/NORMAL/IM-0002-0000_mask.png"),
    );
    let manifest = index(&IndexConfig {
        masks: Some(MaskConfig::beside("{stem}_mask.png")),
        ..config(dir.path())
    })
    .unwrap();
    let with = manifest.rows().iter().flat_map(|r| &r.masks);
    assert_eq!(
        with.collect::<Vec<_>>(),
        ["train/NORMAL/IM-0002-0000_mask.png"]
    );
    assert_eq!(manifest.rows().len(), 8);
    let row = manifest.rows().iter().find(|r| r.has_mask()).unwrap();
    assert!(manifest.mask_files(row)[0].is_file());
    let wrong = IndexConfig {
        masks: Some(MaskConfig::beside("mask.png")),
        ..config(dir.path())
    };
    assert!(index(&wrong).unwrap_err().to_string().contains("{stem}"));
}

#[test]
fn label_masks_of_half_the_size_arrive_as_class_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let (images, masks) = (dir.path().join("images"), dir.path().join("masks"));
    kaggle_like(&images, [1, 1, 1]);
    let value = |x: u32, _| [10, 20, 30, 99][x as usize / 3];
    save(
        &mask(12, 9, value),
        &masks.join("train/NORMAL/IM-0002-0000.png"),
    );
    let coding = MaskCoding {
        values: [(10, 0), (20, 1), (30, 2)]
            .map(|(v, c)| (PixelValue::Grey(v), c))
            .into(),
        ignore: [PixelValue::Grey(99)].into(),
        names: ["bone", "fat", "air"].map(str::to_owned).into(),
        ..MaskCoding::default()
    };
    let masks = MaskConfig {
        coding,
        resize: true,
        ..MaskConfig::tree(masks)
    };
    let manifest = index(&IndexConfig {
        masks: Some(masks),
        ..config(&images)
    })
    .unwrap();
    let row = manifest.rows().iter().position(|r| r.has_mask()).unwrap();
    assert_eq!(manifest.rows()[row].mask_shares.as_ref().unwrap().len(), 3);
    let settings = LoaderConfig {
        height: 18,
        width: 24,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(&manifest, vec![row], settings).unwrap();
    let batch = loader.epoch(0).next().unwrap().unwrap();
    for (i, class) in batch.masks.unwrap().iter().enumerate() {
        match i % 24 / 6 {
            3 => assert!(class.is_nan()),
            expected => assert_eq!(*class, expected as f32),
        }
    }
}

#[test]
fn padding_keeps_the_shape_and_can_be_undone() {
    let dir = tempfile::tempdir().unwrap();
    let (images, masks) = (dir.path().join("images"), dir.path().join("masks"));
    kaggle_like(&images, [1, 1, 1]);
    save(&half(), &masks.join("train/NORMAL/IM-0002-0000.png"));
    let manifest = index(&IndexConfig {
        masks: Some(MaskConfig::tree(masks)),
        ..config(&images)
    })
    .unwrap();
    let row = manifest.rows().iter().position(|r| r.has_mask()).unwrap();
    let settings = LoaderConfig {
        height: 48,
        width: 48,
        fit: Fit::Pad,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
        ..LoaderConfig::default()
    };
    let batch = Loader::new(&manifest, vec![row], settings).unwrap();
    let batch = batch.epoch(0).next().unwrap().unwrap();
    let (placed, mask) = (batch.placements[0], batch.masks.unwrap());
    assert_eq!(
        (placed.original, placed.target.top, placed.target.height),
        ((18, 24), 6, 36)
    );
    let border = |i: usize| i / 48 < 6 || i / 48 >= 42;
    for (i, class) in mask.iter().enumerate() {
        assert_eq!(class.is_nan(), border(i), "{i}");
        assert!(!border(i) || batch.images[3 * i] == 0.0);
    }
    let back = placed.restore_labels(&mask);
    let expected = (0..18 * 24).map(|i| if i % 24 < 12 { 1.0 } else { 0.0 });
    assert!(back.iter().zip(expected).all(|(a, b)| *a == b));
}

#[test]
fn crops_are_windows_of_the_image_drawn_by_seed_epoch_and_row() {
    let dir = tempfile::tempdir().unwrap();
    let made = generate_cells(
        dir.path(),
        &CellsConfig {
            size: 64,
            images: 3,
            seed: 1,
        },
    )
    .unwrap();
    let manifest = index(&IndexConfig {
        root: made.images,
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        masks: Some(MaskConfig::tree(made.masks)),
        ..IndexConfig::default()
    })
    .unwrap();
    let crop = Crop {
        height: 32,
        width: 32,
        random: true,
    };
    let loader = |crop: Option<Crop>, side: usize| {
        let config = LoaderConfig {
            height: side,
            width: side,
            channels: 1,
            mean: vec![0.0],
            std: vec![1.0],
            crop,
            ..LoaderConfig::default()
        };
        Loader::new(&manifest, vec![0, 1, 2], config).unwrap()
    };
    let cut = loader(Some(crop), 32);
    let (first, again) = (
        cut.sample(1, Some(5)).unwrap(),
        cut.sample(1, Some(5)).unwrap(),
    );
    assert_eq!(first, again);
    let windows: std::collections::BTreeSet<_> = (0..20)
        .map(|epoch| cut.sample(1, Some(epoch)).unwrap().placement.source)
        .map(|rect| (rect.top, rect.left))
        .collect();
    assert!(windows.len() > 15, "{windows:?}");
    let whole = loader(None, 64).sample(1, None).unwrap();
    let source = first.placement.source;
    for y in 0..32 {
        for x in 0..32 {
            let at = (source.top + y) * 64 + source.left + x;
            assert_eq!(first.image[y * 32 + x], whole.image[at]);
            assert_eq!(
                first.mask.as_ref().unwrap()[y * 32 + x],
                whole.mask.as_ref().unwrap()[at]
            );
        }
    }
    let middle = cut.sample(1, None).unwrap().placement.source;
    assert_eq!((middle.top, middle.left), (16, 16));
    let key = SampleKey {
        seed: 0,
        epoch: 0,
        index: 0,
    };
    let small = crop.window((10, 40), Some(key));
    assert_eq!((small.top, small.height, small.width), (0, 10, 32));
}

#[test]
fn counts_and_lists_split_a_stack() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..30 {
        save(&picture(i), &dir.path().join(format!("{i}.png")));
    }
    let manifest = index(&IndexConfig {
        root: dir.path().to_owned(),
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        ..IndexConfig::default()
    })
    .unwrap();
    assert_eq!(manifest.classes(), ["image"]);
    let names = |rows: &[usize]| {
        let rows = rows.iter().map(|&row| manifest.rows()[row].path.clone());
        rows.collect::<Vec<_>>()
    };
    let count = |by| SplitPolicy::Count {
        val: 3,
        test: 5,
        by,
    };
    let ordered = Splits::new(&manifest, &count(CountOrder::Order), None).unwrap();
    assert_eq!(
        names(&ordered.test),
        ["25.png", "26.png", "27.png", "28.png", "29.png"]
    );
    assert_eq!(names(&ordered.val), ["22.png", "23.png", "24.png"]);
    let drawn = Splits::new(&manifest, &count(CountOrder::Seed(1)), None).unwrap();
    assert_eq!(
        [drawn.train.len(), drawn.val.len(), drawn.test.len()],
        [22, 3, 5]
    );
    assert_ne!(
        drawn,
        Splits::new(&manifest, &count(CountOrder::Seed(2)), None).unwrap()
    );
    let too_many = SplitPolicy::Count {
        val: 3,
        test: 27,
        by: CountOrder::Order,
    };
    assert!(Splits::new(&manifest, &too_many, None).is_err());
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let lists = SplitLists {
        train: own(&["7.png", "3.png"]),
        val: own(&["1.png"]),
        test: own(&["2.png"]),
    };
    let listed = Splits::new(&manifest, &SplitPolicy::List(lists.clone()), None).unwrap();
    assert_eq!(names(&listed.train), ["3.png", "7.png"]);
    for wrong in ["1.png", "77.png"] {
        let test = own(&[wrong]);
        let lists = SplitLists {
            test,
            ..lists.clone()
        };
        let text = Splits::new(&manifest, &SplitPolicy::List(lists), None)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(wrong) && text.contains("lists.test"),
            "{text}"
        );
    }
}

#[test]
fn an_order_that_separates_copies_of_a_file_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..10 {
        save(&picture(0), &dir.path().join(format!("{i}.png")));
    }
    let manifest = index(&IndexConfig {
        root: dir.path().to_owned(),
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        ..IndexConfig::default()
    })
    .unwrap();
    let policy = SplitPolicy::Count {
        val: 1,
        test: 1,
        by: CountOrder::Order,
    };
    let text = Splits::new(&manifest, &policy, None)
        .unwrap_err()
        .to_string();
    assert!(text.contains("two splits"), "{text}");
}

#[test]
fn head_phantoms_have_four_classes_label_masks_and_many_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let few = HeadsConfig {
        size: 64,
        train: 4,
        test: 2,
        seed: 3,
    };
    let made = generate_heads(dir.path(), &few).unwrap();
    assert_eq!(generate_heads(dir.path(), &few).unwrap(), made);
    let values = (0..4)
        .map(|class| (PixelValue::Grey(class), class as u8))
        .collect();
    let masks = MaskConfig {
        coding: MaskCoding {
            values,
            ..MaskCoding::default()
        },
        on_bad: OnMask::Fail,
        on_missing: OnMask::Fail,
        ..MaskConfig::tree(made.masks)
    };
    let names = [("no_tumor", "none"), ("glioma_tumor", "glioma")];
    let manifest = index(&IndexConfig {
        root: made.images,
        splits: SplitFolders::new(Some("Training"), None, Some("Testing")),
        class_names: names.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
        masks: Some(masks),
        ..IndexConfig::default()
    })
    .unwrap();
    assert_eq!(
        manifest.classes(),
        ["glioma", "meningioma_tumor", "none", "pituitary_tumor"]
    );
    assert_eq!(manifest.rows().len(), 24);
    assert!(manifest.rows().iter().any(|r| r.width < r.height));
    for record in manifest.rows() {
        assert_eq!(record.mask_is_empty(), record.class == 2, "{}", record.path);
    }
    let bad = HeadsConfig { size: 8, ..few };
    assert!(generate_heads(&dir.path().join("bad"), &bad).is_err());
}

#[test]
#[ignore = "reads ../shared, which is not in the repository: cargo xtask test runs it if that exists"]
fn shared_isbi2012_is_a_stack_of_thirty_with_masks() {
    let root = shared("data/isbi2012");
    let coding = MaskCoding {
        names: ["membrane", "cell"].map(str::to_owned).into(),
        ..MaskCoding::default()
    };
    let masks = MaskConfig {
        coding,
        on_bad: OnMask::Fail,
        on_missing: OnMask::Fail,
        ..MaskConfig::tree(root.join("masks"))
    };
    let manifest = index(&IndexConfig {
        root: root.join("images"),
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        masks: Some(masks),
        ..IndexConfig::default()
    })
    .unwrap();
    assert_eq!(manifest.rows().len(), 30);
    let policy = SplitPolicy::Count {
        val: 3,
        test: 5,
        by: CountOrder::Order,
    };
    let splits = Splits::new(&manifest, &policy, None).unwrap();
    let eda = Eda::new(
        &manifest.with_splits(&splits).unwrap(),
        &EdaConfig::default(),
    )
    .unwrap();
    let counts: Vec<_> = eda.masks.iter().map(|m| (m.images, m.with_mask)).collect();
    assert_eq!(counts, [(22, 22), (3, 3), (5, 5)]);
    let cell = &eda.masks[0].areas[1];
    assert!(
        cell.class == "cell" && (0.7..0.85).contains(&cell.mean_share),
        "{cell:?}"
    );
}

#[test]
fn several_masks_of_an_image_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    for (class, i) in ["benign", "malignant"]
        .into_iter()
        .flat_map(|c| [(c, 1), (c, 4)])
    {
        let stem = format!("{class}/{class} ({i})");
        let seed = i + 10 * class.len();
        save(&picture(seed), &dir.path().join(format!("{stem}.png")));
        save(&half(), &dir.path().join(format!("{stem}_mask.png")));
    }
    let rows = mask(24, 18, |_, y| if y < 9 { 255 } else { 0 });
    save(&rows, &dir.path().join("benign/benign (4)_mask_1.png"));
    let manifest = index(&IndexConfig {
        root: dir.path().to_owned(),
        splits: SplitFolders::none(),
        masks: Some(MaskConfig::beside("{stem}_mask.png")),
        ..IndexConfig::default()
    })
    .unwrap();
    assert_eq!((manifest.rows().len(), manifest.left_out()), (4, &[][..]));
    let row = manifest.rows().iter().find(|r| r.masks.len() == 2).unwrap();
    assert_eq!(row.path, "benign/benign (4).png");
    assert_eq!(row.mask_share(), Some(0.75));
    let truth = manifest.true_pixels(row).unwrap().unwrap();
    assert_eq!(
        truth.iter().filter(|class| **class == 1).count(),
        24 * 18 * 3 / 4
    );
}

/// The layout of the COVID-19 Radiography Database: `CLASS/images` next to `CLASS/masks`.
#[test]
fn masks_may_be_in_a_folder_next_to_the_images() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, class) in ["COVID", "Normal"].into_iter().enumerate() {
        for i in 0..3 {
            let file = format!("{class}-{i}.png");
            save(
                &picture(10 * seed + i),
                &dir.path().join(format!("{class}/images/{file}")),
            );
            save(&half(), &dir.path().join(format!("{class}/masks/{file}")));
        }
    }
    let with = |masks: Option<MaskConfig>| {
        index(&IndexConfig {
            root: dir.path().to_owned(),
            splits: SplitFolders::none(),
            masks,
            ..IndexConfig::default()
        })
    };
    let plain = with(None).unwrap();
    assert_eq!(plain.rows().len(), 6);
    assert_eq!(plain.left_out()[0].files, 6);
    for pattern in ["../masks/{stem}.png", "../masks/{stem}.jpg"] {
        let manifest = with(Some(MaskConfig::beside(pattern))).unwrap();
        let masked = manifest.rows().iter().filter(|r| r.has_mask()).count();
        let expected = if pattern.ends_with("png") { 6 } else { 0 };
        assert_eq!((manifest.rows().len(), masked), (6, expected));
    }
    let text = with(Some(MaskConfig::tree(dir.path())))
        .unwrap_err()
        .to_string();
    assert!(text.contains("the images' own folder"), "{text}");
}

#[test]
fn masks_that_match_nothing_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (images, masks) = (dir.path().join("images"), dir.path().join("masks"));
    kaggle_like(&images, [2, 1, 1]);
    for i in 0..3 {
        save(&half(), &masks.join(format!("train/NORMAL/x{i}_mask.png")));
    }
    save(&half(), &masks.join("train/NORMAL/IM-0002-0000_mask.PNG"));
    let config = |pattern: &str| IndexConfig {
        masks: Some(MaskConfig::at(MaskPlace::Tree {
            root: masks.clone(),
            pattern: pattern.to_owned(),
        })),
        ..config(&images)
    };
    let plain = index(&config("{stem}.png")).unwrap();
    assert_eq!(plain.unmatched_masks().len(), 4);
    let eda = Eda::new(&plain, &EdaConfig::default()).unwrap();
    assert!(
        eda.warnings
            .iter()
            .any(|w| w.contains("4 mask files belong to no image")),
        "{:?}",
        eda.warnings
    );
    let named = index(&config("{stem}_mask.png")).unwrap();
    let masked = named.rows().iter().filter(|r| r.has_mask()).count();
    assert_eq!((named.unmatched_masks().len(), masked), (3, 1));
}

/// Palette masks as in Pascal VOC: the index is the class, and the colour is only for display.
#[test]
fn palette_indices_are_the_classes() {
    let dir = tempfile::tempdir().unwrap();
    let (images, masks) = (dir.path().join("images"), dir.path().join("masks"));
    kaggle_like(&images, [1, 1, 1]);
    let file = masks.join("train/NORMAL/IM-0002-0000.png");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(std::fs::File::create(&file).unwrap(), 24, 18);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(vec![0, 0, 0, 128, 0, 0, 0, 128, 0]);
    let indices: Vec<u8> = (0..24 * 18).map(|i| (i % 24 / 8) as u8).collect();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&indices).unwrap();
    drop(writer);
    let coding = MaskCoding {
        values: (0..3).map(|v| (PixelValue::Grey(v), v as u8)).collect(),
        ..MaskCoding::default()
    };
    let manifest = index(&IndexConfig {
        masks: Some(MaskConfig {
            coding,
            ..MaskConfig::tree(masks)
        }),
        ..config(&images)
    })
    .unwrap();
    let row = manifest.rows().iter().find(|r| r.has_mask()).unwrap();
    let third = 1.0 / 3.0;
    assert_eq!(row.mask_shares, Some(vec![third; 3]));
}
