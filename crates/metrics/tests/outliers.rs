//! Compares out-of-distribution scores with scikit-learn, SciPy and NumPy (`outliers.json`, made by `outliers.py` in
//! this folder), and tests their invariances.

// clippy.toml allows unwrap in tests, but not in helpers outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use metrics::*;
use proptest::prelude::*;
use serde_json::Value;

/// Relative: factors and sums are computed in another order.
const TOLERANCE: f64 = 1e-9;

fn cases(name: &str) -> Vec<Value> {
    let fixture: Value = serde_json::from_str(include_str!("outliers.json")).unwrap();
    fixture[name].as_array().unwrap().clone()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn close(actual: f64, expected: f64, scale: f64) -> bool {
    (actual - expected).abs() <= TOLERANCE * scale.max(f64::MIN_POSITIVE)
}

#[track_caller]
fn check(what: &str, actual: f64, expected: f64, scale: f64) {
    let close = close(actual, expected, scale);
    assert!(close, "{what}: {actual}, expected {expected}");
}

#[test]
fn distances_agree_with_scikit_learn() {
    for case in cases("gaussian") {
        let name: String = read(&case["name"]);
        let (features, labels): (Vec<f64>, Vec<usize>) =
            (read(&case["features"]), read(&case["labels"]));
        let fitted = RelativeMahalanobis::fit(&features, &labels, read(&case["classes"])).unwrap();
        let to_classes = fitted.to_classes();
        let shrinkage: f64 = read(&case["shrinkage"]);
        check(&name, to_classes.shrinkage(), shrinkage, shrinkage);
        let [distances, relatives]: [Vec<f64>; 2] =
            ["distance", "relative"].map(|key| read(&case[key]));
        let queries: Vec<f64> = read(&case["queries"]);
        assert_eq!(to_classes.features(), read::<usize>(&case["width"]));
        let queries = queries.chunks_exact(to_classes.features());
        assert_eq!(queries.len(), distances.len());
        for (query, (distance, relative)) in queries.zip(distances.iter().zip(&relatives)) {
            let found = to_classes.distance(query).unwrap();
            // The only example of a class is at distance 0.
            check(&name, found, *distance, distance.max(1e-3));
            let found = fitted.distance(query).unwrap();
            // A difference of two distances, both exact to their own size.
            let scale = distance + (distance - relative);
            check(&name, found, *relative, scale);
        }
    }
}

#[test]
fn confidences_agree_with_scipy() {
    for case in cases("logits") {
        let logits: Vec<f64> = read(&case["logits"]);
        for (what, actual) in [
            ("max_logit", max_logit(&logits)),
            ("energy", energy(&logits)),
            ("max_softmax", max_softmax(&logits)),
        ] {
            let expected: f64 = read(&case[what]);
            check(what, actual, expected, expected.abs());
        }
    }
    let none: [f32; 0] = [];
    assert_eq!(max_logit(&none), f64::NEG_INFINITY);
    assert_eq!(energy(&none), f64::NEG_INFINITY);
    assert_eq!(max_softmax(&none), 0.0);
    // Would overflow without subtracting the largest.
    assert_eq!(energy(&[2000.0_f32, 2000.0]), 2000.0 + 2.0_f64.ln());
}

#[test]
fn auroc_and_fpr_agree_with_scikit_learn() {
    for case in cases("ranking") {
        let (inside, outside): (Vec<f64>, Vec<f64>) =
            (read(&case["inside"]), read(&case["outside"]));
        let auroc = novelty_auroc(&inside, &outside).unwrap();
        check("auroc", auroc, read(&case["auroc"]), 1.0);
        for [tpr, fpr] in read::<Vec<[f64; 2]>>(&case["fpr"]) {
            assert_eq!(fpr_at(&inside, &outside, tpr).unwrap(), fpr);
        }
    }
}

#[test]
fn thresholds_agree_with_numpy() {
    for case in cases("threshold") {
        let (scores, patients): (Vec<f64>, Vec<usize>) =
            (read(&case["scores"]), read(&case["patients"]));
        let shares: Vec<f64> = read(&case["shares"]);
        for (key, patients) in [
            ("by_image", None),
            ("by_patient", Some(patients.as_slice())),
        ] {
            for (share, expected) in shares.iter().zip(read::<Vec<f64>>(&case[key])) {
                let found = novelty_threshold(&scores, patients, *share).unwrap();
                assert_eq!(found, expected, "{key} {share}");
            }
        }
    }
}

#[test]
fn thresholds_accept_exact_shares_and_whole_patients() {
    let scores: Vec<f64> = (1..=20).map(f64::from).collect();
    assert_eq!(novelty_threshold(&scores, None, 0.95), Ok(19.0));
    assert_eq!(novelty_threshold(&scores, None, 1.0), Ok(20.0));
    // 0.28 · 25 is 7.000000000000001 in floating point.
    let more: Vec<f64> = (1..=25).map(f64::from).collect();
    assert_eq!(novelty_threshold(&more, None, 0.28), Ok(7.0));
    // A patient with seventeen low images and three with one each: half of the patients are below 18.
    let patients: Vec<usize> = (1..=20).map(|i: usize| i.saturating_sub(17)).collect();
    assert_eq!(novelty_threshold(&scores, Some(&patients), 0.5), Ok(18.0));
    assert_eq!(novelty_threshold(&scores, None, 0.5), Ok(10.0));
    // Three of four outside are accepted at the threshold 2, two of them tied with it.
    let fpr = fpr_at(&[1.0, 2.0, 2.0, 3.0], &[2.0, 2.0, 1.5, 2.5], 0.5);
    assert_eq!(fpr, Ok(0.75));
}

#[test]
fn a_fitted_distance_can_be_stored() {
    let case = &cases("gaussian")[1];
    let (features, labels): (Vec<f64>, Vec<usize>) =
        (read(&case["features"]), read(&case["labels"]));
    let fitted = Mahalanobis::fit(&features, &labels, 3).unwrap();
    let mut stored = serde_json::to_value(&fitted).unwrap();
    assert_eq!(read::<Mahalanobis>(&stored), fitted);
    let refused = |stored: &Value| serde_json::from_value::<Mahalanobis>(stored.clone()).is_err();
    stored["factor"][2] = 0.0.into();
    assert!(refused(&stored));
    stored["factor"] = serde_json::json!([1.0, 0.0]);
    assert!(refused(&stored));
}

#[test]
fn data_without_variation_are_errors_or_finite() {
    // Constant features, also such whose mean is not exact in floating point.
    for n in [1, 2, 3, 7] {
        let labels = vec![0; n];
        let singular = Mahalanobis::fit(&vec![0.1; 3 * n], &labels, 1).unwrap_err();
        assert!(singular.to_string().contains("no inverse"), "{singular}");
    }
    // One constant feature among others.
    let features = [1.0, 0.1, 2.0, 0.1, 4.0, 0.1, 3.0, 0.1];
    let fitted = Mahalanobis::fit(&features, &[0, 1, 0, 1], 2).unwrap();
    assert!(fitted.distance(&[2.0, 0.3]).unwrap().is_finite());
    // Two examples: with one feature there is a variance; with two, or a class each, there is none.
    let fitted = Mahalanobis::fit(&[1.0, 3.0], &[0, 0], 1).unwrap();
    assert_eq!(fitted.distance(&[4.0]), Ok(4.0));
    assert!(Mahalanobis::fit(&[1.0, 3.0, 2.0, 7.0], &[0, 0], 1).is_err());
    assert!(Mahalanobis::fit(&[1.0, 3.0], &[0, 1], 2).is_err());
    // Squares overflow.
    assert!(Mahalanobis::fit(&[1e200, -1e200, 3.0, 0.0], &[0; 4], 1).is_err());
}

#[test]
fn wrong_inputs_are_refused() {
    let fit = |features: &[f64], labels: &[usize]| Mahalanobis::fit(features, labels, 2);
    assert!(fit(&[], &[]).is_err());
    assert!(fit(&[], &[0]).is_err());
    assert!(fit(&[1.0, 2.0, 3.0], &[0, 0]).is_err());
    assert!(fit(&[1.0, 2.0], &[0, 2]).is_err());
    assert!(fit(&[1.0, f64::NAN], &[0, 1]).is_err());
    let fitted = fit(&[1.0, 2.0, 4.0], &[0, 0, 0]).unwrap();
    assert!(fitted.distance(&[1.0, 2.0]).is_err());
    assert!(fitted.distance(&[1e200]).is_err());
    let relative = RelativeMahalanobis::fit(&[1.0, 2.0, 4.0], &[0, 0, 0], 2).unwrap();
    assert!(relative.distance(&[f64::INFINITY]).is_err());
    assert!(relative.distance(&[1e200]).is_err());

    assert!(novelty_auroc(&[], &[1.0]).is_err());
    assert!(novelty_auroc(&[1.0], &[f64::NAN]).is_err());
    assert!(fpr_at(&[1.0], &[], 0.95).is_err());
    assert!(fpr_at(&[1.0], &[1.0], 0.0).is_err());
    assert!(novelty_threshold(&[1.0], None, 1.5).is_err());
    assert!(novelty_threshold(&[1.0], Some(&[]), 0.95).is_err());
}

/// Features that vary, labels of three classes of which some may be absent, and an order of the examples.
fn examples() -> impl Strategy<Value = (usize, Vec<f64>, Vec<usize>, Vec<usize>)> {
    (2..6usize, 10..30usize).prop_flat_map(|(width, n)| {
        (
            Just(width),
            prop::collection::vec(-5.0..5.0, width * n),
            prop::collection::vec(0..3usize, n),
            Just((0..n).collect::<Vec<_>>()).prop_shuffle(),
        )
    })
}

/// Scores on a grid, so that ties occur.
fn scores() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-20..20i32).prop_map(|i| f64::from(i) / 4.0), 1..40)
}

/// Both distances of the point (1, 1, …), scaled.
fn both(fitted: &RelativeMahalanobis, scale: f64) -> [f64; 2] {
    let point = vec![scale; fitted.to_classes().features()];
    [
        fitted.to_classes().distance(&point).unwrap(),
        fitted.distance(&point).unwrap(),
    ]
}

proptest! {
    #[test]
    fn distances_do_not_depend_on_the_order_of_the_examples(
        (width, features, labels, order) in examples()
    ) {
        let fitted = RelativeMahalanobis::fit(&features, &labels, 3).unwrap();
        let shuffled_features: Vec<f64> =
            order.iter().flat_map(|i| features[i * width..][..width].to_vec()).collect();
        let shuffled_labels: Vec<usize> = order.iter().map(|i| labels[*i]).collect();
        let shuffled = RelativeMahalanobis::fit(&shuffled_features, &shuffled_labels, 3).unwrap();
        let scale = both(&fitted, 1.0)[0] + 1.0;
        for (a, b) in both(&fitted, 1.0).into_iter().zip(both(&shuffled, 1.0)) {
            prop_assert!(close(a, b, scale), "{a} {b}");
        }
    }

    /// The shrinkage does not depend on the unit of the features, so the distances do not either; up to rounding, and
    /// exactly for a power of two. This does not hold if each feature has its own unit.
    #[test]
    fn distances_do_not_depend_on_the_unit_of_the_features(
        (_, features, labels, _) in examples(), unit in 0.01..100.0
    ) {
        let fitted = RelativeMahalanobis::fit(&features, &labels, 3).unwrap();
        let in_unit = |unit: f64| {
            let scaled: Vec<f64> = features.iter().map(|x| unit * x).collect();
            RelativeMahalanobis::fit(&scaled, &labels, 3).unwrap()
        };
        let scale = both(&fitted, 1.0)[0] + 1.0;
        for (a, b) in both(&fitted, 1.0).into_iter().zip(both(&in_unit(unit), unit)) {
            prop_assert!(close(a, b, scale), "{a} {b}");
        }
        prop_assert!(close(in_unit(unit).to_classes().shrinkage(), fitted.to_classes().shrinkage(), 1.0));
        prop_assert_eq!(both(&in_unit(-8.0), -8.0), both(&fitted, 1.0));
    }

    #[test]
    fn a_sample_is_not_novel_to_itself(inside in scores(), outside in scores()) {
        prop_assert_eq!(novelty_auroc(&inside, &inside).unwrap(), 0.5);
        let [there, back] = [(&inside, &outside), (&outside, &inside)]
            .map(|(a, b)| novelty_auroc(a, b).unwrap());
        prop_assert!((there + back - 1.0).abs() < 1e-12);
        prop_assert!(fpr_at(&inside, &inside, 0.95).unwrap() >= 0.95 - 1e-12);
    }

    #[test]
    fn increasing_transforms_change_no_rank(inside in scores(), outside in scores()) {
        let transformed = |scores: &[f64]| -> Vec<f64> {
            scores.iter().map(|s| s.exp() + 3.0 * s).collect()
        };
        let (a, b) = (transformed(&inside), transformed(&outside));
        prop_assert_eq!(novelty_auroc(&a, &b), novelty_auroc(&inside, &outside));
        for tpr in [0.5, 0.95] {
            prop_assert_eq!(fpr_at(&a, &b, tpr), fpr_at(&inside, &outside, tpr));
        }
    }

    #[test]
    fn a_threshold_accepts_at_least_its_share(
        validation in prop::collection::vec((-20..20i32, 0..6usize), 1..40), share in 0.01..1.0
    ) {
        let (scores, patients): (Vec<f64>, Vec<usize>) =
            validation.into_iter().map(|(s, p)| (f64::from(s), p)).unzip();
        let threshold = novelty_threshold(&scores, Some(&patients), share).unwrap();
        let accepted = |accept: &dyn Fn(f64) -> bool| {
            let of_patient = |id: usize| {
                let images = || scores.iter().zip(&patients).filter(move |(_, p)| **p == id);
                let n = images().count();
                (n > 0).then(|| images().filter(|(s, _)| accept(**s)).count() as f64 / n as f64)
            };
            let shares: Vec<f64> = (0..6).filter_map(of_patient).collect();
            shares.iter().sum::<f64>() / shares.len() as f64
        };
        prop_assert!(accepted(&|s| s <= threshold) >= share - 1e-9);
        prop_assert!(accepted(&|s| s < threshold) < share + 1e-9);
    }
}
