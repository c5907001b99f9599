//! Behaviour without a reference implementation: determinism, edge cases, errors, the summary.

// clippy.toml allows unwrap in tests, but not in helpers outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use metrics::*;

/// Random labels and scores with ties.
fn example(n: usize) -> (Vec<bool>, Vec<f64>) {
    let mut rng = random::Rng::stream(11, n as u64);
    let labels: Vec<bool> = (0..n).map(|_| rng.below(3) > 0).collect();
    let score = |label: &bool| (rng.below(80) + if *label { 20 } else { 0 }) as f64 / 100.0;
    let scores = labels.iter().map(score).collect();
    (labels, scores)
}

#[test]
fn bootstrap_is_reproducible_and_its_fast_path_equals_the_plain_one() {
    let (labels, scores) = example(120);
    let strata: Vec<usize> = labels.iter().map(|label| usize::from(*label)).collect();
    let patients: Vec<usize> = (0..labels.len()).map(|i| i / 5).collect();
    let bootstrap = Bootstrap {
        resamples: 300,
        seed: 5,
        level: 0.9,
    };
    let run =
        |plan, bootstrap: &Bootstrap| bootstrap_auc(&labels, &scores, plan, bootstrap).unwrap();
    for plan in [
        Resampling::Simple,
        Resampling::Stratified(&strata),
        Resampling::Grouped(&patients),
    ] {
        let fast = run(plan, &bootstrap);
        let plain = bootstrap.interval(labels.len(), plan, |sample| {
            let labels: Vec<bool> = sample.iter().map(|i| labels[*i]).collect();
            let scores: Vec<f64> = sample.iter().map(|i| scores[*i]).collect();
            roc_auc(&labels, &scores).ok()
        });
        assert_eq!(fast, plain.unwrap());
        assert_eq!(fast, run(plan, &bootstrap));
        assert_ne!(
            fast,
            run(
                plan,
                &Bootstrap {
                    seed: 6,
                    ..bootstrap
                }
            )
        );
        assert!(fast.low < fast.estimate && fast.estimate < fast.high);
    }
}

#[test]
fn grouping_widens_the_interval_if_images_of_a_patient_agree() {
    // 40 patients with ten identical images each: 40 independent observations, not 400.
    let (labels, scores) = example(40);
    let repeat = |i: usize| i / 10;
    let many_labels: Vec<bool> = (0..400).map(|i| labels[repeat(i)]).collect();
    let many_scores: Vec<f64> = (0..400).map(|i| scores[repeat(i)]).collect();
    let patients: Vec<usize> = (0..400).map(repeat).collect();
    let width = |plan| {
        let interval = bootstrap_auc(&many_labels, &many_scores, plan, &Bootstrap::default());
        interval
            .map(|interval| interval.high - interval.low)
            .unwrap()
    };
    assert!(width(Resampling::Grouped(&patients)) > 2.0 * width(Resampling::Simple));
}

#[test]
fn resamples_without_a_class_are_redrawn() {
    // One positive in 30: a third of simple resamples do not contain it.
    let labels: Vec<bool> = (0..30).map(|i| i == 7).collect();
    let scores: Vec<f64> = (0..30).map(|i| i as f64 / 30.0).collect();
    let interval =
        bootstrap_auc(&labels, &scores, Resampling::Simple, &Bootstrap::default()).unwrap();
    assert!(interval.low >= 0.0 && interval.high <= 1.0);
    let hopeless = Bootstrap::default().interval(3, Resampling::Simple, |sample| {
        (sample == [0, 1, 2]).then_some(1.0).filter(|_| false)
    });
    assert!(matches!(
        hopeless,
        Err(MetricsError::StatisticUndefined { .. })
    ));
}

#[test]
fn intervals_are_formatted_readably() {
    let interval = wilson(579, 624, 0.95).unwrap();
    assert_eq!(interval.to_string(), "0.928 (0.905–0.946)");
    assert_eq!(format!("{interval:.1}"), "0.9 (0.9–0.9)");
}

#[test]
fn empty_masks() {
    let check = |truth: [bool; 2], predicted: [bool; 2], expected: [Option<f64>; 4]| {
        let s = mask_scores(&truth, &predicted).unwrap();
        assert_eq!(
            [s.dice, s.iou, s.precision, s.recall],
            expected,
            "{truth:?} {predicted:?}"
        );
    };
    let zero = Some(0.0);
    check([false, false], [false, false], [None; 4]);
    check([true, false], [false, false], [zero, zero, None, zero]);
    check([false, false], [true, false], [zero, zero, zero, None]);
    check(
        [true, true],
        [true, false],
        [Some(2.0 / 3.0), Some(0.5), Some(1.0), Some(0.5)],
    );
}

#[test]
fn scaling_handles_edge_cases() {
    let fit = |labels: &[bool], odds: &[f64]| {
        let labels: Vec<usize> = labels.iter().map(|l| usize::from(*l)).collect();
        let logits: Vec<f64> = odds.iter().flat_map(|z| [0.0, *z]).collect();
        fit_scaling(&labels, &logits, 2).unwrap()
    };
    // All correct: the likelihood alone would sharpen without bound; the prior limits it.
    let labels: Vec<bool> = (0..100).map(|i| i % 2 == 0).collect();
    let odds: Vec<f64> = labels.iter().map(|l| if *l { 2.0 } else { -2.0 }).collect();
    let separable = fit(&labels, &odds);
    assert_eq!(separable.unbounded, Some(Unbounded::Separable));
    let temperature = separable.scaling.temperature();
    assert!((0.2..0.6).contains(&temperature), "{temperature}");
    // With one misclassified example, the data determine the values.
    let mut wrong = odds.clone();
    wrong[0] = -3.0;
    assert_eq!(fit(&labels, &wrong).unbounded, None);
    // Flat, or worse than chance: as soft as the prior allows, and reported as such.
    let flat = fit(&labels, &[0.0; 100]);
    assert_eq!(flat.unbounded, Some(Unbounded::Uninformative));
    assert!((flat.scaling.temperature() - 1.0).abs() < 1e-6);
    let reversed: Vec<f64> = odds.iter().map(|z| -z).collect();
    let reversed = fit(&labels, &reversed);
    assert_eq!(reversed.unbounded, Some(Unbounded::Uninformative));
    assert!(reversed.scaling.temperature() > 10.0);
    assert_eq!(
        fit(&[true, true], &[1.0, 2.0]).unbounded,
        Some(Unbounded::AbsentClass)
    );
    for scale in [1e-6, 1e6] {
        let fit = fit(&[true, false, true], &[scale, -scale, -0.5 * scale]);
        assert!(fit.scaling.temperature().is_finite() && fit.nll_after.is_finite());
    }
}

#[test]
fn scaling_and_its_inverse_agree() {
    let scaling = Scaling::new(2.0, vec![0.25, -0.5]).unwrap();
    let p = scaling.probabilities(&[0.0_f32, 3.0]);
    assert!((p[0] + p[1] - 1.0).abs() < 1e-15);
    assert!((p[1] - scaling.probability_at(3.0, 1)).abs() < 1e-15);
    assert!((p[0] - scaling.probability_at(-3.0, 0)).abs() < 1e-15);
    assert!((scaling.log_odds_at(p[1], 1) - 3.0).abs() < 1e-12);
    assert_eq!(
        Scaling::identity(3).probabilities(&[1.0, 1.0, 1.0]),
        [1.0 / 3.0; 3]
    );
    assert!(Scaling::new(0.0, vec![0.0]).is_err() && Scaling::new(1.0, vec![f64::NAN]).is_err());
    let read = serde_json::from_str::<Scaling>;
    assert!(read(r#"{"temperature": -1, "bias": [0, 0]}"#).is_err());
    let text = serde_json::to_string(&scaling).unwrap();
    assert_eq!(read(&text).unwrap(), scaling);
}

/// Uses sharp logits: most f64 probabilities are 1 or 0, so ranking by them would produce ties.
#[test]
fn calibration_does_not_change_ranks() {
    let mut rng = random::Rng::stream(3, 3);
    let labels: Vec<usize> = (0..120).map(|i| i % 3).collect();
    let logits: Vec<f64> = labels
        .iter()
        .flat_map(|label| {
            let of =
                |class: usize| rng.below(100) as f64 + if class == *label { 45.0 } else { 0.0 };
            [0, 1, 2].map(of)
        })
        .collect();
    let judge = |temperature: f64, bias: f64| {
        let scaling = Scaling::new(temperature, vec![bias, 0.0, -bias]).unwrap();
        evaluated(&labels, &logits, &scaling)
    };
    let (sharp, soft, shifted) = (judge(0.01, 0.0), judge(50.0, 0.0), judge(50.0, 0.3));
    assert!(sharp.auc.unwrap().estimate > 0.7);
    for other in [&soft, &shifted] {
        assert_eq!((sharp.auc, &sharp.ranking), (other.auc, &other.ranking));
        assert!(sharp.log_loss.estimate > other.log_loss.estimate);
    }
    assert_eq!(sharp.confusion, soft.confusion);
    assert_ne!(sharp.confusion, shifted.confusion);
}

/// The biases of a calibration make another class the most probable one, which is then predicted.
#[test]
fn of_more_than_two_classes_the_most_probable_one_is_predicted() {
    let scaling = Scaling::new(1.0, vec![0.5, 0.0, 0.0]).unwrap();
    let logits = [1.0, 1.2, 0.0, 0.0, 2.0, 0.0];
    let found = evaluated(&[0, 1], &logits, &scaling);
    assert_eq!(found.accuracy.estimate, 1.0);
    let plain = evaluated(&[0, 1], &logits, &Scaling::identity(3));
    assert_eq!(plain.accuracy.estimate, 0.5);
}

fn evaluated(labels: &[usize], logits: &[f64], scaling: &Scaling) -> metrics::Evaluation {
    let rows = logits.chunks(3);
    let p: Vec<f64> = rows.flat_map(|z| scaling.probabilities(z)).collect();
    let predictions = Predictions {
        class_names: &["a", "b", "c"],
        labels,
        logits,
        probabilities: &p,
        groups: None,
    };
    let settings = EvaluationSettings {
        resamples: 20,
        ..Default::default()
    };
    evaluate(&predictions, &settings).unwrap().0
}

#[test]
fn youden_ties_are_resolved_by_higher_sensitivity() {
    let labels = [true, false, true, false];
    let point = ThresholdRule::Youden
        .choose(&labels, &[0.9, 0.8, 0.7, 0.6])
        .unwrap();
    assert!((point.threshold - 0.65).abs() < 1e-15);
    assert_eq!(point.counts.sensitivity(), Some(1.0));
}

#[test]
fn thresholds_are_between_scores_and_below_the_lowest() {
    let choose = |scores: &[f64]| {
        let labels: Vec<bool> = (0..scores.len()).map(|i| i + 1 == scores.len()).collect();
        let rule = ThresholdRule::Sensitivity(1.0);
        rule.choose(&labels, scores).unwrap().threshold
    };
    assert_eq!(choose(&[5.0, 3.0, 1.0]), 0.0);
    assert_eq!(choose(&[1.0, 1.0]), 0.5);
    // There is no number between adjacent floating-point numbers.
    let above = 1.0_f64.next_up();
    assert_eq!(choose(&[1.0, above]), above);
}

#[test]
fn a_threshold_has_an_interval() {
    let (labels, scores) = example(200);
    let patients: Vec<usize> = (0..200).map(|i| i / 4).collect();
    let bootstrap = Bootstrap {
        resamples: 200,
        ..Default::default()
    };
    for rule in [ThresholdRule::Youden, ThresholdRule::Sensitivity(0.9)] {
        let plan = Resampling::Grouped(&patients);
        let found = rule.interval(&labels, &scores, plan, &bootstrap).unwrap();
        assert_eq!(
            found.estimate,
            rule.choose(&labels, &scores).unwrap().threshold
        );
        assert!(found.low <= found.estimate && found.estimate <= found.high);
        assert!(found.low < found.high);
    }
}

#[test]
fn binary_summary() {
    let (labels, scores) = example(90);
    let classes: Vec<usize> = labels.iter().map(|label| usize::from(*label)).collect();
    let rows: Vec<f64> = scores.iter().flat_map(|p| [1.0 - p, *p]).collect();
    let logits: Vec<f64> = scores.iter().flat_map(|p| [0.0, *p - 0.6]).collect();
    let patients: Vec<usize> = (0..90).map(|i| i / 2).collect();
    let predictions = Predictions {
        class_names: &["NORMAL", "PNEUMONIA"],
        labels: &classes,
        logits: &logits,
        probabilities: &rows,
        groups: Some(&patients),
    };
    let settings = EvaluationSettings {
        threshold: -1e-9, // 0.6 - 0.6 may round to less than 0
        resamples: 200,
        seed: 3,
        ..Default::default()
    };
    let (evaluation, curves) = evaluate(&predictions, &settings).unwrap();
    let binary = evaluation.binary.clone().unwrap();
    let confusion = &evaluation.confusion;
    assert_eq!(binary.counts.true_positives, confusion.get(1, 1));
    assert_eq!(binary.counts.false_positives, confusion.get(0, 1));
    assert_eq!(evaluation.groups, Some(45));
    assert_eq!(evaluation.ranking.len(), 1);
    assert_eq!(evaluation.auc, evaluation.ranking[0].auc);
    assert_eq!(
        binary.auc_delong.unwrap().estimate,
        evaluation.auc.unwrap().estimate
    );
    assert_eq!(
        curves.reliability.iter().map(|bin| bin.n).sum::<usize>(),
        90
    );

    // Exactly reproducible: the same text twice, and the same value when read back.
    let text = serde_json::to_string(&evaluation).unwrap();
    assert_eq!(
        text,
        serde_json::to_string(&evaluate(&predictions, &settings).unwrap().0).unwrap()
    );
    assert_eq!(
        serde_json::from_str::<Evaluation>(&text).unwrap(),
        evaluation
    );
    let drawn = serde_json::to_string(&curves).unwrap();
    assert_eq!(serde_json::from_str::<Curves>(&drawn).unwrap(), curves);

    // Choosing the other class as positive mirrors the decision, but does not change the AUC.
    let other = EvaluationSettings {
        positive: 0,
        ..settings
    };
    let (mirrored, _) = evaluate(&predictions, &other).unwrap();
    let gap = mirrored.auc.unwrap().estimate - evaluation.auc.unwrap().estimate;
    assert!(gap.abs() < 1e-12);
    assert_eq!(mirrored.binary.unwrap().positive, "NORMAL");
}

#[test]
fn a_split_without_a_class_is_evaluated_as_far_as_possible() {
    let judge = |names: &[&str], labels: &[usize], rows: &[f64]| {
        let predictions = Predictions {
            class_names: names,
            labels,
            logits: rows,
            probabilities: rows,
            groups: None,
        };
        evaluate(&predictions, &EvaluationSettings::default()).unwrap()
    };
    let (evaluation, curves) = judge(&["a", "b"], &[1, 1, 1], &[0.2, 0.8, 0.7, 0.3, 0.1, 0.9]);
    assert_eq!((evaluation.auc, evaluation.average_precision), (None, None));
    let binary = evaluation.binary.unwrap();
    assert!(binary.specificity.is_none() && binary.sensitivity.is_some());
    assert!(curves.classes.is_empty());

    let rows = [0.5, 0.3, 0.2, 0.3, 0.6, 0.1, 0.8, 0.1, 0.1, 0.2, 0.7, 0.1];
    let (evaluation, curves) = judge(&["a", "b", "c"], &[0, 1, 0, 1], &rows);
    assert_eq!((evaluation.auc, curves.classes.len()), (None, 2));
    assert!(evaluation.ranking[0].auc.is_some() && evaluation.ranking[2].auc.is_none());
}

#[test]
fn bad_input_is_an_error_that_says_what_to_do() {
    let check = |error: MetricsError, expected: &str| {
        assert!(error.to_string().contains(expected), "{error}");
    };
    let both = [true, false];
    check(
        ConfusionMatrix::new(2, &[], &[]).unwrap_err(),
        "`labels` is empty",
    );
    check(
        ConfusionMatrix::new(0, &[0], &[0]).unwrap_err(),
        "`classes` is 0",
    );
    check(
        ConfusionMatrix::new(2, &[0, 1], &[0]).unwrap_err(),
        "`predictions` has 1 entries, but 2",
    );
    check(
        ConfusionMatrix::new(2, &[0, 2], &[0, 0]).unwrap_err(),
        "`labels[1]` is class 2",
    );
    check(
        ConfusionMatrix::from_rows(&[vec![1, 2], vec![3]]).unwrap_err(),
        "a row of counts",
    );
    check(
        ConfusionMatrix::from_rows(&[vec![0]]).unwrap_err(),
        "`counts` is empty",
    );
    check(
        roc_auc(&[true, true], &[0.1, 0.2]).unwrap_err(),
        "2 of 2 examples are positive",
    );
    check(
        roc_auc(&both, &[0.1, f64::NAN]).unwrap_err(),
        "`scores[1]` is NaN",
    );
    check(
        pr_curve(&[false], &[0.1], CurvePoints::All).unwrap_err(),
        "0 of 1 examples",
    );
    check(
        delong_auc(&both, &[0.1, 0.2], None, 0.95).unwrap_err(),
        "two of each",
    );
    check(
        brier_score(&both, &[0.1, 1.2]).unwrap_err(),
        "apply softmax or sigmoid",
    );
    check(
        Probabilities::new(2, &[0.5, 0.5, 0.5]).unwrap_err(),
        "`probabilities` has 3 entries, but 4",
    );
    check(
        Probabilities::new(2, &[0.5, 0.6]).unwrap_err(),
        "row 0 sum to 1.1",
    );
    check(
        reliability_bins(&both, &[0.1, 0.2], 0).unwrap_err(),
        "`bins` is 0",
    );
    check(wilson(1, 0, 0.95).unwrap_err(), "`trials` is empty");
    check(wilson(2, 1, 0.95).unwrap_err(), "`successes` is 2");
    check(wilson(1, 2, f64::NAN).unwrap_err(), "`level` is NaN");
    check(
        ThresholdRule::Sensitivity(1.5)
            .choose(&both, &[0.1, 0.2])
            .unwrap_err(),
        "`sensitivity` is 1.5",
    );
    check(
        fit_scaling(&[0], &[1.0, f64::INFINITY], 2).unwrap_err(),
        "`logits[1]` is inf",
    );
    check(
        fit_scaling(&[0, 1], &[1.0], usize::MAX).unwrap_err(),
        "`logits` has 1 entries",
    );
    let none = Bootstrap {
        resamples: 0,
        ..Default::default()
    };
    check(
        bootstrap_auc(&both, &[0.1, 0.2], Resampling::Simple, &none).unwrap_err(),
        "`resamples`",
    );
    let short = bootstrap_auc(
        &both,
        &[0.1, 0.2],
        Resampling::Grouped(&[1]),
        &Bootstrap::default(),
    );
    check(short.unwrap_err(), "`groups` has 1 entries, but 2");
}
