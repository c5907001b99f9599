//! The analysis of a folder with every kind of fault.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use crate::common::{config, kaggle_like, picture, save};
use dataset::{Eda, EdaConfig, IndexConfig, Manifest, OfficialVal, SplitPolicy, Splits, index};

/// train 4 normal, 8 pneumonia; a patient in train and test; two pairs of copies.
fn faulty(dir: &std::path::Path) -> Manifest {
    kaggle_like(dir, [4, 2, 3]);
    let copy = |from: &str, to: &str| {
        std::fs::copy(dir.join(from), dir.join(to)).unwrap();
    };
    copy(
        "train/NORMAL/IM-0002-0000.jpeg",
        "train/PNEUMONIA/person700_virus_1.jpeg",
    );
    copy(
        "train/PNEUMONIA/person2_virus_0.jpeg",
        "test/PNEUMONIA/person2_virus_9.jpeg",
    );
    for i in 0..3 {
        let name = format!("train/PNEUMONIA/person4_virus_{}.jpeg", 50 + i);
        save(&picture(200 + i), &dir.join(name));
    }
    index(&config(dir)).unwrap()
}

#[test]
fn counts_audits_and_warns() {
    let dir = tempfile::tempdir().unwrap();
    let eda = Eda::new(&faulty(dir.path()), &EdaConfig::default()).unwrap();
    let train = &eda.splits[0];
    assert_eq!(
        (train.split.as_str(), train.images, train.patients),
        ("train", 12, 9)
    );
    let counts: Vec<_> = train
        .classes
        .iter()
        .map(|c| (c.images, c.patients))
        .collect();
    assert_eq!(counts, [(4, 4), (8, 5)]);
    assert_eq!(train.imbalance, Some(2.0));
    assert!((train.classes[1].share - 8.0 / 12.0).abs() < 1e-12);
    assert_eq!(
        eda.images_per_patient
            .iter()
            .map(|p| (p.images, p.patients))
            .collect::<Vec<_>>(),
        [(1, 17), (2, 1), (4, 1)]
    );
    assert_eq!((eda.sizes.distinct, eda.sizes.common[0].images), (1, 23));
    assert!((eda.sizes.aspect.median - 24.0 / 18.0).abs() < 1e-12);
    let [leak] = eda.leaked_patients.as_slice() else {
        panic!("one leak")
    };
    assert_eq!((leak.patient.as_str(), leak.splits.len()), ("virus-2", 2));
    let crossing =
        |of: fn(&dataset::DuplicateGroup) -> bool| eda.duplicates.iter().filter(|g| of(g)).count();
    assert_eq!(eda.duplicates.len(), 2);
    assert_eq!(crossing(|g| g.crosses_splits), 1);
    assert_eq!(crossing(|g| g.crosses_classes), 1);
    assert_eq!(crossing(|g| g.crosses_patients), 1);
    for expected in [
        "train: the largest class has 2.0 times",
        "val has 4 images",
        "1 patient with images in more than one split (virus-2",
        "2 groups of byte-identical files (4 files)",
        "1 group of byte-identical files (2 files) lie in more than one split",
        "carry more than one label",
    ] {
        assert!(
            eda.warnings.iter().any(|w| w.contains(expected)),
            "{expected}: {:#?}",
            eda.warnings
        );
    }
}

/// A copy or patient of the test that training leaves out has not leaked, and unassigned images are not a split.
#[test]
fn images_left_out_are_not_leaks() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = faulty(dir.path());
    let policy = SplitPolicy::ValidationFromTrain {
        fraction: 0.3,
        seed: 1,
        official_val: OfficialVal::MergeIntoTrain,
    };
    let splits = Splits::new(&manifest, &policy, None).unwrap();
    let eda = Eda::new(
        &manifest.with_splits(&splits).unwrap(),
        &EdaConfig::default(),
    )
    .unwrap();
    assert!(!eda.duplicates.is_empty() && eda.splits.iter().any(|s| s.split == "unassigned"));
    assert!(!eda.duplicates.iter().any(|group| group.crosses_splits));
    assert!(eda.leaked_patients.is_empty());
    let warns = |part: &str| eda.warnings.iter().any(|w| w.contains(part));
    assert!(
        !warns("more than one split") && !warns("unassigned"),
        "{:#?}",
        eda.warnings
    );
}

#[test]
fn histograms_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = faulty(dir.path());
    let config = EdaConfig { bins: 8 };
    let eda = Eda::new(&manifest, &config).unwrap();
    for class in &eda.intensity {
        assert!((class.pixel_histogram.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((0.0..=1.0).contains(&class.mean) && class.contrast > 0.0);
    }
    let images: usize = eda.intensity.iter().flat_map(|c| &c.mean_histogram).sum();
    assert_eq!(images, manifest.rows().len());
    assert_eq!(eda, Eda::new(&manifest, &config).unwrap());
    assert!(
        serde_json::to_string(&eda)
            .unwrap()
            .contains("\"leaked_patients\"")
    );
    for bins in [0, 257] {
        assert!(Eda::new(&manifest, &EdaConfig { bins }).is_err());
    }
}

#[test]
fn training_splits_replace_the_folders() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = faulty(dir.path());
    let policy = SplitPolicy::ValidationFromTrain {
        fraction: 0.3,
        seed: 0,
        official_val: OfficialVal::Drop,
    };
    let splits = Splits::new(&manifest, &policy, None).unwrap();
    let eda = Eda::new(
        &manifest.with_splits(&splits).unwrap(),
        &EdaConfig::default(),
    )
    .unwrap();
    let names: Vec<_> = eda
        .splits
        .iter()
        .map(|s| (s.split.as_str(), s.images))
        .collect();
    let expected = [
        ("train", splits.train.len()),
        ("val", splits.val.len()),
        ("test", splits.test.len()),
        ("unassigned", 4 + splits.dropped.len()),
    ];
    assert_eq!(names, expected);
    assert!(eda.leaked_patients.is_empty() && splits.dropped.len() == 1);
}

#[test]
fn class_folders_without_splits_are_analysed_too() {
    let dir = tempfile::tempdir().unwrap();
    kaggle_like(dir.path(), [5, 1, 1]);
    let flat = IndexConfig {
        splits: dataset::SplitFolders::none(),
        ..config(&dir.path().join("train"))
    };
    let eda = Eda::new(&index(&flat).unwrap(), &EdaConfig::default()).unwrap();
    assert_eq!(
        (eda.splits.len(), eda.splits[0].split.as_str()),
        (1, "unassigned")
    );
}
