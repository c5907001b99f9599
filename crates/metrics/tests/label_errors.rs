//! Compares label errors with cleanlab (`label_errors.json`, made by `label_errors.py` in this folder).

// clippy.toml allows unwrap in tests, but not in helpers outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use metrics::*;
use proptest::prelude::*;
use serde_json::Value;

/// Only the last digits may differ, because of the order of sums.
const TOLERANCE: f64 = 1e-9;

const FILTERS: [LabelErrorFilter; 4] = [
    LabelErrorFilter::PruneByNoiseRate,
    LabelErrorFilter::PruneByClass,
    LabelErrorFilter::Both,
    LabelErrorFilter::ConfidentLearning,
];
const SCORES: [LabelQuality; 2] = [LabelQuality::SelfConfidence, LabelQuality::NormalizedMargin];

fn fixture() -> Value {
    serde_json::from_str(include_str!("label_errors.json")).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// The name by which both serde and cleanlab know a filter or score.
fn name(value: impl serde::Serialize) -> String {
    read(&serde_json::to_value(value).unwrap())
}

fn inputs(case: &Value) -> (Vec<usize>, Probabilities) {
    let values: Vec<f64> = read(&case["probabilities"]);
    let probabilities = Probabilities::new(read(&case["classes"]), &values).unwrap();
    (read(&case["labels"]), probabilities)
}

#[track_caller]
fn check_all(what: &str, actual: &[f64], expected: &Value) {
    let expected: Vec<f64> = read(expected);
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (actual, expected) in actual.iter().zip(&expected) {
        let close = (actual - expected).abs() <= TOLERANCE;
        assert!(close, "{what}: {actual}, expected {expected}");
    }
}

fn check_issues(case: &Value) {
    let (labels, probabilities) = inputs(case);
    for filter in FILTERS {
        for score in SCORES {
            let found = label_errors(&labels, &probabilities, filter, score).unwrap();
            let expected: Vec<usize> = read(&case["issues"][name(filter)][name(score)]);
            assert_eq!(found, expected, "{} {filter:?} {score:?}", case["name"]);
        }
    }
}

fn check_joint(case: &Value) {
    let (labels, probabilities) = inputs(case);
    let joint = ConfidentJoint::new(&labels, &probabilities).unwrap();
    let expected: Vec<Option<f64>> = read(&case["thresholds"]);
    assert_eq!(joint.thresholds().len(), expected.len());
    for (threshold, expected) in joint.thresholds().iter().zip(expected) {
        assert_eq!(threshold.is_some(), expected.is_some());
        let difference = threshold.unwrap_or(0.0) - expected.unwrap_or(0.0);
        assert!(difference.abs() <= TOLERANCE, "{difference}");
    }
    assert_eq!(joint.counts(), read::<Vec<u64>>(&case["counts"]));
    assert_eq!(joint.calibrated(), read::<Vec<u64>>(&case["calibrated"]));
    check_all("joint", &joint.joint(), &case["joint"]);
    check_all("noise matrix", &joint.noise_matrix(), &case["noise_matrix"]);
    let shares: Vec<f64> = read(&case["joint"]);
    let correct: f64 = shares.iter().step_by(joint.classes() + 1).sum();
    assert!((joint.error_rate() - (1.0 - correct)).abs() <= TOLERANCE);
}

#[test]
fn joints_and_scores_agree_with_cleanlab() {
    for case in fixture()["cases"].as_array().unwrap() {
        check_joint(case);
        let (labels, probabilities) = inputs(case);
        for score in SCORES {
            let quality = label_quality(&labels, &probabilities, score).unwrap();
            check_all("quality", &quality, &case["quality"][name(score)]);
        }
    }
}

#[test]
fn label_errors_agree_with_cleanlab() {
    for case in fixture()["cases"].as_array().unwrap() {
        check_issues(case);
    }
}

/// One label in twenty is flipped: precision and recall are those of cleanlab.
#[test]
fn planted_errors_are_found_as_by_cleanlab() {
    let planted = &fixture()["planted"];
    check_issues(planted);
    let (labels, probabilities) = inputs(planted);
    let found = label_errors(
        &labels,
        &probabilities,
        LabelErrorFilter::default(),
        LabelQuality::default(),
    );
    let (found, flipped): (_, Vec<usize>) = (found.unwrap(), read(&planted["flipped"]));
    let hits = found.iter().filter(|i| flipped.contains(i)).count() as f64;
    let precision = hits / found.len() as f64;
    let recall = hits / flipped.len() as f64;
    println!("planted label errors: precision {precision:.4}, recall {recall:.4}");
    assert_eq!(precision, read::<f64>(&planted["precision"]));
    assert_eq!(recall, read::<f64>(&planted["recall"]));
}

/// Labels of up to five classes, some absent, and rows of probabilities with ties.
fn arbitrary() -> impl Strategy<Value = (usize, Vec<usize>, Vec<f64>)> {
    (1..=5usize, 1..40usize).prop_flat_map(|(classes, n)| {
        let weights = prop::collection::vec(0..4u32, classes * n);
        let labels = prop::collection::vec(0..classes, n);
        (Just(classes), labels, weights).prop_map(|(classes, labels, weights)| {
            let rows = weights.chunks_exact(classes);
            let normalized = rows.flat_map(|row| {
                let sum: u32 = row.iter().map(|w| w + 1).sum();
                row.iter().map(move |w| f64::from(w + 1) / f64::from(sum))
            });
            let values = normalized.collect();
            (classes, labels, values)
        })
    })
}

proptest! {
    #[test]
    fn any_input_has_a_calibrated_joint_and_a_list((classes, labels, values) in arbitrary()) {
        let probabilities = Probabilities::new(classes, &values).unwrap();
        let joint = ConfidentJoint::new(&labels, &probabilities).unwrap();
        for (given, row) in joint.calibrated().chunks_exact(classes).enumerate() {
            let n = labels.iter().filter(|label| **label == given).count() as u64;
            prop_assert_eq!(row.iter().sum::<u64>(), n);
        }
        prop_assert!((0.0..=1.0).contains(&joint.error_rate()));
        for filter in FILTERS {
            let found = label_errors(&labels, &probabilities, filter, LabelQuality::NormalizedMargin);
            // The most probable class is never the given one, nor is the margin positive.
            for i in found.unwrap() {
                let row = &values[i * classes..][..classes];
                prop_assert!(row.iter().any(|p| *p > row[labels[i]]));
            }
        }
    }
}

#[test]
fn wrong_inputs_are_refused() {
    let probabilities = Probabilities::new(2, &[0.5, 0.5, 0.2, 0.8]).unwrap();
    assert!(ConfidentJoint::new(&[0], &probabilities).is_err());
    let (filter, score) = (LabelErrorFilter::Both, LabelQuality::SelfConfidence);
    assert!(label_errors(&[0, 2], &probabilities, filter, score).is_err());
    assert!(label_quality(&[0, 2], &probabilities, score).is_err());
}
