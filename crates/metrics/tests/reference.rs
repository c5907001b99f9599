//! Every metric against scikit-learn, SciPy and NumPy: `reference.json`, made by `reference.py` beside it.

// clippy.toml lets tests unwrap; helpers outside `#[test]` functions need it said.
#![allow(clippy::unwrap_used)]

use metrics::*;
use serde_json::Value;

/// Sums in another order differ in the last digits; nothing else may.
const TOLERANCE: f64 = 1e-12;

fn cases(name: &str) -> Vec<Value> {
    let fixture: Value = serde_json::from_str(include_str!("reference.json")).unwrap();
    fixture[name].as_array().unwrap().clone()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn check(what: &str, actual: f64, expected: f64) {
    let close = (actual - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
    assert!(close, "{what}: {actual}, expected {expected}");
}

#[track_caller]
fn check_all(what: &str, actual: &[f64], expected: &Value) {
    let expected: Vec<f64> = read(expected);
    assert_eq!(
        actual.len(),
        expected.len(),
        "{what}: {actual:?}, expected {expected:?}"
    );
    actual
        .iter()
        .zip(&expected)
        .for_each(|(actual, expected)| check(what, *actual, *expected));
}

#[test]
fn confusion_matrix_and_report() {
    for case in cases("confusion") {
        let (labels, predictions): (Vec<usize>, Vec<usize>) =
            (read(&case["labels"]), read(&case["predictions"]));
        let matrix = ConfusionMatrix::new(read(&case["classes"]), &labels, &predictions).unwrap();
        assert_eq!(serde_json::to_value(&matrix).unwrap(), case["matrix"]);
        assert_eq!(read::<ConfusionMatrix>(&case["matrix"]), matrix);
        check("accuracy", matrix.accuracy(), read(&case["accuracy"]));
        check(
            "balanced",
            matrix.balanced_accuracy(),
            read(&case["balanced_accuracy"]),
        );
        check("mcc", matrix.mcc(), read(&case["mcc"]));
        let kappa: Option<f64> = read(&case["kappa"]);
        assert_eq!(matrix.cohen_kappa().is_some(), kappa.is_some());
        check(
            "kappa",
            matrix.cohen_kappa().unwrap_or(0.0),
            kappa.unwrap_or(0.0),
        );

        let figures = |s: ClassScores| [s.precision, s.recall, s.f1, s.support as f64];
        for (scores, expected) in matrix
            .class_scores()
            .into_iter()
            .zip(case["per_class"].as_array().unwrap())
        {
            check_all("class", &figures(scores), expected);
        }
        check_all(
            "macro",
            &figures(matrix.macro_average())[..3],
            &case["macro"],
        );
        check_all(
            "weighted",
            &figures(matrix.weighted_average())[..3],
            &case["weighted"],
        );

        let names: Vec<String> = read(&case["names"]);
        let report = ClassificationReport::new(&matrix, &names).unwrap();
        assert_eq!(report.to_string(), read::<String>(&case["report"]));
        assert_eq!(format!("{report:.4}"), read::<String>(&case["report4"]));
    }
}

#[test]
fn roc_and_precision_recall() {
    for case in cases("binary") {
        let (labels, scores): (Vec<bool>, Vec<f64>) =
            (read(&case["labels"]), read(&case["scores"]));
        for (points, roc, pr) in [
            (CurvePoints::All, "roc_all", "pr_all"),
            (CurvePoints::Corners, "roc", "pr"),
        ] {
            let curve = roc_curve(&labels, &scores, points).unwrap();
            check_all("fpr", &curve.fpr, &case[roc][0]);
            check_all("tpr", &curve.tpr, &case[roc][1]);
            // The first threshold, +∞, is null in JSON on both sides.
            let thresholds = serde_json::to_value(&curve).unwrap()["thresholds"].clone();
            assert_eq!(thresholds, case[roc][2]);
            assert_eq!(
                read::<RocCurve>(&serde_json::to_value(&curve).unwrap()),
                curve
            );

            let curve = pr_curve(&labels, &scores, points).unwrap();
            check_all("precision", &curve.precision, &case[pr][0]);
            check_all("recall", &curve.recall, &case[pr][1]);
            check_all("thresholds", &curve.thresholds, &case[pr][2]);
        }
        check(
            "auc",
            roc_auc(&labels, &scores).unwrap(),
            read(&case["auc"]),
        );
        check(
            "ap",
            average_precision(&labels, &scores).unwrap(),
            read(&case["ap"]),
        );
        match delong_auc(&labels, &scores, 0.95) {
            Ok(interval) => check_all("delong", &[interval.low, interval.high], &case["delong"]),
            Err(_) => assert!(case["delong"].is_null()),
        }
    }
}

#[test]
fn thresholds_chosen() {
    for case in cases("binary") {
        let (labels, scores): (Vec<bool>, Vec<f64>) =
            (read(&case["labels"]), read(&case["scores"]));
        let choices = &case["choices"];
        let youden = youden_threshold(&labels, &scores).unwrap();
        assert_eq!(youden.threshold, read::<f64>(&choices["youden"]));
        let wanted: Vec<f64> = read(&choices["sensitivities"]);
        for (wanted, expected) in wanted.iter().zip(read::<Vec<f64>>(&choices["thresholds"])) {
            let chosen = threshold_for_sensitivity(&labels, &scores, *wanted).unwrap();
            assert_eq!(chosen.threshold, expected);
            let again = BinaryCounts::at_threshold(&labels, &scores, chosen.threshold).unwrap();
            assert_eq!(chosen.counts, again);
            assert!(chosen.counts.sensitivity().unwrap() >= wanted - 1e-12);
        }
    }
}

#[test]
fn calibration_of_two_classes() {
    for case in cases("binary") {
        let (labels, scores): (Vec<bool>, Vec<f64>) =
            (read(&case["labels"]), read(&case["scores"]));
        check(
            "brier",
            brier_score(&labels, &scores).unwrap(),
            read(&case["brier"]),
        );
        let rows: Vec<f64> = scores.iter().flat_map(|p| [1.0 - p, *p]).collect();
        let classes: Vec<usize> = labels.iter().map(|label| usize::from(*label)).collect();
        let rows = Probabilities::new(2, &rows).unwrap();
        check(
            "log loss",
            log_loss(&classes, &rows).unwrap(),
            read(&case["log_loss"]),
        );
        let ece = expected_calibration_error(&labels, &scores, 10).unwrap();
        check("ece", ece, read(&case["ece"]));

        let bins = reliability_bins(&labels, &scores, 10).unwrap();
        let counts: Vec<usize> = bins.iter().map(|bin| bin.n).collect();
        assert_eq!(counts, read::<Vec<usize>>(&case["bin_counts"]));
        let filled = || bins.iter().filter(|bin| bin.n > 0);
        let observed: Vec<f64> = filled().map(|bin| bin.positive_share).collect();
        let predicted: Vec<f64> = filled().map(|bin| bin.mean_probability).collect();
        check_all("observed", &observed, &case["bin_observed"]);
        check_all("predicted", &predicted, &case["bin_predicted"]);
    }
}

#[test]
fn several_classes() {
    for case in cases("multiclass") {
        let (labels, values): (Vec<usize>, Vec<f64>) =
            (read(&case["labels"]), read(&case["probabilities"]));
        let classes: usize = read(&case["classes"]);
        let probabilities = Probabilities::new(classes, &values).unwrap();
        assert_eq!(probabilities.argmax(), read::<Vec<usize>>(&case["argmax"]));
        let auc = roc_auc_one_vs_rest(&labels, &probabilities).unwrap();
        check_all("auc", &auc.per_class, &case["auc"]);
        check("auc macro", auc.macro_average, read(&case["auc_macro"]));
        check(
            "auc weighted",
            auc.weighted_average,
            read(&case["auc_weighted"]),
        );
        check(
            "log loss",
            log_loss(&labels, &probabilities).unwrap(),
            read(&case["log_loss"]),
        );
        let brier = brier_score_multiclass(&labels, &probabilities).unwrap();
        check("brier", brier, read(&case["brier"]));
        let (right, confidence) = top_label_confidence(&labels, &probabilities).unwrap();
        check_all("confidence", &confidence, &case["top_confidence"]);

        let names: Vec<String> = (0..classes).map(|k| format!("class {k}")).collect();
        let settings = EvaluationSettings {
            resamples: 50,
            ..Default::default()
        };
        let predictions = Predictions {
            class_names: &names,
            labels: &labels,
            probabilities: &values,
            groups: None,
        };
        let (evaluation, curves) = evaluate(&predictions, &settings).unwrap();
        check("mcc", evaluation.mcc.estimate, read(&case["mcc"]));
        check(
            "macro auc",
            evaluation.auc.unwrap().estimate,
            read(&case["auc_macro"]),
        );
        check(
            "macro ap",
            evaluation.average_precision.unwrap(),
            read(&case["ap_macro"]),
        );
        let accuracy = right.iter().filter(|right| **right).count() as f64 / labels.len() as f64;
        check("accuracy", evaluation.accuracy.estimate, accuracy);
        assert_eq!((evaluation.binary, curves.classes.len()), (None, classes));
    }
}

#[test]
fn temperatures() {
    for case in cases("temperature") {
        let (labels, logits): (Vec<usize>, Vec<f64>) =
            (read(&case["labels"]), read(&case["logits"]));
        let classes: usize = read(&case["classes"]);
        let fit = fit_temperature(&labels, &logits, classes).unwrap();
        check("nll before", fit.nll_before, read(&case["nll_before"]));
        check("nll after", fit.nll_after, read(&case["nll_after"]));
        // SciPy minimises the loss, flat to rounding within about 1e-8 of its minimum.
        let expected: f64 = read(&case["temperature"]);
        let found = fit.temperature.value();
        assert!(
            (found / expected - 1.0).abs() < 1e-6,
            "{found}, expected {expected}"
        );
        if classes == 2 {
            let positive: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
            let margins: Vec<f64> = logits.chunks(2).map(|z| z[1] - z[0]).collect();
            let binary = fit_temperature_binary(&positive, &margins).unwrap();
            check("binary temperature", binary.temperature.value(), found);
        }
    }
}

#[test]
fn wilson_and_the_normal_quantile() {
    for case in cases("wilson") {
        let interval = wilson(read(&case[0]), read(&case[1]), read(&case[2])).unwrap();
        check("low", interval.low, read(&case[3]));
        check("high", interval.high, read(&case[4]));
    }
    for case in cases("normal_quantile") {
        check("quantile", normal_quantile(read(&case[0])), read(&case[1]));
    }
}

#[test]
fn masks() {
    for case in cases("masks") {
        let read_mask = |name: &str| {
            read::<Vec<u8>>(&case[name])
                .iter()
                .map(|v| *v == 1)
                .collect()
        };
        let (truth, predicted): (Vec<bool>, Vec<bool>) =
            (read_mask("truth"), read_mask("predicted"));
        let scores = mask_scores(&truth, &predicted).unwrap();
        let map: Vec<f32> = predicted
            .iter()
            .map(|p| if *p { 0.97 } else { 0.96 })
            .collect();
        assert_eq!(mask_scores_from_map(&truth, &map, 0.97).unwrap(), scores);
        check("dice", scores.dice, read(&case["dice"]));
        check("iou", scores.iou, read(&case["iou"]));
        check("precision", scores.precision, read(&case["precision"]));
        check("recall", scores.recall, read(&case["recall"]));
    }
}

#[test]
fn bootstrap_lands_near_numpys() {
    let fixture: Value = serde_json::from_str(include_str!("reference.json")).unwrap();
    let case = &fixture["bootstrap"];
    let (labels, scores): (Vec<bool>, Vec<f64>) = (read(&case["labels"]), read(&case["scores"]));
    let bootstrap = Bootstrap {
        resamples: 20_000,
        seed: 1,
        level: 0.95,
    };
    let ours = bootstrap_auc(&labels, &scores, Resampling::Simple, &bootstrap).unwrap();
    // Monte Carlo error of a 2.5 % percentile at 20,000 resamples is about 0.0005 here.
    assert!(
        (ours.low - read::<f64>(&case["low"])).abs() < 0.003,
        "{ours}"
    );
    assert!(
        (ours.high - read::<f64>(&case["high"])).abs() < 0.003,
        "{ours}"
    );
}

/// A case's images, each judged and compared.
fn judged_images(case: &Value) -> Vec<SegmentedImage> {
    let (height, width): (usize, usize) = (read(&case["height"]), read(&case["width"]));
    let (classes, ignore) = (read(&case["classes"]), read(&case["ignore"]));
    let judge = |image: &Value| {
        let (truth, predicted): (Vec<u16>, Vec<u16>) =
            (read(&image["truth"]), read(&image["predicted"]));
        let judged = SegmentedImage::new(&LabelMaps {
            truth: &truth,
            predicted: &predicted,
            height,
            width,
            classes,
            ignore,
        })
        .unwrap();
        let scores = |of: fn(&MaskScores) -> f64| -> Vec<f64> {
            judged.classes.iter().map(|c| of(&c.scores)).collect()
        };
        check_all("dice", &scores(|s| s.dice), &image["dice"]);
        check_all("iou", &scores(|s| s.iou), &image["iou"]);
        check_all("precision", &scores(|s| s.precision), &image["precision"]);
        check_all("recall", &scores(|s| s.recall), &image["recall"]);
        for (class, expected) in judged
            .classes
            .iter()
            .zip(read::<Vec<Value>>(&image["hd95"]))
        {
            match (class.hd95, &expected["pixels"]) {
                (SurfaceDistance::Pixels(found), pixels) => check("hd95", found, read(pixels)),
                (word, _) => assert_eq!(serde_json::to_value(word).unwrap(), expected),
            }
        }
        assert_eq!(
            serde_json::to_value(&judged.confusion).unwrap(),
            image["confusion"]
        );
        judged
    };
    let images: Vec<Value> = read(&case["images"]);
    images.iter().map(judge).collect()
}

#[test]
fn segmentation() {
    for case in cases("segmentation") {
        let images = judged_images(&case);
        let names: Vec<String> = (0..images[0].classes.len())
            .map(|c| c.to_string())
            .collect();
        let settings = SegmentationSettings::default();
        let judged = evaluate_segmentation(&names, &images, None, &settings).unwrap();
        check("mean", judged.mean_dice.estimate, read(&case["mean_dice"]));
        check("mean", judged.mean_iou.estimate, read(&case["mean_iou"]));
        assert_eq!(
            serde_json::to_value(&judged.confusion).unwrap(),
            case["confusion"]
        );
        let pair = |spread: Spread| [spread.mean, spread.sd.unwrap()];
        for (i, class) in judged.classes.iter().enumerate() {
            check_all("dice", &pair(class.dice), &case["dice"][i]);
            check_all("iou", &pair(class.iou), &case["iou"][i]);
            check_all("hd95", &pair(class.hd95.unwrap()), &case["hd95"][i]);
            check("pooled", class.pooled.dice, read(&case["pooled_dice"][i]));
            let counts = [class.both_empty, class.missed, class.invented];
            assert_eq!(counts.to_vec(), read::<Vec<usize>>(&case["counts"][i]));
            let undefined = class.missed + class.invented;
            assert_eq!(class.hd95.unwrap().n + undefined, images.len());
            assert_eq!(class.mean_dice.n, images.len());
        }
    }
}

#[test]
fn otsu() {
    for case in cases("otsu") {
        let histogram: Vec<u64> = read(&case["histogram"]);
        assert_eq!(otsu_threshold(&histogram), read(&case["threshold"]));
    }
}
