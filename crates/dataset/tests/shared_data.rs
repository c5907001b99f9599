//! Facts about the real data sets, if they are present.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::collections::BTreeSet;

use crate::common::{config, shared};
use dataset::{
    Eda, EdaConfig, IndexConfig, Loader, LoaderConfig, MaskConfig, Split, SplitFolders,
    SplitPolicy, Splits, index,
};

#[test]
#[ignore = "reads ../shared, which is not in the repository: cargo xtask test runs it if that exists"]
fn shared_kaggle_pneumonia_is_as_published() {
    let root = shared("data/chest_xray");
    let masks = Some(MaskConfig::tree(shared("data/chest_xray_lungs")));
    let manifest = index(&IndexConfig {
        masks,
        ..config(&root)
    })
    .unwrap();
    assert_eq!(
        (manifest.rows().len(), manifest.bad_images().len()),
        (5856, 0)
    );
    assert_eq!(manifest.unmatched_patients(), 0);
    assert_eq!(
        manifest.rows().iter().filter(|r| r.has_mask()).count(),
        5836
    );
    let missing = manifest.mask_faults().iter().filter(|fault| fault.missing);
    assert_eq!((missing.count(), manifest.mask_faults().len()), (20, 20));
    let eda = Eda::new(&manifest, &EdaConfig::default()).unwrap();
    let counts: Vec<Vec<usize>> = eda
        .splits
        .iter()
        .map(|s| s.classes.iter().map(|c| c.images).collect())
        .collect();
    assert_eq!(counts, [[1341, 3875], [8, 8], [234, 390]]);
    assert_eq!(eda.splits[0].classes[1].patients, 2443);
    let files: usize = eda.duplicates.iter().map(|group| group.paths.len()).sum();
    assert_eq!((eda.duplicates.len(), files), (30, 62));
    assert!(
        !eda.duplicates
            .iter()
            .any(|g| g.crosses_splits || g.crosses_classes)
    );
    let train_and_test = |s: &dataset::SplitCount| s.split != "val";
    let shared = eda
        .leaked_patients
        .iter()
        .filter(|l| l.splits.iter().all(train_and_test));
    assert_eq!(shared.count(), 0);
    assert_eq!(eda.images_per_patient.last().unwrap().images, 30);
    eprintln!("{:#?}", eda.warnings);

    let splits = Splits::new(&manifest, &SplitPolicy::default(), None).unwrap();
    assert_eq!(
        splits.train.len() + splits.val.len() + splits.dropped.len(),
        5232
    );
    assert_eq!(manifest.class_counts(&splits.val), [135, 388]);
    let patients = |split| {
        let rows = splits.rows(split).iter();
        rows.map(|&row| manifest.rows()[row].patient.as_str())
            .collect::<BTreeSet<_>>()
    };
    let [train, val, test] = Split::ALL.map(patients);
    assert!(train.is_disjoint(&val) && train.is_disjoint(&test) && val.is_disjoint(&test));

    let settings = LoaderConfig {
        height: 64,
        width: 64,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(&manifest, splits.val[..64].to_vec(), settings).unwrap();
    for batch in loader.epoch(0) {
        let batch = batch.unwrap();
        let masks = batch.masks.unwrap();
        let known: Vec<f32> = masks.into_iter().filter(|v| v.is_finite()).collect();
        let share = known.iter().sum::<f32>() / known.len() as f32;
        assert!((0.1..0.6).contains(&share), "lungs cover {share}");
    }
}

#[test]
#[ignore = "reads ../shared, which is not in the repository: cargo xtask test runs it if that exists"]
fn shared_brain_tumor_has_two_folders_and_four_classes() {
    let root = shared("data/brain_tumor");
    let splits = SplitFolders::new(Some("Training"), None, Some("Testing"));
    let manifest = index(&IndexConfig {
        root,
        splits,
        class_names: [("glioma_tumor".to_owned(), "glioma".to_owned())].into(),
        ..IndexConfig::default()
    })
    .unwrap();
    assert_eq!((manifest.rows().len(), manifest.classes().len()), (3264, 4));
    assert_eq!(manifest.classes()[0], "glioma");
    assert!(manifest.rows().iter().all(|r| r.width.max(r.height) <= 224));
    let splits = Splits::new(&manifest, &SplitPolicy::default(), Some(50)).unwrap();
    assert_eq!(manifest.class_counts(&splits.train), [50, 50, 50, 50]);
}
