use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::made_up::{Row, manifest, manifest_of};

/// Patients of one class with 1 to 6 images each, as in the real data; a few share a file.
fn rows(folders: &'static [Option<Split>]) -> impl Strategy<Value = Vec<Row>> {
    let patient = (0..folders.len(), 0_usize..3, 1_usize..7, any::<bool>());
    proptest::collection::vec(patient, 60..200).prop_map(move |patients| {
        let mut rows = Vec::new();
        for (number, (folder, class, images, shares)) in patients.into_iter().enumerate() {
            for _ in 0..images {
                // Every second patient may share a file with the next one.
                let shared = shares && rows.len() % 5 == 0;
                let content = if shared {
                    number as u32 / 2
                } else {
                    1000 + rows.len() as u32
                };
                rows.push((folders[folder], class, number as u32, content));
            }
        }
        rows
    })
}

fn keys(manifest: &Manifest, rows: &[usize]) -> BTreeSet<(bool, String)> {
    let both = |&row: &usize| {
        let record = &manifest.rows()[row];
        [
            (false, record.patient.clone()),
            (true, record.sha256.clone()),
        ]
    };
    rows.iter().flat_map(both).collect()
}

fn assert_apart(manifest: &Manifest, splits: &Splits) {
    let [train, val, test] = Split::ALL.map(|split| keys(manifest, splits.rows(split)));
    assert!(train.is_disjoint(&val) && train.is_disjoint(&test) && val.is_disjoint(&test));
}

/// Asserts that each class's count is within two of the largest groups of its target: patients that share a file may be
/// of two classes, and a group that one class needs is drawn even if it has too many images of the other.
fn assert_share(manifest: &Manifest, part: &[usize], pool: usize, counts: &[usize], share: f64) {
    let within = 24.0_f64.max(pool as f64 * 0.02);
    for (class, count) in manifest.class_counts(part).into_iter().enumerate() {
        let wanted = (counts[class] as f64 * share).max(1.0);
        assert!(
            (count as f64 - wanted).abs() <= within,
            "class {class}: {count} for {wanted}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn validation_separates_patients_and_keeps_the_shares(
        rows in rows(&[Some(Split::Train), Some(Split::Train), Some(Split::Val), Some(Split::Test)]),
        fraction in 0.05_f64..0.4,
        seed in any::<u64>(),
    ) {
        let manifest = manifest(3, &rows);
        let policy = SplitPolicy::ValidationFromTrain { fraction, seed, official_val: OfficialVal::MergeIntoTrain };
        let Ok(splits) = Splits::new(&manifest, &policy, None) else { return Ok(()) };
        assert_apart(&manifest, &splits);
        let pool: Vec<usize> = splits.train.iter().chain(&splits.val).copied().collect();
        assert_share(&manifest, &splits.val, pool.len(), &manifest.class_counts(&pool), fraction);
        prop_assert_eq!(pool.len() + splits.test.len() + splits.dropped.len(), rows.len());
        prop_assert_eq!(&splits, &Splits::new(&manifest, &policy, None).unwrap());
    }

    /// Over all folds: every row of the pool is validation exactly once, patients and files stay together, classes are
    /// spread as evenly as indivisible groups allow, and the seed alone decides.
    #[test]
    fn folds_partition_the_pool_by_patient_and_class(
        rows in rows(&FOLDERS),
        folds in 2_usize..7,
        seed in any::<u64>(),
    ) {
        let manifest = manifest(3, &rows);
        let split = |fold| {
            let policy = SplitPolicy::Fold { fold, folds, by: FoldBy::Class, seed, official_val: OfficialVal::MergeIntoTrain };
            Splits::new(&manifest, &policy, None)
        };
        let Ok(all) = (1..=folds).map(split).collect::<Result<Vec<_>, _>>() else { return Ok(()) };
        let mut validated = vec![];
        for splits in &all {
            assert_apart(&manifest, splits);
            let mut pool = [splits.train.as_slice(), &splits.val].concat();
            pool.sort_unstable();
            let counts = manifest.class_counts(&pool);
            assert_share(&manifest, &splits.val, pool.len(), &counts, 1.0 / folds as f64);
            prop_assert_eq!(pool.len() + splits.test.len() + splits.dropped.len(), rows.len());
            prop_assert_eq!((&splits.test, &splits.dropped), (&all[0].test, &all[0].dropped));
            validated.extend(splits.val.iter().copied());
        }
        validated.sort_unstable();
        let mut pool = [all[0].train.as_slice(), &all[0].val].concat();
        pool.sort_unstable();
        prop_assert_eq!(validated, pool);
        for (i, a) in all.iter().enumerate() {
            prop_assert_eq!(a, &split(i + 1).unwrap());
            for b in &all[i + 1..] {
                prop_assert!(keys(&manifest, &a.val).is_disjoint(&keys(&manifest, &b.val)));
            }
        }
    }

    /// Where every patient has one class and no file is shared, the folds' counts of a class differ by no more than
    /// its largest patient.
    #[test]
    fn folds_differ_by_one_patient_at_most(
        patients in proptest::collection::vec((0_usize..3, 1_usize..9), 40..120),
        folds in 2_usize..6,
        seed in any::<u64>(),
    ) {
        let mut rows: Vec<Row> = plain(&[Some(Split::Test)], 20);
        (0..3).for_each(|class| rows.push((Some(Split::Test), class, 900 + class as u32, 900 + class as u32)));
        for (number, (class, images)) in patients.iter().enumerate() {
            for _ in 0..*images {
                rows.push((Some(Split::Train), *class, 1000 + number as u32, 1000 + rows.len() as u32));
            }
        }
        let manifest = manifest(3, &rows);
        let counts = (1..=folds).map(|fold| {
            let policy = SplitPolicy::Fold { fold, folds, by: FoldBy::Class, seed, official_val: OfficialVal::Drop };
            Splits::new(&manifest, &policy, None).map(|splits| manifest.class_counts(&splits.val))
        });
        let Ok(counts) = counts.collect::<Result<Vec<_>, _>>() else { return Ok(()) };
        for class in 0..3 {
            let of = counts.iter().map(|counts| counts[class]);
            let largest = patients.iter().filter(|(c, _)| *c == class).map(|(_, images)| *images).max();
            let (most, least) = (of.clone().max().unwrap_or(0), of.min().unwrap_or(0));
            prop_assert!(most - least <= largest.unwrap_or(0), "{counts:?}");
        }
    }

    #[test]
    fn holdout_separates_patients_and_keeps_the_shares(
        rows in rows(&[None]),
        val in 0.1_f64..0.3,
        test in 0.1_f64..0.3,
        seed in any::<u64>(),
    ) {
        let manifest = manifest(3, &rows);
        let splits = Splits::new(&manifest, &SplitPolicy::Holdout { val, test, seed }, None).unwrap();
        assert_apart(&manifest, &splits);
        let all: Vec<usize> = (0..rows.len()).collect();
        let counts = manifest.class_counts(&all);
        assert_share(&manifest, &splits.test, all.len(), &counts, test);
        assert_share(&manifest, &splits.val, all.len(), &counts, val);
        let mut assigned = [splits.train, splits.val, splits.test].concat();
        assigned.sort_unstable();
        prop_assert_eq!(assigned, all);
    }
}

/// `n` patients of one image each in every class and folder.
fn plain(folders: &[Option<Split>], n: u32) -> Vec<Row> {
    let mut rows = Vec::new();
    for &folder in folders {
        for i in 0..2 * n {
            let id = rows.len() as u32;
            rows.push((folder, (i % 2) as usize, id, id));
        }
    }
    rows
}

const FOLDERS: [Option<Split>; 3] = [Some(Split::Train), Some(Split::Val), Some(Split::Test)];

fn from_train(fraction: f64, seed: u64, official_val: OfficialVal) -> SplitPolicy {
    SplitPolicy::ValidationFromTrain {
        fraction,
        seed,
        official_val,
    }
}

#[test]
fn the_val_folder_is_merged_or_dropped() {
    let manifest = manifest(2, &plain(&FOLDERS, 20));
    let check = |policy: SplitPolicy, expected: [usize; 3]| {
        let splits = Splits::new(&manifest, &policy, None).unwrap();
        assert_eq!(
            Split::ALL.map(|split| splits.rows(split).len()),
            expected,
            "{policy:?}"
        );
    };
    check(SplitPolicy::Official, [40, 40, 40]);
    check(
        from_train(0.25, 3, OfficialVal::MergeIntoTrain),
        [60, 20, 40],
    );
    check(from_train(0.25, 3, OfficialVal::Drop), [30, 10, 40]);
}

#[test]
fn different_seeds_give_different_draws() {
    let manifest = manifest(2, &plain(&FOLDERS, 50));
    let val = |seed| {
        Splits::new(&manifest, &from_train(0.2, seed, OfficialVal::Drop), None)
            .unwrap()
            .val
    };
    assert_eq!(val(1), val(1));
    assert_ne!(val(1), val(2));
}

#[test]
fn training_rows_of_a_test_patient_are_dropped() {
    let mut rows = plain(&FOLDERS, 20);
    rows[0].2 = rows[110].2;
    rows[1].3 = rows[111].3;
    let manifest = manifest(2, &rows);
    let splits = Splits::new(&manifest, &SplitPolicy::default(), None).unwrap();
    assert_eq!(splits.dropped, [0, 1]);
    assert_apart(&manifest, &splits);
}

#[test]
fn a_limit_balances_the_classes_and_nests() {
    let manifest = manifest(2, &plain(&FOLDERS, 30));
    let limited = |n| Splits::new(&manifest, &SplitPolicy::Official, Some(n)).unwrap();
    let (five, ten) = (limited(5), limited(10));
    assert_eq!(manifest.class_counts(&five.train), [5, 5]);
    assert!(five.test.iter().all(|row| ten.test.contains(row)));
    assert!(Splits::new(&manifest, &SplitPolicy::Official, Some(0)).is_err());
}

#[test]
fn folds_follow_the_seed_and_leave_the_test_alone() {
    let manifest = manifest(2, &plain(&FOLDERS, 40));
    let fold = |fold, seed, official_val| {
        let policy = SplitPolicy::Fold {
            fold,
            folds: 5,
            by: FoldBy::Class,
            seed,
            official_val,
        };
        Splits::new(&manifest, &policy, None).unwrap()
    };
    let (a, b) = (
        fold(1, 1, OfficialVal::MergeIntoTrain),
        fold(1, 2, OfficialVal::MergeIntoTrain),
    );
    assert_ne!(a.val, b.val);
    assert_eq!((a.train.len(), a.val.len()), (128, 32));
    let dropped = fold(3, 1, OfficialVal::Drop);
    assert_eq!((dropped.train.len(), dropped.val.len()), (64, 16));
    let test = fold(1, 1, OfficialVal::Drop).test;
    assert!([&b, &dropped].iter().all(|splits| splits.test == test));
    assert_eq!(manifest.class_counts(&dropped.val), [8, 8]);
}

#[test]
fn impossible_splits_are_errors_with_a_remedy() {
    let train_test = plain(&[FOLDERS[0], FOLDERS[2]], 20);
    let no_folders = plain(&[None], 20);
    let one_patient: Vec<Row> = train_test
        .iter()
        .map(|&(s, c, p, h)| (s, c, if c == 1 && s == FOLDERS[0] { 999 } else { p }, h))
        .collect();
    let check = |rows: &[Row], policy: SplitPolicy, expected: &str| {
        let text = Splits::new(&manifest(2, rows), &policy, None)
            .unwrap_err()
            .to_string();
        assert!(text.contains(expected), "{text}");
    };
    check(&train_test, SplitPolicy::Official, "from_train");
    check(&no_folders, SplitPolicy::default(), "holdout");
    check(
        &one_patient,
        SplitPolicy::default(),
        "each class needs more",
    );
    check(
        &train_test,
        from_train(0.0, 0, OfficialVal::Drop),
        "fraction",
    );
    check(
        &train_test,
        from_train(f64::NAN, 0, OfficialVal::Drop),
        "fraction",
    );
    let fold = |fold, folds| SplitPolicy::Fold {
        fold,
        folds,
        by: FoldBy::Class,
        seed: 0,
        official_val: OfficialVal::Drop,
    };
    check(&train_test, fold(1, 1), "folds");
    check(&train_test, fold(0, 3), "must be from 1 to");
    check(&train_test, fold(4, 3), "must be from 1 to");
    check(&train_test, fold(1, 50), "each class needs more");
    check(
        &no_folders,
        SplitPolicy::Holdout {
            val: 0.5,
            test: 0.5,
            seed: 0,
        },
        "val + test",
    );
}

/// Images of two exposures and one odd size are three folds, dark first, whatever the seed; patients stay whole, so a
/// patient's odd image follows its others.
#[test]
fn folds_by_appearance_are_clusters() {
    let mut rows: Vec<Row> = plain(&[Some(Split::Train)], 60);
    let images = rows.len();
    rows.extend(
        plain(&[Some(Split::Test)], 8)
            .into_iter()
            .map(|(s, c, p, f)| (s, c, p + 500, f + 5000)),
    );
    // The second image of patient 0 looks like those of another cluster.
    rows[1].2 = rows[0].2;
    let looks = |row: usize| match row % 3 {
        _ if row == 1 => (0.61, 300),
        0 => (0.2 + 0.0001 * row as f64, 300),
        1 => (0.6 + 0.0001 * row as f64, 300),
        _ => (0.4, 900),
    };
    let manifest = manifest_of(2, &rows, |row, record| {
        (record.mean, record.width) = looks(row);
    });
    for seed in 0..5 {
        let fold = |fold| {
            let policy = SplitPolicy::Fold {
                fold,
                folds: 3,
                by: FoldBy::Appearance,
                seed,
                official_val: OfficialVal::Drop,
            };
            Splits::new(&manifest, &policy, None).unwrap()
        };
        let folds = [1, 2, 3].map(fold);
        folds
            .iter()
            .for_each(|splits| assert_apart(&manifest, splits));
        let [dark, odd, bright] = folds.map(|splits| splits.val);
        let of = |remainder| (0..images).filter(move |row| row % 3 == remainder);
        assert_eq!(odd, of(2).collect::<Vec<_>>());
        // Patient 0 is between the clusters and belongs to either, with both images.
        let ends = |rows: &[usize]| (rows.contains(&0), rows.contains(&1));
        assert_ne!(ends(&dark).0, ends(&bright).0);
        assert!(
            [&dark, &bright]
                .iter()
                .all(|rows| ends(rows).0 == ends(rows).1)
        );
        assert!(of(0).skip(1).all(|row| dark.contains(&row)));
        assert!(of(1).skip(1).all(|row| bright.contains(&row)));
    }
}

/// Each hospital is held out as a whole, or several together; a patient of two hospitals is in one fold.
#[test]
fn folds_by_an_attribute_hold_out_its_values() {
    let rows: Vec<Row> = plain(&[Some(Split::Train), Some(Split::Test)], 80);
    let site = |row: usize| match row % 10 {
        0..5 => Some("north"),
        5..8 => Some("east"),
        8 => Some("south"),
        _ => None,
    };
    let manifest = manifest_of(2, &rows, |row, record| {
        let site = site(row).map(|site| ("site".to_owned(), site.to_owned()));
        record.attributes.extend(site);
    });
    let fold = |fold, folds, name: &str| {
        let policy = SplitPolicy::Fold {
            fold,
            folds,
            by: FoldBy::Column(name.to_owned()),
            seed: 1,
            official_val: OfficialVal::Drop,
        };
        Splits::new(&manifest, &policy, None)
    };
    let sites = |rows: &[usize]| {
        let sites: BTreeSet<_> = rows.iter().map(|row| site(*row)).collect();
        sites
    };
    let two = [1, 2].map(|number| fold(number, 2, "site").unwrap());
    two.iter()
        .for_each(|splits| assert_apart(&manifest, splits));
    let mut held_out = two.map(|splits| sites(&splits.val));
    held_out.sort();
    let expected = [vec![None, Some("east"), Some("south")], vec![Some("north")]];
    assert_eq!(held_out, expected.map(BTreeSet::from_iter));
    let text = fold(1, 5, "site").unwrap_err().to_string();
    assert!(text.contains("4 different values"), "{text}");
    let text = fold(1, 2, "view").unwrap_err().to_string();
    assert!(text.contains("there are site"), "{text}");
}

/// Attributes may have no name that the frame has itself.
#[test]
fn all_columns_of_the_frame_are_reserved() {
    let manifest = manifest_of(1, &[(None, 0, 0, 0)], |_, record| {
        record.spacing = Some(imaging::PixelSpacing {
            rows_mm: 0.1,
            columns_mm: 0.1,
            at: imaging::SpacingAt::Patient,
        });
    });
    let columns: BTreeSet<String> = manifest
        .frame()
        .get_column_names()
        .iter()
        .map(|name| name.to_string())
        .collect();
    assert_eq!(columns, crate::manifest::COLUMNS.map(str::to_owned).into());
}
