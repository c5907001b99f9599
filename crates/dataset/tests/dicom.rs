//! Data sets of DICOM files: attributes, patients, and nothing that identifies a person.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::dicom::{ACCESSION, BIRTH, NAME, Planted, write};
use crate::common::{picture, save};
use dataset::{
    DataLayout, Eda, EdaConfig, IndexConfig, Manifest, PatientRule, PatientSource, SplitFolders,
    index,
};

fn images(root: &Path) -> IndexConfig {
    IndexConfig {
        root: root.to_owned(),
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        ..IndexConfig::default()
    }
}

fn csv(manifest: &Manifest, folder: &Path) -> String {
    let path = folder.join("manifest.csv");
    manifest.write_csv(&path).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn headers_give_patients_and_attributes_but_no_identity() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let planted = |patient, study, age| Planted {
        patient: Some(patient),
        study: Some(study),
        age,
        grey: 4095,
        ..Planted::default()
    };
    write(root, "a.dcm", planted("HN-884-1", "1.2.3", "034Y"));
    write(root, "b.dcm", planted("HN-884-1", "1.2.4", "006M"));
    write(root, "c.dcm", planted("HN-884-2", "1.2.5", "093Y"));
    save(&picture(1), &root.join("d.png"));
    let manifest = index(&images(root)).unwrap();
    let [a, b, c, png] = manifest.rows() else {
        panic!("four rows")
    };
    assert!(a.patient == b.patient && a.patient != c.patient);
    assert_eq!((a.patient.len(), png.patient.as_str()), (16, "d.png"));
    let ages = [a, b, c].map(|r| r.attributes["age"].as_str());
    assert_eq!(ages, ["34", "0.5", "90"]);
    assert_eq!(a.attributes["view"], "PA");
    assert!(a.attributes["study"] != b.attributes["study"]);
    let spacing = a.spacing.unwrap();
    assert_eq!(
        (spacing.rows_mm, spacing.columns_mm, spacing.at),
        (0.2, 0.1, imaging::SpacingAt::Detector)
    );
    let sources: Vec<_> = manifest.patient_sources().iter().collect();
    assert_eq!(sources, [(&PatientSource::Header, &3)]);
    let text = csv(&manifest, tempfile::tempdir().unwrap().path());
    let header = text.lines().next().unwrap();
    assert!(
        header.ends_with("min,max,age,modality,sex,spacing_at,study,view,rows_mm,columns_mm"),
        "{header}"
    );
    let eda = Eda::new(&manifest, &EdaConfig::default()).unwrap();
    let everything = text + &serde_json::to_string(&eda).unwrap() + &format!("{manifest:?}");
    for secret in [NAME, BIRTH, ACCESSION, "HN-884", "1.2.3", "1.2.4"] {
        assert!(!everything.contains(secret), "{secret}");
    }
    // The same data give the same keys.
    assert_eq!(index(&images(root)).unwrap().rows()[0].patient, a.patient);
}

#[test]
fn rules_come_before_headers() {
    let dir = tempfile::tempdir().unwrap();
    let planted = Planted {
        patient: Some("1"),
        study: Some("1.2"),
        ..Planted::default()
    };
    write(dir.path(), "p7_a.dcm", planted);
    write(dir.path(), "other.dcm", planted);
    let mut config = images(dir.path());
    config.patients = vec![PatientRule {
        pattern: r"^p(?<number>\d+)".into(),
        template: String::new(),
        prefix: String::new(),
    }];
    let manifest = index(&config).unwrap();
    let [other, seven] = manifest.rows() else {
        panic!("two rows")
    };
    assert_eq!((seven.patient.as_str(), other.patient.len()), ("7", 16));
}

/// Programs that remove identifiers write the same one everywhere.
#[test]
fn a_placeholder_is_no_patient() {
    let dir = tempfile::tempdir().unwrap();
    for (name, study) in [("a", "1.1"), ("b", "1.1"), ("c", "1.2"), ("d", "1.3")] {
        let planted = Planted {
            patient: Some("ANONYMOUS"),
            study: Some(study),
            ..Planted::default()
        };
        write(dir.path(), &format!("{name}.dcm"), planted);
    }
    let manifest = index(&images(dir.path())).unwrap();
    let patients: BTreeSet<_> = manifest.rows().iter().map(|r| &r.patient).collect();
    assert_eq!(patients.len(), 3);
    let notes = manifest.notes().join(" ");
    assert!(notes.contains("each study counts as a patient"), "{notes}");
}

#[test]
fn what_identifies_or_is_invisible_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for (name, grey) in [("MRN-0815/a", 100), ("x/b", 900)] {
        let planted = Planted {
            patient: Some("MRN-0815"),
            burned_in: grey == 100,
            grey,
            ..Planted::default()
        };
        write(dir.path(), &format!("{name}.dcm"), planted);
    }
    let notes = index(&images(dir.path())).unwrap().notes().join(" ");
    for expected in [
        "1 image has text in the pixels",
        "1 image has the Patient ID in the path",
        "use only 19.5 % of the range",
    ] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
}

#[test]
fn twelve_bits_in_files_of_sixteen_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let dim = |x: u32, _| image::Luma([(x * 100) as u16]);
    let image = image::ImageBuffer::<image::Luma<u16>, _>::from_fn(40, 4, dim);
    save(
        &image::DynamicImage::ImageLuma16(image),
        &dir.path().join("a.png"),
    );
    let mut config = images(dir.path());
    let notes = index(&config).unwrap().notes().join(" ");
    assert!(notes.contains("set image.bits = 12"), "{notes}");
    config.decoder.tones.bits = Some(12);
    let manifest = index(&config).unwrap();
    assert!(manifest.notes().is_empty(), "{:?}", manifest.notes());
    assert!((manifest.rows()[0].range[1] - 3900.0 / 4095.0).abs() < 1e-4);
}

/// A hospital's export: a folder per patient, files named by numbers or UIDs, a table of contents, and a viewer.
#[test]
fn exports_have_files_without_an_extension() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (file, study) in [
        ("PAT01/IM0001", "1.2.3"),
        ("PAT01/IM0002", "1.2.3"),
        ("PAT02/1.2.840.113.1", "1.2.4"),
        ("PAT02/1.2.840.113.2", "1.2.5"),
    ] {
        let planted = Planted {
            study: Some(study),
            grey: 100,
            ..Planted::default()
        };
        write(root, file, planted);
    }
    write(root, "DICOMDIR", Planted::default());
    std::fs::write(root.join("README"), "Open VIEWER.EXE").unwrap();
    let manifest = index(&images(root)).unwrap();
    let paths: Vec<&str> = manifest.rows().iter().map(|r| r.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "PAT01/IM0001",
            "PAT01/IM0002",
            "PAT02/1.2.840.113.1",
            "PAT02/1.2.840.113.2"
        ]
    );
    let groups: Vec<_> = manifest
        .left_out()
        .iter()
        .map(|g| (g.files, g.what.as_str()))
        .collect();
    assert_eq!(groups, [(1, "without an extension"), (1, "DICOMDIR")]);
    assert_eq!(
        manifest.patients_in_words(),
        "Patients are told apart by the study in the DICOM header (4 images)."
    );
    // A rule sees the folder, and a UID as a whole.
    let rule = |pattern: &str| IndexConfig {
        patients: vec![PatientRule {
            pattern: pattern.to_owned(),
            template: String::new(),
            prefix: String::new(),
        }],
        ..images(root)
    };
    let keys = |config: &IndexConfig| -> Vec<String> {
        let manifest = index(config).unwrap();
        manifest.rows().iter().map(|r| r.patient.clone()).collect()
    };
    assert_eq!(keys(&rule("^PAT(?<n>[0-9]+)$")), ["01", "01", "02", "02"]);
    assert_eq!(
        keys(&rule("^1\\.2\\.840\\.113\\.(?<n>[0-9])"))[2..],
        ["1", "2"]
    );
}
