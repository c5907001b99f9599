//! Compares every metric with scikit-learn, SciPy and NumPy (`reference.json`, made by `reference.py` in this folder).

// clippy.toml allows unwrap in tests, but not in helpers outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use metrics::*;
use serde_json::Value;

/// Only the last digits may differ, because of the order of sums.
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
        match delong_auc(&labels, &scores, None, 0.95) {
            Ok(interval) => check_all("delong", &[interval.low, interval.high], &case["delong"]),
            Err(_) => assert!(case["delong"].is_null()),
        }
    }
}

#[test]
fn grouped_aucs() {
    for case in cases("obuchowski") {
        let (labels, scores): (Vec<bool>, Vec<f64>) =
            (read(&case["labels"]), read(&case["scores"]));
        let groups: Vec<usize> = read(&case["groups"]);
        let Interval {
            estimate,
            low,
            high,
            ..
        } = delong_auc(&labels, &scores, Some(&groups), 0.95).unwrap();
        check_all("grouped", &[estimate, low, high], &case["interval"]);
        let single: Vec<usize> = (0..labels.len()).collect();
        assert_eq!(
            delong_auc(&labels, &scores, Some(&single), 0.95).unwrap(),
            delong_auc(&labels, &scores, None, 0.95).unwrap()
        );
    }
}

#[test]
fn aucs_of_separated_classes_have_newcombes_interval() {
    for case in cases("separated") {
        let (labels, scores): (Vec<bool>, Vec<f64>) =
            (read(&case["labels"]), read(&case["scores"]));
        let groups: Vec<usize> = read(&case["groups"]);
        let level = read(&case["level"]);
        let bootstrap = Bootstrap {
            resamples: 50,
            seed: 1,
            level,
        };
        for found in [
            delong_auc(&labels, &scores, Some(&groups), level).unwrap(),
            bootstrap_auc(&labels, &scores, Resampling::Grouped(&groups), &bootstrap).unwrap(),
        ] {
            check_all(
                "separated",
                &[found.estimate, found.low, found.high],
                &case["interval"],
            );
        }
    }
}

#[test]
fn grouped_proportions() {
    for case in cases("proportions") {
        let hits: Vec<bool> = read(&case["hits"]);
        let groups: Vec<usize> = read(&case["groups"]);
        let level = read(&case["level"]);
        let found = proportion(&hits, Some(&groups), level).unwrap();
        check_all(
            "proportion",
            &[found.estimate, found.low, found.high],
            &case["interval"],
        );
        let alone = proportion(&hits, None, level).unwrap();
        assert!(found.high - found.low >= alone.high - alone.low - 1e-12);
        assert_eq!(found.n, hits.len());
    }
}

#[test]
fn thresholds_chosen() {
    for case in cases("binary") {
        let (labels, scores): (Vec<bool>, Vec<f64>) =
            (read(&case["labels"]), read(&case["scores"]));
        let choices = &case["choices"];
        let choose = |rule: ThresholdRule| {
            let chosen = rule.choose(&labels, &scores).unwrap();
            let again = BinaryCounts::at_threshold(&labels, &scores, chosen.threshold).unwrap();
            assert_eq!(chosen.counts, again);
            assert!(!scores.contains(&chosen.threshold));
            chosen
        };
        let youden = choose(ThresholdRule::Youden);
        check("youden", youden.threshold, read(&choices["youden"]));
        let wanted: Vec<f64> = read(&choices["sensitivities"]);
        for (wanted, expected) in wanted.iter().zip(read::<Vec<f64>>(&choices["thresholds"])) {
            let chosen = choose(ThresholdRule::Sensitivity(*wanted));
            check("sensitivity", chosen.threshold, expected);
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
        let labels: Vec<usize> = read(&case["labels"]);
        let (logits, values): (Vec<f64>, Vec<f64>) =
            (read(&case["logits"]), read(&case["probabilities"]));
        let classes: usize = read(&case["classes"]);
        let argmax: Vec<usize> = read(&case["argmax"]);
        let checked = Logits::new(classes, &logits).unwrap();
        assert_eq!(checked.argmax(), argmax);
        let odds = checked.rows().flat_map(|row| {
            let of = |class| log_odds(row, class);
            (0..classes).map(of).collect::<Vec<_>>()
        });
        check_all("log-odds", &odds.collect::<Vec<_>>(), &case["log_odds"]);
        let probabilities = Probabilities::new(classes, &values).unwrap();
        let loss = log_loss(&labels, &probabilities).unwrap();
        let brier = brier_score_multiclass(&labels, &probabilities).unwrap();

        let names: Vec<String> = (0..classes).map(|k| format!("class {k}")).collect();
        let settings = EvaluationSettings {
            resamples: 50,
            ..Default::default()
        };
        let predictions = Predictions {
            class_names: &names,
            labels: &labels,
            logits: &logits,
            probabilities: &values,
            groups: None,
        };
        let (evaluation, curves) = evaluate(&predictions, &settings).unwrap();
        let auc = evaluation.ranking.iter().map(|c| c.auc.unwrap().estimate);
        check_all("auc", &auc.collect::<Vec<_>>(), &case["auc"]);
        let f1 = evaluation.scores.iter().map(|c| c.f1.unwrap().estimate);
        check_all("f1", &f1.collect::<Vec<_>>(), &case["f1"]);
        for (what, interval) in [
            ("mcc", evaluation.mcc),
            ("kappa", evaluation.cohen_kappa.unwrap()),
            ("auc_macro", evaluation.auc.unwrap()),
            ("ap_macro", evaluation.average_precision.unwrap()),
            ("log_loss", evaluation.log_loss),
            ("brier", evaluation.brier),
            ("ece", evaluation.expected_calibration_error),
            ("f1_macro", evaluation.macro_average.f1.unwrap()),
        ] {
            check(what, interval.estimate, read(&case[what]));
            assert!(interval.low <= interval.high, "{what}");
        }
        check("log loss", loss, read(&case["log_loss"]));
        check("brier", brier, read(&case["brier"]));
        let right = argmax.iter().zip(&labels).filter(|(a, b)| a == b).count();
        let accuracy = right as f64 / labels.len() as f64;
        check("accuracy", evaluation.accuracy.estimate, accuracy);
        assert_eq!((evaluation.binary, curves.classes.len()), (None, classes));
    }
}

#[test]
fn scalings() {
    for case in cases("scaling") {
        let (labels, logits): (Vec<usize>, Vec<f64>) =
            (read(&case["labels"]), read(&case["logits"]));
        let classes: usize = read(&case["classes"]);
        let fit = fit_scaling(&labels, &logits, classes).unwrap();
        check("nll before", fit.nll_before, read(&case["nll_before"]));
        // The accuracy of SciPy's minimum is limited by floating-point differences of the loss.
        let near = |what: &str, found: f64, expected: f64, tolerance: f64| {
            let off = (found - expected).abs() / expected.abs().max(1.0);
            assert!(off < tolerance, "{what}: {found}, expected {expected}");
        };
        let expected: f64 = read(&case["temperature"]);
        near("temperature", fit.scaling.temperature(), expected, 1e-5);
        for (found, expected) in fit
            .scaling
            .bias()
            .iter()
            .zip(read::<Vec<f64>>(&case["bias"]))
        {
            near("bias", *found, expected, 1e-5);
        }
        near("nll after", fit.nll_after, read(&case["nll_after"]), 1e-6);
        let separable: bool = read(&case["separable"]);
        let expected = separable.then_some(Unbounded::Separable);
        assert_eq!(fit.unbounded, expected);
    }
}

/// Compares the interval of a difference over resampled patients with NumPy's, which uses other random numbers.
#[test]
fn two_classifiers_are_compared_on_the_same_resamples() {
    let fixture: Value = serde_json::from_str(include_str!("reference.json")).unwrap();
    let case = &fixture["paired"];
    let labels: Vec<bool> = read(&case["labels"]);
    let labels: Vec<usize> = labels.into_iter().map(usize::from).collect();
    let groups: Vec<usize> = read(&case["groups"]);
    let logits = |name: &str| -> Vec<f64> {
        let scores: Vec<f64> = read(&case[name]);
        scores.into_iter().flat_map(|score| [0.0, score]).collect()
    };
    let (a, b) = (logits("a"), logits("b"));
    let flat = vec![0.5; a.len()];
    let of = |logits| Predictions {
        class_names: &["no", "yes"],
        labels: &labels,
        logits,
        probabilities: &flat,
        groups: Some(&groups),
    };
    let settings = EvaluationSettings {
        resamples: 8000,
        seed: 2,
        ..Default::default()
    };
    let found = compare([&of(&a), &of(&b)], [&settings; 2]).unwrap();
    for (name, interval) in [("auc", found.auc.unwrap()), ("accuracy", found.accuracy)] {
        check(name, interval.estimate, read(&case[name]));
        let expected: Vec<f64> = read(&case[&format!("{name}_interval")]);
        let off = (interval.low - expected[0])
            .abs()
            .max((interval.high - expected[1]).abs());
        assert!(off < 0.004, "{name}: {interval}, expected {expected:?}");
    }
    let swapped = compare([&of(&b), &of(&a)], [&settings; 2]).unwrap();
    assert_eq!(swapped.accuracy.estimate, -found.accuracy.estimate);
    let fewer = Predictions {
        groups: None,
        ..of(&b)
    };
    assert!(compare([&of(&a), &fewer], [&settings; 2]).is_err());
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
        for (name, found) in [
            ("dice", scores.dice),
            ("iou", scores.iou),
            ("precision", scores.precision),
            ("recall", scores.recall),
        ] {
            check_some(name, found, &case[name]);
        }
    }
}

/// Checks a value that is null if undefined.
#[track_caller]
fn check_some(what: &str, found: Option<f64>, expected: &Value) {
    match read::<Option<f64>>(expected) {
        Some(expected) => check(what, found.unwrap(), expected),
        None => assert_eq!(found, None, "{what}"),
    }
}

/// Compares the 95th-percentile Hausdorff distance of non-empty masks with MONAI's.
#[test]
fn surface_distances_match_monai() {
    let found = cases("monai");
    assert_eq!(found.len(), 52);
    for case in found {
        let (height, width): (usize, usize) = (read(&case[0]), read(&case[1]));
        let mask = |hex: &Value| -> Vec<bool> {
            let digits: String = read(hex);
            let bits = digits.chars().flat_map(|digit| {
                let value = digit.to_digit(16).unwrap();
                (0..4).rev().map(move |bit| value >> bit & 1 == 1)
            });
            let bits: Vec<bool> = bits.collect();
            let mut mask = vec![false; (height * width).saturating_sub(bits.len())];
            mask.extend(&bits[bits.len().saturating_sub(height * width)..]);
            mask
        };
        let distance = hd95(&mask(&case[2]), &mask(&case[3]), height, width, [1.0, 1.0]).unwrap();
        let SurfaceDistance::Between(distance) = distance else {
            panic!("both have pixels: {distance:?}")
        };
        // MONAI computes in f32.
        let expected: f64 = read(&case[4]);
        assert!(
            (distance - expected).abs() < 1e-5 * expected.max(1.0),
            "{distance}, expected {expected}"
        );
    }
}

#[test]
fn bootstrap_is_close_to_numpy() {
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

/// Evaluates the images of a case, and compares each with the reference.
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
            spacing: None,
            ignore,
        })
        .unwrap();
        for (c, class) in judged.classes.iter().enumerate() {
            for (name, found) in [
                ("dice", class.scores.dice),
                ("iou", class.scores.iou),
                ("precision", class.scores.precision),
                ("recall", class.scores.recall),
            ] {
                check_some(name, found, &image[name][c]);
            }
        }
        for (class, expected) in judged
            .classes
            .iter()
            .zip(read::<Vec<Value>>(&image["hd95"]))
        {
            match (class.hd95, &expected["pixels"]) {
                (SurfaceDistance::Between(found), pixels) => check("hd95", found, read(pixels)),
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
        let means = [judged.mean_dice, judged.mean_iou].map(|mean| mean.unwrap().estimate);
        check("mean", means[0], read(&case["mean_dice"]));
        check("mean", means[1], read(&case["mean_iou"]));
        assert_eq!(
            serde_json::to_value(&judged.confusion).unwrap(),
            case["confusion"]
        );
        let pair = |spread: Option<Spread>| spread.map(|s| [s.mean, s.sd.unwrap()]).unwrap();
        for (i, class) in judged.classes.iter().enumerate() {
            check_all("dice", &pair(class.dice), &case["dice"][i]);
            check_all("iou", &pair(class.iou), &case["iou"][i]);
            check_all("hd95", &pair(class.hd95), &case["hd95"][i]);
            check_some("pooled", class.pooled.dice, &case["pooled_dice"][i]);
            let counts = [class.absent, class.false_negatives, class.false_positives];
            assert_eq!(counts.to_vec(), read::<Vec<usize>>(&case["counts"][i]));
            assert_eq!(class.n + class.absent, images.len());
            assert_eq!(class.mean_dice.unwrap().n, class.n);
            assert_eq!(class.mean_hd95.unwrap().estimate, class.hd95.unwrap().mean);
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
