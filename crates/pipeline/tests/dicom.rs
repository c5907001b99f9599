//! DICOM in and out: radiographs train and predict as PNG files of the same pixels do, and results become DICOM files.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::path::{Path, PathBuf};

use dataset::phantom::{ClassImages, PhantomConfig, PhantomFormat, generate};
use dicom::ReadOptions;
use pipeline::predict::{Prediction, Predictor, Segments};

use crate::{small, tiny};

/// Patients by file names, so that DICOM headers do not change the splits.
const PATIENTS: &str =
    r"data.patients=[{pattern='IM-(?<normal>\d+)'}, {pattern='^person(?<ill>\d+)_'}]";

/// All files of a folder and those in it, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn with_extension<'f>(
    files: &'f [PathBuf],
    extension: &'f str,
) -> impl Iterator<Item = &'f PathBuf> {
    let of = move |file: &&PathBuf| file.extension().is_some_and(|e| e == extension);
    files.iter().filter(of)
}

/// A folder of 12-bit radiographs, half of them MONOCHROME1, all with windows, and one of PNG files of the same pixels.
#[test]
fn radiographs_train_and_predict_as_pngs_of_the_same_pixels() {
    let home = tempfile::tempdir().unwrap();
    // Without resizing, which would round 8 and 16 bits differently.
    let run = |format: &str| {
        let format = format!("demo.phantom.format={format}");
        let set = [PATIENTS, &format, "evaluate.baseline_size=32"];
        tiny::run(home.path(), &set)
    };
    let (png, dcm) = (run("png"), run("dicom"));
    let figures = |run: &Path| {
        let mut metrics = tiny::metrics(run);
        // A hash of the files.
        metrics.data_fingerprint.clear();
        // Only headers state what divides images into subgroups.
        metrics.subgroups = None;
        serde_json::to_string(&metrics).unwrap()
    };
    assert_eq!(figures(&png), figures(&dcm));
    let table = |run: &Path, extension: &str| {
        let text = fs::read_to_string(run.join("predictions.csv")).unwrap();
        assert!(text.contains(extension), "{text}");
        text.replace(extension, "")
    };
    assert_eq!(table(&png, ".png"), table(&dcm, ".dcm"));

    let out = tempfile::tempdir().unwrap();
    let phantoms = files(&home.path().join("runs/.phantom"));
    let of_test = |file: &&PathBuf| {
        let text = file.display().to_string();
        text.contains("images/test")
    };
    let predict = |run: &Path, extension| -> Vec<Prediction> {
        let predictor = Predictor::open(run).unwrap();
        let images = with_extension(&phantoms, extension).filter(of_test);
        images
            .map(|image| predictor.predict(image, out.path()).unwrap())
            .collect()
    };
    let (of_png, of_dcm) = (predict(&png, "png"), predict(&dcm, "dcm"));
    assert_eq!((of_png.len(), of_dcm.len()), (24, 24));
    let mut inverted = 0;
    for (one, other) in of_png.iter().zip(&of_dcm) {
        assert_eq!(one.image.file_stem(), other.image.file_stem());
        assert_eq!(one.class, other.class);
        for (p, q) in one.probabilities.iter().zip(&other.probabilities) {
            assert!((p.probability - q.probability).abs() < 1e-6, "{p:?} {q:?}");
        }
        let header = dicom::header(&fs::read(&other.image).unwrap(), &ReadOptions::default());
        let photometric = header.unwrap().photometric_interpretation;
        inverted += usize::from(photometric == "MONOCHROME1");
    }
    assert!((6..=18).contains(&inverted), "{inverted} of 24");
}

/// A whole run, with every stage and figure, grouped by the patients of the headers: nothing in its folder identifies one.
#[test]
fn no_file_of_a_run_identifies_a_patient() {
    let home = tempfile::tempdir().unwrap();
    let stages = r#"pipeline.stages=["index","eda","augment-preview","train","evaluate","overlays","report"]"#;
    let run = tiny::run(home.path(), &[stages, "demo.phantom.format=dicom"]);
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    assert!(report.contains("DICOM header"), "{report}");
    let manifest = fs::read_to_string(run.join("manifest.csv")).unwrap();
    let header = manifest.lines().next().unwrap();
    for column in ["age", "modality", "sex", "study", "view", "rows_mm"] {
        assert!(header.split(',').any(|name| name == column), "{header}");
    }
    let phantoms = files(&home.path().join("runs/.phantom"));
    let mut secrets: Vec<String> = ["Phantom^", "PHANTOM-0", "PHANTOM0", "20200102"]
        .map(str::to_owned)
        .into();
    for image in with_extension(&phantoms, "dcm") {
        let header = dicom::header(&fs::read(image).unwrap(), &ReadOptions::default()).unwrap();
        secrets.extend([header.study_uid, header.series_uid].into_iter().flatten());
        secrets.extend(header.sop_instance_uid);
    }
    assert!(secrets.len() > 100);
    for file in files(&run) {
        let bytes = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in &secrets {
            assert!(
                !text.contains(secret.as_str()),
                "{secret} in {}",
                file.display()
            );
        }
    }
}

/// Radiographs of 40×40 pixels.
fn radiographs(folder: &Path) -> Vec<PathBuf> {
    let one = ClassImages {
        normal: 1,
        pneumonia: 1,
    };
    let config = PhantomConfig {
        size: 40,
        train: one,
        val: one,
        test: one,
        format: PhantomFormat::Dicom,
        ..PhantomConfig::default()
    };
    let made = generate(&folder.join("phantom"), &config).unwrap();
    files(&made.images)
}

fn predictor(folder: &Path) -> Predictor {
    let model = folder.join("model.safetensors");
    small::checkpoint().save(&model).unwrap();
    Predictor::open(&model).unwrap()
}

fn pixels(path: &Path) -> Vec<u8> {
    image::open(path).unwrap().into_bytes()
}

fn dicom_pixels(path: &Path) -> Vec<u8> {
    let read = dicom::read(&fs::read(path).unwrap(), &ReadOptions::default());
    read.unwrap().pixels.into_bytes()
}

#[test]
fn results_of_dicom_images_are_also_written_as_dicom() {
    let folder = tempfile::tempdir().unwrap();
    let predictor = predictor(folder.path()).with_dicom(Segments::Binary);
    let out = folder.path().join("out");
    let mut set = 0;
    for image in radiographs(folder.path()) {
        let found = predictor.predict(&image, &out).unwrap();
        let written = found.dicom.clone().unwrap();
        let (segmentation, overlay) = (written.segmentation.unwrap(), written.overlay.unwrap());
        let mask = pixels(found.segmentation.as_ref().unwrap().mask.as_ref().unwrap());
        assert_eq!(dicom_pixels(&segmentation), mask);
        assert_eq!(
            dicom_pixels(&overlay),
            pixels(found.overlay.as_ref().unwrap())
        );
        set += mask.iter().filter(|value| **value == 255).count();

        // The patient is only in the DICOM files.
        let bytes = fs::read(&segmentation).unwrap();
        let has = |text: &str| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        let trace = serde_json::to_string(&found).unwrap() + &found.in_words();
        assert!(trace.contains(".seg.dcm") && trace.contains(".overlay.dcm"));
        for secret in ["Phantom^", "PHANTOM-0", "PHANTOM0", "20200102"] {
            assert!(has(secret) && !trace.contains(secret), "{secret}");
        }
        // Equal predictions are equal files.
        let again = predictor
            .predict(&image, &folder.path().join("again"))
            .unwrap();
        let again = again.dicom.unwrap();
        assert_eq!(bytes, fs::read(again.segmentation.unwrap()).unwrap());
        let overlays = [overlay, again.overlay.unwrap()].map(|file| fs::read(file).unwrap());
        assert_eq!(overlays[0], overlays[1]);
    }
    assert!(set > 0);
}

#[test]
fn fractional_segmentations_round_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let predictor = predictor(folder.path()).with_dicom(Segments::Fractional);
    let image = &radiographs(folder.path())[0];
    let found = predictor.predict(image, folder.path()).unwrap();
    let values = dicom_pixels(&found.dicom.unwrap().segmentation.unwrap());
    let mask = pixels(&found.segmentation.unwrap().mask.unwrap());
    assert!(values.iter().any(|value| ![0, 255].contains(value)));
    for (value, class) in values.iter().zip(mask) {
        // Two classes: the more probable one has at least a half.
        assert!(if class == 255 {
            *value >= 127
        } else {
            *value <= 128
        });
    }
}

#[test]
fn dicom_results_of_other_images_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let predictor = predictor(folder.path()).with_dicom(Segments::Binary);
    let image = folder.path().join("film.png");
    image::GrayImage::new(8, 8).save(&image).unwrap();
    let out = folder.path().join("out");
    let error = format!("{:#}", predictor.predict(&image, &out).unwrap_err());
    for part in ["film.png", "not a DICOM file", "--dicom-out"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!out.exists());
}
