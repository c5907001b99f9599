//! Public data sets as they are laid out: masks of every kind, links, DICOM exports, and what is said about patients.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::path::Path;

use crate::common::{half, mask, picture, save};
use dataset::{
    CsvLayout, DataLayout, IndexConfig, Manifest, MaskConfig, MaskPlace, PatientRule, Reason,
    SplitFolders, index,
};
use image::{DynamicImage, GrayAlphaImage, LumaA, Rgb, RgbImage};
use imaging::{Channel, MaskCoding, PixelValue};

/// Images without classes.
fn images(root: &Path, masks: Option<MaskConfig>) -> IndexConfig {
    IndexConfig {
        root: root.to_owned(),
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        masks,
        ..IndexConfig::default()
    }
}

fn tree(root: &Path, pattern: &str) -> MaskPlace {
    MaskPlace::Tree {
        root: root.to_owned(),
        pattern: pattern.to_owned(),
    }
}

fn notes(manifest: &Manifest) -> String {
    manifest.notes().join("\n")
}

fn left_out(manifest: &Manifest) -> Vec<(Reason, usize, &str)> {
    let groups = manifest.left_out().iter();
    groups
        .map(|g| (g.reason, g.files, g.what.as_str()))
        .collect()
}

/// The layout of the Montgomery County set: a tree for each lung.
#[test]
fn masks_in_two_trees_are_united() {
    let dir = tempfile::tempdir().unwrap();
    let (cxr, manual) = (dir.path().join("CXR_png"), dir.path().join("ManualMask"));
    for i in 0..3 {
        save(&picture(i), &cxr.join(format!("MCUCXR_{i}_0.png")));
        save(&half(), &manual.join(format!("leftMask/MCUCXR_{i}_0.png")));
    }
    // Overlaps the other by a sixth of the image.
    let right = mask(|x, _| if x >= 8 { 255 } else { 0 });
    save(
        &mask(|x, _| if x >= 20 { 255 } else { 0 }),
        &manual.join("rightMask/MCUCXR_0_0.png"),
    );
    save(&right, &manual.join("rightMask/MCUCXR_1_0.png"));
    save(&right, &manual.join("rightMask/MCUCXR_9_0.png"));
    let places = ["leftMask", "rightMask"].map(|name| tree(&manual.join(name), "{stem}.png"));
    let manifest = index(&images(&cxr, Some(MaskConfig::at_all(places.into())))).unwrap();
    let shares: Vec<_> = manifest
        .rows()
        .iter()
        .map(|r| r.mask_share().unwrap())
        .collect();
    assert_eq!(shares, [16.0 / 24.0, 1.0, 0.5]);
    let row = &manifest.rows()[0];
    assert_eq!(
        row.masks,
        ["leftMask/MCUCXR_0_0.png", "rightMask/MCUCXR_0_0.png"]
    );
    assert!(manifest.mask_files(row).iter().all(|file| file.is_file()));
    let truth = manifest.true_pixels(row).unwrap().unwrap();
    let expected = (0..24 * 18).map(|i| u8::from(i % 24 < 12 || i % 24 >= 20));
    assert!(truth.into_iter().eq(expected));
    assert_eq!(manifest.unmatched_masks(), ["rightMask/MCUCXR_9_0.png"]);
    let notes = notes(&manifest);
    assert!(
        notes.contains("1 image has a mask in only some of the 2 places")
            && notes.contains("such as MCUCXR_2_0.png")
            && notes
                .contains("1 mask marks every pixel of its image (such as that of MCUCXR_1_0.png)"),
        "{notes}"
    );
}

/// Several patterns in one tree: what one finds is not unmatched for the other.
#[test]
fn several_patterns_share_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (scans, truth) = (dir.path().join("scans"), dir.path().join("truth"));
    save(&picture(1), &scans.join("x.png"));
    save(&half(), &truth.join("x_left.png"));
    save(&mask(|x, _| u8::from(x >= 18)), &truth.join("x_right.bmp"));
    let places = ["{stem}_left", "{stem}_right"].map(|pattern| tree(&truth, pattern));
    let manifest = index(&images(&scans, Some(MaskConfig::at_all(places.into())))).unwrap();
    assert_eq!(manifest.rows()[0].mask_share(), Some(0.75));
    assert_eq!(manifest.unmatched_masks().len(), 0);
    // Next to the images, the masks of all patterns are no images.
    save(&half(), &scans.join("x_a.png"));
    save(&half(), &scans.join("x_b_2.tif"));
    let beside = ["{stem}_a", "{stem}_b"].map(|p| MaskPlace::Adjacent(p.to_owned()));
    let manifest = index(&images(&scans, Some(MaskConfig::at_all(beside.into())))).unwrap();
    assert_eq!(manifest.rows().len(), 1);
    assert_eq!(manifest.rows()[0].masks, ["x_a.png", "x_b_2.tif"]);
}

/// Each coding of the same mask, in which the left half is marked, gives the same pixels.
#[test]
fn masks_of_every_coding_mark_the_same_pixels() {
    let check = |file: &str, drawn: DynamicImage, coding: MaskCoding| {
        let dir = tempfile::tempdir().unwrap();
        let (scans, masks) = (dir.path().join("scans"), dir.path().join("masks"));
        save(&picture(1), &scans.join("x.png"));
        save(&drawn, &masks.join(file));
        let masks = MaskConfig {
            coding,
            ..MaskConfig::tree(masks)
        };
        let manifest = index(&images(&scans, Some(masks))).unwrap();
        assert_eq!(manifest.mask_faults(), [], "{file}");
        let truth = manifest.true_pixels(&manifest.rows()[0]).unwrap().unwrap();
        let expected = (0..24 * 18).map(|i| u8::from(i % 24 < 12));
        assert!(truth.into_iter().eq(expected), "{file}");
    };
    let plain = MaskCoding::default;
    check("x.png", half(), plain());
    check("x.bmp", half(), plain());
    check("x.tif", half(), plain());
    check("x.webp", half(), plain());
    let threshold = MaskCoding {
        threshold: Some(128),
        ..plain()
    };
    // JPEG leaves values between 0 and 255 at the edge.
    check("x.jpg", half(), threshold.clone());
    // Anti-aliased: the edge pixels have 200 and 60.
    let smooth = mask(|x, _| match x {
        0..11 => 255,
        11 => 200,
        12 => 60,
        _ => 0,
    });
    check("x.png", smooth, threshold);
    // Drawing programs leave the mask in the opacity of one colour.
    let alpha = GrayAlphaImage::from_fn(24, 18, |x, _| LumaA([255, if x < 12 { 255 } else { 0 }]));
    let of_alpha = MaskCoding {
        channel: Channel::Alpha,
        ..plain()
    };
    check("x.png", DynamicImage::ImageLumaA8(alpha), of_alpha);
    let colour = |x: u32| if x < 12 { [200, 0, 100] } else { [0, 64, 0] };
    let colours = RgbImage::from_fn(24, 18, |x, _| Rgb(colour(x)));
    let of_colours = MaskCoding {
        values: [
            (PixelValue::Colour([0, 64, 0]), 0),
            (PixelValue::Colour([200, 0, 100]), 1),
        ]
        .into(),
        ..plain()
    };
    check(
        "x.png",
        DynamicImage::ImageRgb8(colours.clone()),
        of_colours,
    );
    let of_red = MaskCoding {
        channel: Channel::Red,
        ..plain()
    };
    check("x.png", DynamicImage::ImageRgb8(colours), of_red);
}

/// The colours of a palette, where classes are given by colours; the indices say nothing then.
#[test]
fn a_palette_is_read_by_its_colours_where_these_are_classes() {
    let dir = tempfile::tempdir().unwrap();
    let (scans, masks) = (dir.path().join("scans"), dir.path().join("masks"));
    save(&picture(1), &scans.join("x.png"));
    std::fs::create_dir(&masks).unwrap();
    let file = std::fs::File::create(masks.join("x.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 24, 18);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(vec![128, 0, 0, 0, 0, 0]);
    let indices: Vec<u8> = (0..24 * 18).map(|i| u8::from(i % 24 >= 6)).collect();
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&indices)
        .unwrap();
    let coding = MaskCoding {
        values: [
            (PixelValue::Colour([0; 3]), 0),
            (PixelValue::Colour([128, 0, 0]), 1),
        ]
        .into(),
        ..MaskCoding::default()
    };
    let with = |coding: MaskCoding| {
        let masks = MaskConfig {
            coding,
            ..MaskConfig::tree(&masks)
        };
        index(&images(&scans, Some(masks))).unwrap().rows()[0].mask_share()
    };
    assert_eq!(with(coding), Some(0.25));
    assert_eq!(with(MaskCoding::default()), Some(0.75));
}

#[test]
fn masks_that_mark_everything_or_are_in_the_opacity_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (scans, masks) = (dir.path().join("scans"), dir.path().join("masks"));
    for i in 0..2 {
        save(&picture(i), &scans.join(format!("{i}.png")));
        save(&mask(|_, _| 255), &masks.join(format!("{i}.png")));
    }
    std::fs::write(masks.join("0.gif"), b"GIF89a").unwrap();
    let config = images(&scans, Some(MaskConfig::tree(&masks)));
    let full = index(&config).unwrap();
    assert!(
        notes(&full)
            .contains("Every mask marks more than 99 % of its image (such as that of 0.png)"),
        "{}",
        notes(&full)
    );
    assert!(
        notes(&full).contains("1 of the files in the masks' folder"),
        "{}",
        notes(&full)
    );
    assert!(
        notes(&full).contains("1 .gif (such as 0.gif)"),
        "{}",
        notes(&full)
    );
    let alpha = GrayAlphaImage::from_fn(24, 18, |x, _| LumaA([0, 10 * x as u8]));
    save(&DynamicImage::ImageLumaA8(alpha), &masks.join("0.png"));
    let faults = index(&config).unwrap().mask_faults().to_vec();
    assert!(
        faults[0].reason.contains("channel = \"alpha\""),
        "{faults:?}"
    );
}

/// Folders that a pattern names for masks hold no images that are left out.
#[test]
fn masks_that_are_read_are_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    for class in ["COVID", "Normal"] {
        save(
            &picture(class.len()),
            &dir.path().join(format!("{class}/images/1.png")),
        );
        save(&half(), &dir.path().join(format!("{class}/masks/1.png")));
    }
    let config = IndexConfig {
        masks: Some(MaskConfig::beside("../masks/{stem}")),
        layout: DataLayout::ClassFolders,
        ..images(dir.path(), None)
    };
    let manifest = index(&config).unwrap();
    assert!(manifest.rows().iter().all(|r| r.has_mask()));
    assert_eq!(left_out(&manifest), []);
}

#[cfg(unix)]
#[test]
fn a_second_path_to_a_file_is_not_a_sample() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (i, file) in ["A/1.png", "A/2.png", "B/1.png", "B/2.png"]
        .into_iter()
        .enumerate()
    {
        save(&picture(i), &root.join(file));
    }
    // A copy is a sample of its own, which is kept in the same split as the original.
    std::fs::copy(root.join("A/1.png"), root.join("A/copy.png")).unwrap();
    std::fs::hard_link(root.join("A/2.png"), root.join("A/hard.png")).unwrap();
    // By name it would come first, but the file itself is kept.
    symlink("1.png", root.join("A/0.png")).unwrap();
    symlink("../B/2.png", root.join("A/other.png")).unwrap();
    // What the data folder does not hold is reached by this path only.
    let elsewhere = tempfile::tempdir().unwrap();
    save(&picture(9), &elsewhere.path().join("pool.png"));
    symlink(elsewhere.path().join("pool.png"), root.join("B/pooled.png")).unwrap();
    let config = IndexConfig {
        layout: DataLayout::ClassFolders,
        ..images(root, None)
    };
    let manifest = index(&config).unwrap();
    let paths: Vec<&str> = manifest.rows().iter().map(|r| r.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "A/1.png",
            "A/2.png",
            "A/copy.png",
            "B/1.png",
            "B/2.png",
            "B/pooled.png"
        ]
    );
    assert_eq!(
        left_out(&manifest),
        [
            (Reason::Link, 2, "to a file already read"),
            (Reason::Link, 1, "to a file of another class or split"),
        ]
    );
    let table = root.join("table.csv");
    std::fs::write(&table, "path,class\nA/1.png,a\nA/0.png,b\nB/1.png,b\n").unwrap();
    let listed = IndexConfig {
        layout: DataLayout::Csv(CsvLayout {
            file: table,
            ..CsvLayout::default()
        }),
        ..config
    };
    let manifest = index(&listed).unwrap();
    assert_eq!(manifest.rows().len(), 2);
    let links = left_out(&manifest);
    assert!(
        links.contains(&(Reason::Link, 1, "to a file of another class or split")),
        "{links:?}"
    );
}

#[test]
fn the_source_of_patients_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..4 {
        save(&picture(i), &dir.path().join(format!("p{}_{i}.png", i / 2)));
    }
    let plain = images(dir.path(), None);
    let said = |config: &IndexConfig| index(config).unwrap().patients_in_words();
    assert_eq!(
        said(&plain),
        "Patients are not known: each image counts as a patient of its own."
    );
    let rule = |pattern: &str| PatientRule {
        pattern: pattern.to_owned(),
        template: String::new(),
        prefix: String::new(),
    };
    let ruled = |pattern: &str| IndexConfig {
        patients: vec![rule(pattern)],
        ..plain.clone()
    };
    assert_eq!(
        said(&ruled("^(?<p>p[0-9])_")),
        "Patients are told apart by the rules of data.patients (4 images)."
    );
    assert_eq!(
        said(&ruled("^(?<p>p[0-9])_0")),
        "Patients are told apart by the rules of data.patients (1 image). The patient of 3 images is not known: each \
         counts as a patient of its own."
    );
    let file = dir.path().join("table.csv");
    std::fs::write(&file, "path,patient\np0_0.png,7\np0_1.png,7\np1_2.png,\n").unwrap();
    let table = IndexConfig {
        layout: DataLayout::Csv(CsvLayout {
            file,
            ..CsvLayout::default()
        }),
        ..ruled("^(?<p>p[0-9])_")
    };
    assert_eq!(
        said(&table),
        "Patients are told apart by the table's patient column, as salted hashes (2 images), and by the rules of \
         data.patients (1 image)."
    );
}
