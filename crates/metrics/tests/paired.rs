//! Two classifiers on the same examples, compared with MLstatkit, statsmodels and SciPy (`paired.py`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use metrics::{delong_difference, mcnemar};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
    mcnemar: Vec<Counts>,
}

#[derive(Deserialize)]
struct Case {
    labels: Vec<bool>,
    scores: [Vec<f64>; 2],
    groups: Vec<usize>,
    difference: f64,
    z: f64,
    p: f64,
    grouped_p: f64,
    discordant: [u64; 2],
    mcnemar: f64,
}

#[derive(Deserialize)]
struct Counts {
    discordant: [u64; 2],
    p: f64,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("paired.json")).unwrap()
}

#[track_caller]
fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got}, expected {expected}");
}

#[test]
fn the_auc_difference_agrees_with_published_implementations() {
    for case in reference().cases {
        let scores = [&case.scores[0][..], &case.scores[1][..]];
        let got = delong_difference(&case.labels, scores, None, 0.95).unwrap();
        close(got.interval.estimate, case.difference);
        close(got.p, case.p);
        let error = (got.interval.high - got.interval.estimate) / 1.959_963_984_540_054;
        close(got.interval.estimate / error, case.z);
        let grouped = delong_difference(&case.labels, scores, Some(&case.groups), 0.95).unwrap();
        close(grouped.p, case.grouped_p);
    }
}

#[test]
fn mcnemars_test_agrees_with_statsmodels() {
    let reference = reference();
    for case in &reference.cases {
        let right = |scores: &[f64]| -> Vec<bool> {
            let pairs = scores.iter().zip(&case.labels);
            pairs.map(|(s, label)| (*s >= 0.5) == *label).collect()
        };
        let got = mcnemar(&right(&case.scores[0]), &right(&case.scores[1])).unwrap();
        assert_eq!([got.first_only, got.second_only], case.discordant);
        close(got.p, case.mcnemar);
    }
    for Counts { discordant, p } in reference.mcnemar {
        let first = (0..discordant[0])
            .map(|_| true)
            .chain((0..discordant[1]).map(|_| false));
        let first: Vec<bool> = first.chain([true]).collect();
        let second: Vec<bool> = first[..first.len() - 1]
            .iter()
            .map(|r| !r)
            .chain([true])
            .collect();
        close(mcnemar(&first, &second).unwrap().p, p);
    }
}

#[test]
fn a_ranking_does_not_differ_from_itself() {
    let labels = [true, false, true, false];
    let scores = [0.9, 0.1, 0.4, 0.6];
    let got = delong_difference(&labels, [&scores, &scores], None, 0.95).unwrap();
    assert_eq!(
        (got.interval.low, got.interval.high, got.p),
        (0.0, 0.0, 1.0)
    );
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let labels = [true, true, false, false];
    let scores = [0.9, 0.1, 0.4, 0.6];
    assert!(delong_difference(&labels, [&scores, &scores[1..]], None, 0.95).is_err());
    assert!(delong_difference(&labels, [&scores, &scores], Some(&[0, 0, 1, 1]), 0.95).is_err());
    assert!(delong_difference(&labels[1..], [&scores[1..], &scores[1..]], None, 0.95).is_err());
    assert!(mcnemar(&[], &[]).is_err());
    assert!(mcnemar(&[true], &[true, false]).is_err());
}
