//! Prior shift, its test, decision curves and predictive values: compared with abstention, dcurves, SciPy and
//! statsmodels (`prior.py`), and on simulated data whose truth is known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use metrics::*;
use proptest::prelude::*;
use random::Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    shifts: Vec<ShiftCase>,
    curves: Vec<CurveCase>,
    predictive: Vec<PredictiveCase>,
}

#[derive(Deserialize)]
struct ShiftCase {
    classes: usize,
    labels: Vec<usize>,
    /// In thousandths.
    validation: Vec<u16>,
    /// In thousandths.
    target: Vec<u16>,
    em: Vec<f64>,
    maximum_likelihood: Vec<f64>,
    reweighted: Vec<f64>,
    bbse: Bbse,
    distance: f64,
}

#[derive(Deserialize)]
struct Bbse {
    soft: Vec<f64>,
    hard: Vec<f64>,
}

#[derive(Deserialize)]
struct CurveCase {
    labels: Vec<bool>,
    probabilities: Vec<f64>,
    prevalence: Option<f64>,
    thresholds: Vec<f64>,
    model: Vec<f64>,
    all: Vec<f64>,
}

#[derive(Deserialize)]
struct PredictiveCase {
    /// True positives, positives, true negatives, negatives.
    counts: [u64; 4],
    prevalence: f64,
    ppv: [f64; 3],
    npv: [f64; 3],
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("prior.json")).unwrap()
}

#[track_caller]
fn close(got: &[f64], expected: &[f64], tolerance: f64) {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance;
    let same = got.len() == expected.len() && got.iter().zip(expected).all(near);
    assert!(same, "{got:?}, expected {expected:?}");
}

fn thousandths(values: &[u16]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v) / 1000.0).collect()
}

fn shares(labels: &[usize], classes: usize) -> Vec<f64> {
    let count = |class| labels.iter().filter(|label| **label == class).count();
    (0..classes)
        .map(|class| count(class) as f64 / labels.len() as f64)
        .collect()
}

fn resamples(resamples: usize) -> Bootstrap {
    Bootstrap {
        resamples,
        ..Bootstrap::default()
    }
}

#[test]
fn em_agrees_with_abstention_and_with_the_maximum_of_the_likelihood() {
    for case in reference().shifts {
        let (source, target) = (
            shares(&case.labels, case.classes),
            thousandths(&case.target),
        );
        let found = adapt_prior(&target, &source).unwrap();
        assert!(found.converged);
        close(&found.prior, &case.em, 1e-9);
        close(&found.prior, &case.maximum_likelihood, 1e-9);
        let posterior = reweighted(&target, &source, &found.prior).unwrap();
        close(&posterior[..case.reweighted.len()], &case.reweighted, 1e-9);
    }
}

#[test]
fn black_box_shift_estimation_agrees_with_abstention() {
    for case in reference().shifts {
        let [validation, target] = [&case.validation, &case.target].map(|p| thousandths(p));
        for (kind, expected) in [
            (ConfusionKind::Soft, &case.bbse.soft),
            (ConfusionKind::Hard, &case.bbse.hard),
        ] {
            let found = bbse(case.classes, &case.labels, &validation, &target, kind);
            close(&found.unwrap().unwrap(), expected, 1e-9);
        }
    }
}

#[test]
fn the_distance_of_the_label_shift_test_agrees_with_its_definition() {
    for case in reference().shifts {
        let [validation, target] = [&case.validation, &case.target].map(|p| thousandths(p));
        let validation = ValidationSample {
            labels: &case.labels,
            probabilities: &validation,
            groups: None,
        };
        let target = TargetSample {
            probabilities: &target,
            groups: None,
        };
        let found = label_shift_test(case.classes, &validation, &target, &resamples(99)).unwrap();
        close(&[found.distance], &[case.distance], 1e-9);
        assert!(found.p_value > 0.01, "label shift holds: {found:?}");
    }
}

#[test]
fn net_benefit_agrees_with_dcurves() {
    for case in reference().curves {
        let (labels, p) = (&case.labels, &case.probabilities);
        let curve = decision_curve(
            labels,
            p,
            &case.thresholds,
            case.prevalence,
            None,
            &resamples(50),
        );
        for (i, point) in curve.unwrap().iter().enumerate() {
            let alone = net_benefit(labels, p, point.threshold, case.prevalence).unwrap();
            let best = case.all[i].max(0.0);
            close(
                &[point.model, alone, point.all, point.advantage.estimate],
                &[
                    case.model[i],
                    case.model[i],
                    case.all[i],
                    case.model[i] - best,
                ],
                1e-12,
            );
            assert!(point.advantage.low <= point.advantage.high);
            if let Some(prevalence) = case.prevalence {
                let all = net_benefit_of_all(prevalence, point.threshold).unwrap();
                close(&[all], &[case.all[i]], 1e-12);
            }
        }
    }
}

#[test]
fn predictive_values_agree_with_their_formula_in_numpy() {
    let ends = |value: Option<Interval>| value.map(|v| [v.estimate, v.low, v.high]).unwrap();
    for case in reference().predictive {
        let [tp, positives, tn, negatives] = case.counts;
        let sensitivity = wilson(tp, positives, 0.95).unwrap();
        let specificity = wilson(tn, negatives, 0.95).unwrap();
        let found = predictive_values(&sensitivity, &specificity, case.prevalence).unwrap();
        close(&ends(found.ppv), &case.ppv, 1e-9);
        close(&ends(found.npv), &case.npv, 1e-9);
    }
}

/// Two classes with scores N(∓d/2, 1), displaced by `displaced` for class 1, and their exact probabilities at a
/// prevalence of `source`.
struct Gaussian {
    separation: f64,
    source: f64,
    displaced: f64,
}

impl Gaussian {
    fn draw(&self, rng: &mut Rng, n: usize, prevalence: f64) -> (Vec<usize>, Vec<f64>) {
        let labels: Vec<usize> = (0..n)
            .map(|_| usize::from(rng.chance(prevalence)))
            .collect();
        let centre = |label: usize| match label {
            1 => self.separation / 2.0 + self.displaced,
            _ => -self.separation / 2.0,
        };
        let scores: Vec<f64> = labels.iter().map(|l| centre(*l) + rng.normal()).collect();
        (labels, self.probabilities(&scores))
    }

    fn probabilities(&self, scores: &[f64]) -> Vec<f64> {
        let log_odds = (self.source / (1.0 - self.source)).ln();
        let both = |x: &f64| {
            let p = 1.0 / (1.0 + (-log_odds - self.separation * x).exp());
            [1.0 - p, p]
        };
        scores.iter().flat_map(both).collect()
    }

    fn source(&self) -> [f64; 2] {
        [1.0 - self.source, self.source]
    }
}

const CALIBRATED: Gaussian = Gaussian {
    separation: 1.8,
    source: 0.4,
    displaced: 0.0,
};

#[test]
fn a_planted_prevalence_is_found_within_two_points() {
    for (stream, prevalence) in [0.0, 0.05, 0.2, 0.4, 0.7, 0.95].into_iter().enumerate() {
        let mut rng = Rng::stream(21, stream as u64);
        let (labels, target) = CALIBRATED.draw(&mut rng, 4000, prevalence);
        let planted = shares(&labels, 2)[1];
        let em = adapt_prior(&target, &CALIBRATED.source()).unwrap();
        assert!((em.prior[1] - planted).abs() < 0.02, "{planted}: {em:?}");
        let (labels, validation) = CALIBRATED.draw(&mut rng, 4000, 0.4);
        for kind in [ConfusionKind::Soft, ConfusionKind::Hard] {
            let found = bbse(2, &labels, &validation, &target, kind)
                .unwrap()
                .unwrap();
            // Its variance is larger than that of the maximum of the likelihood.
            assert!((found[1] - planted).abs() < 0.03, "{planted}: {found:?}");
        }
    }
}

#[test]
fn intervals_of_the_prior_cover_it_and_widen_with_groups() {
    let (mut covered, runs) = (0, 120);
    for stream in 0..runs {
        let mut rng = Rng::stream(22, stream);
        let (_, target) = CALIBRATED.draw(&mut rng, 300, 0.2);
        let found = prior_intervals(&target, &CALIBRATED.source(), None, &resamples(200)).unwrap();
        let [negative, positive] = [found[0], found[1]];
        close(
            &[negative.estimate, negative.low, negative.high],
            &[
                1.0 - positive.estimate,
                1.0 - positive.high,
                1.0 - positive.low,
            ],
            1e-9,
        );
        covered += usize::from(positive.low <= 0.2 && 0.2 <= positive.high);
    }
    println!("intervals of the prior cover it in {covered} of {runs}");
    // Of 120 at 95 %: 114 expected, standard deviation 2.4.
    assert!(covered >= 105, "{covered}");

    // 60 patients with five identical images each.
    let (_, once) = CALIBRATED.draw(&mut Rng::stream(23, 0), 60, 0.2);
    let copies: Vec<f64> = once.chunks(2).flat_map(|row| row.repeat(5)).collect();
    let patients: Vec<usize> = (0..300).map(|i| i / 5).collect();
    let width = |groups| {
        let found = prior_intervals(&copies, &CALIBRATED.source(), groups, &resamples(400));
        let positive = found.unwrap()[1];
        positive.high - positive.low
    };
    let (single, grouped) = (width(None), width(Some(&patients[..])));
    assert!(grouped > 1.6 * single, "{single} {grouped}");
}

/// Probabilities after temperature and biases, fitted on `labels`, for validation and target.
fn recalibrated(labels: &[usize], validation: &[f64], target: &[f64]) -> [Vec<f64>; 2] {
    // Logits of another temperature and bias than those of the true probabilities.
    let logits = |p: &[f64]| -> Vec<f64> {
        let row = |row: &[f64]| [2.0 * row[0].ln() + 0.7, 2.0 * row[1].ln()];
        p.chunks(2).flat_map(row).collect()
    };
    let scaling = fit_scaling(labels, &logits(validation), 2).unwrap().scaling;
    [validation, target].map(|p| {
        let rows = logits(p);
        let rows = rows.chunks(2).flat_map(|row| scaling.probabilities(row));
        rows.collect()
    })
}

/// Number of runs in which the test refuses label shift, at 95 %, with exactly calibrated probabilities or with some
/// calibrated on the validation data.
fn refusals(runs: u64, target: &Gaussian, prevalence: f64, recalibrate: bool) -> usize {
    let refused = |stream: &u64| {
        let mut rng = Rng::stream(24, *stream);
        let (labels, mut validation) = CALIBRATED.draw(&mut rng, 400, 0.4);
        let (_, mut target) = target.draw(&mut rng, 300, prevalence);
        if recalibrate {
            [validation, target] = recalibrated(&labels, &validation, &target);
        }
        let validation = ValidationSample {
            labels: &labels,
            probabilities: &validation,
            groups: None,
        };
        let target = TargetSample {
            probabilities: &target,
            groups: None,
        };
        !label_shift_test(2, &validation, &target, &resamples(99))
            .unwrap()
            .holds
    };
    (0..runs).filter(refused).count()
}

#[test]
fn the_test_keeps_its_level_if_label_shift_holds() {
    for recalibrate in [false, true] {
        for prevalence in [0.1, 0.4, 0.8] {
            let refused = refusals(100, &CALIBRATED, prevalence, recalibrate);
            println!(
                "shift to {prevalence}, recalibrated {recalibrate}: refused in {refused} of 100"
            );
            // 5 would be expected of an exact test, with a standard deviation of 2.2; this one is conservative.
            assert!(refused <= 11, "{prevalence}: {refused}");
        }
    }
}

/// The displacement of one class changes the mixture's shape: no share of the classes explains it. A displacement
/// towards the other class looks like a smaller share, and is found less often.
#[test]
fn the_test_refuses_if_a_class_looks_different() {
    for (displaced, least) in [(-1.2, 8), (1.0, 30), (1.5, 36), (-3.0, 36)] {
        let target = Gaussian {
            displaced,
            ..CALIBRATED
        };
        let refused = refusals(40, &target, 0.5, false);
        println!("class 1 displaced by {displaced}: refused in {refused} of 40");
        assert!(refused >= least, "{displaced}: {refused}");
    }
}

/// 100 patients with four similar images each, under label shift.
fn grouped_refusals(with_groups: bool) -> usize {
    let draw = |rng: &mut Rng, prevalence: f64| {
        let mut labels = Vec::new();
        let mut scores = Vec::new();
        for _ in 0..100 {
            let label = usize::from(rng.chance(prevalence));
            let patient = 1.8 * (label as f64 - 0.5) + 0.95_f64.sqrt() * rng.normal();
            for _ in 0..4 {
                labels.push(label);
                scores.push(patient + 0.05_f64.sqrt() * rng.normal());
            }
        }
        (labels, CALIBRATED.probabilities(&scores))
    };
    let ids: Vec<usize> = (0..400).map(|i| i / 4).collect();
    let groups = with_groups.then_some(&ids[..]);
    let refused = |stream: &u64| {
        let mut rng = Rng::stream(25, *stream);
        let ((labels, validation), (_, target)) = (draw(&mut rng, 0.4), draw(&mut rng, 0.2));
        let validation = ValidationSample {
            labels: &labels,
            probabilities: &validation,
            groups,
        };
        let target = TargetSample {
            probabilities: &target,
            groups,
        };
        !label_shift_test(2, &validation, &target, &resamples(99))
            .unwrap()
            .holds
    };
    (0..150).filter(refused).count()
}

#[test]
fn the_test_keeps_its_level_with_several_images_of_a_patient() {
    let (grouped, single) = (grouped_refusals(true), grouped_refusals(false));
    println!("grouped: refused in {grouped} of 150; as if independent: {single}");
    // 7.5 expected, standard deviation 2.7.
    assert!(grouped <= 16, "{grouped}");
    assert!(single > 2 * grouped, "{single}");
}

#[test]
fn the_same_data_have_the_source_prior() {
    let (labels, p) = CALIBRATED.draw(&mut Rng::stream(26, 0), 4000, 0.4);
    let source = shares(&labels, 2);
    let em = adapt_prior(&p, &source).unwrap();
    assert!((em.prior[1] - source[1]).abs() < 0.02, "{em:?}");
    for kind in [ConfusionKind::Soft, ConfusionKind::Hard] {
        let found = bbse(2, &labels, &p, &p, kind).unwrap().unwrap();
        close(&found, &source, 1e-12);
    }
    let validation = ValidationSample {
        labels: &labels,
        probabilities: &p,
        groups: None,
    };
    let target = TargetSample {
        probabilities: &p,
        groups: None,
    };
    let found = label_shift_test(2, &validation, &target, &resamples(99)).unwrap();
    assert!(found.holds && found.p_value > 0.5, "{found:?}");
    assert_eq!(
        found,
        label_shift_test(2, &validation, &target, &resamples(99)).unwrap()
    );
}

/// Row-major probabilities of `classes` classes, with labels that follow them.
fn softmax_rows(rng: &mut Rng, n: usize, classes: usize) -> (Vec<usize>, Vec<f64>) {
    let mut labels = Vec::new();
    let mut rows = Vec::new();
    for i in 0..n {
        let label = if i < classes { i } else { rng.below(classes) };
        let score = |k| 2.0 * rng.normal() + if k == label { 4.0 } else { 0.0 };
        rows.extend(softmax(&(0..classes).map(score).collect::<Vec<f64>>()));
        labels.push(label);
    }
    (labels, rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn results_do_not_depend_on_the_order_of_examples_or_classes(seed in any::<u64>(), classes in 2_usize..5) {
        let mut rng = Rng::stream(seed, 0);
        let (labels, validation) = softmax_rows(&mut rng, 60, classes);
        let (_, target) = softmax_rows(&mut rng, 50, classes);
        let source = shares(&labels, classes);
        let (mut order, mut names): (Vec<usize>, Vec<usize>) = ((0..60).collect(), (0..classes).collect());
        rng.shuffle(&mut order);
        rng.shuffle(&mut names);
        let renamed = |p: &[f64]| -> Vec<f64> { names.iter().map(|k| p[*k]).collect() };
        let rows = |p: &[f64], order: &[usize]| -> Vec<f64> {
            let row = |i: &usize| renamed(&p[i * classes..(i + 1) * classes]);
            order.iter().flat_map(row).collect()
        };
        let new_name = |i: &usize| names.iter().position(|k| *k == labels[*i]).unwrap();
        let new_labels: Vec<usize> = order.iter().map(new_name).collect();
        let new_validation = rows(&validation, &order);
        order.retain(|i| *i < 50);
        let new_target = rows(&target, &order);

        let em = adapt_prior(&target, &source).unwrap();
        let new_em = adapt_prior(&new_target, &renamed(&source)).unwrap();
        close(&new_em.prior, &renamed(&em.prior), 1e-9);
        close(&[em.prior.iter().sum()], &[1.0], 1e-12);
        let soft = |labels: &[usize], v: &[f64], t: &[f64]| bbse(classes, labels, v, t, ConfusionKind::Soft).unwrap();
        if let Some(found) = soft(&labels, &validation, &target) {
            close(&soft(&new_labels, &new_validation, &new_target).unwrap(), &renamed(&found), 1e-9);
        }
        let distance = |labels: &[usize], v: &[f64], t: &[f64]| {
            let validation = ValidationSample { labels, probabilities: v, groups: None };
            let target = TargetSample { probabilities: t, groups: None };
            label_shift_test(classes, &validation, &target, &resamples(1)).unwrap().distance
        };
        close(
            &[distance(&new_labels, &new_validation, &new_target)],
            &[distance(&labels, &validation, &target)],
            1e-9,
        );
    }

    #[test]
    fn reweighting_back_gives_the_same_probabilities(seed in any::<u64>(), classes in 2_usize..5) {
        let mut rng = Rng::stream(seed, 1);
        let (_, p) = softmax_rows(&mut rng, 30, classes);
        let mut prior = || softmax(&(0..classes).map(|_| rng.normal()).collect::<Vec<f64>>());
        let (source, target) = (prior(), prior());
        let there = reweighted(&p, &source, &target).unwrap();
        close(&reweighted(&there, &target, &source).unwrap(), &p, 1e-9);
        close(&reweighted(&p, &source, &source).unwrap(), &p, 1e-12);
    }
}

#[test]
fn a_class_that_does_not_occur_in_the_target_has_a_share_of_0() {
    let rows = [0.9, 0.1].repeat(50);
    let found = adapt_prior(&rows, &[0.5, 0.5]).unwrap();
    assert!(found.converged);
    close(&found.prior, &[1.0, 0.0], 1e-9);
    let posterior = reweighted(&rows, &[0.5, 0.5], &[1.0, 0.0]).unwrap();
    assert_eq!(posterior, [1.0, 0.0].repeat(50));
}

#[test]
fn an_uninformative_classifier_gives_no_black_box_estimate() {
    let (labels, target) = ([0, 1, 0, 1], [0.7, 0.3]);
    let same = [0.6, 0.4].repeat(4);
    let nearly = [0.6, 0.4, 0.595, 0.405, 0.6, 0.4, 0.595, 0.405];
    for kind in [ConfusionKind::Soft, ConfusionKind::Hard] {
        for validation in [&same[..], &nearly] {
            assert_eq!(bbse(2, &labels, validation, &target, kind), Ok(None));
        }
    }
}

#[test]
fn what_cannot_be_computed_is_an_error() {
    let p = [0.6, 0.4, 0.3, 0.7];
    let message = |error: MetricsError| error.to_string();
    let shares = adapt_prior(&p, &[0.5, 0.6]).map_err(message).unwrap_err();
    assert!(shares.contains("sum of 1"), "{shares}");
    assert!(adapt_prior(&p, &[1.0, 0.0]).is_err());
    assert!(adapt_prior(&[], &[0.5, 0.5]).is_err());
    assert!(adapt_prior(&p[..3], &[0.5, 0.5]).is_err());
    assert!(adapt_prior(&[f64::NAN, 0.5], &[0.5, 0.5]).is_err());
    assert!(reweighted(&p, &[0.5, 0.5], &[1.0]).is_err());
    assert_eq!(
        reweighted(&[0.5, 0.5, 1.0, 0.0], &[0.5, 0.5], &[0.0, 1.0]),
        Err(MetricsError::ImpossibleRow { row: 1 })
    );
    assert!(prior_intervals(&p, &[0.5, 0.5], Some(&[1]), &resamples(9)).is_err());
    let absent = bbse(2, &[0, 0], &p, &p, ConfusionKind::Soft);
    assert!(matches!(
        absent,
        Err(MetricsError::AbsentClass { class: 1, .. })
    ));

    let test = |labels: &[usize], groups: Option<&[usize]>, classes, resampling: Bootstrap| {
        let validation = ValidationSample {
            labels,
            probabilities: &p,
            groups,
        };
        let target = TargetSample {
            probabilities: &p,
            groups: None,
        };
        label_shift_test(classes, &validation, &target, &resampling)
    };
    assert!(test(&[0, 1], None, 2, resamples(9)).is_ok());
    assert!(test(&[0, 0], None, 2, resamples(9)).is_err());
    assert!(test(&[0, 1, 1], None, 2, resamples(9)).is_err());
    assert!(test(&[0, 1], Some(&[0]), 2, resamples(9)).is_err());
    assert!(test(&[0, 1], None, 1, resamples(9)).is_err());
    assert!(test(&[0, 1], None, 2, resamples(0)).is_err());

    let (labels, p) = ([true, true], [0.4, 0.6]);
    assert_eq!(net_benefit(&labels, &p, 0.5, None), Ok(0.5));
    assert!(net_benefit(&labels, &p, 0.5, Some(0.2)).is_err());
    assert!(net_benefit(&[true, false], &p, 1.0, None).is_err());
    assert!(net_benefit(&[true, false], &[0.4, 1.2], 0.5, None).is_err());
    assert!(net_benefit(&[true, false], &p, 0.5, Some(1.0)).is_err());
    assert!(net_benefit_of_all(0.3, f64::NAN).is_err());
    assert!(decision_curve(&labels, &p, &[], None, None, &resamples(9)).is_err());
}

#[test]
fn decision_curves_at_the_samples_prevalence_agree_with_the_standardized_ones() {
    let mut rng = Rng::stream(27, 0);
    let (labels, p) = CALIBRATED.draw(&mut rng, 500, 0.4);
    let labels: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
    let p: Vec<f64> = p.chunks(2).map(|row| row[1]).collect();
    let prevalence = labels.iter().filter(|label| **label).count() as f64 / 500.0;
    let thresholds = [0.6, 0.0, 0.3];
    let curve = |prevalence, groups| {
        decision_curve(
            &labels,
            &p,
            &thresholds,
            prevalence,
            groups,
            &resamples(300),
        )
        .unwrap()
    };
    let (plain, standardized) = (curve(None, None), curve(Some(prevalence), None));
    for (a, b) in plain.iter().zip(&standardized) {
        close(&[a.model, a.all], &[b.model, b.all], 1e-12);
    }
    let order: Vec<f64> = plain.iter().map(|point| point.threshold).collect();
    assert_eq!(order, [0.0, 0.3, 0.6]);
    // At 0, treating by the model is treating everybody.
    let at_0 = plain[0].advantage;
    assert_eq!([at_0.low, at_0.estimate, at_0.high], [0.0; 3]);
    // A calibrated model is better than both.
    assert!(plain[1..].iter().all(|point| point.advantage.low > 0.0));
    let patients: Vec<usize> = (0..500).map(|i| i / 4).collect();
    let grouped = curve(None, Some(&patients));
    assert_eq!(grouped[1].advantage.estimate, plain[1].advantage.estimate);
    assert_ne!(grouped[1].advantage, plain[1].advantage);
}

/// Share of samples in which the intervals contain the true predictive values, at 95 %.
#[test]
fn intervals_of_predictive_values_cover_them() {
    for (sensitivity, specificity, n, prevalence) in [
        (0.9, 0.85, 60, 0.1),
        (0.75, 0.98, 80, 0.02),
        (0.97, 0.6, 40, 0.3),
    ] {
        let odds = prevalence / (1.0 - prevalence);
        let ppv = 1.0 / (1.0 + (1.0 - specificity) / sensitivity / odds);
        let npv = 1.0 / (1.0 + (1.0 - sensitivity) / specificity * odds);
        let mut covered = [0; 2];
        let runs = 2000;
        for stream in 0..runs {
            let mut rng = Rng::stream(28, stream);
            let mut draw = |p| {
                let hits = (0..n).filter(|_| rng.chance(p)).count();
                wilson(hits as u64, n as u64, 0.95).unwrap()
            };
            let (se, sp) = (draw(sensitivity), draw(specificity));
            let found = predictive_values(&se, &sp, prevalence).unwrap();
            for (count, (value, truth)) in
                covered.iter_mut().zip([(found.ppv, ppv), (found.npv, npv)])
            {
                *count += usize::from(value.is_some_and(|v| v.low <= truth && truth <= v.high));
            }
        }
        println!("predictive values {sensitivity} {specificity}: covered {covered:?} of {runs}");
        assert!(covered.iter().all(|count| *count >= 1860), "{covered:?}");
    }
}

#[test]
fn predictive_values_at_the_ends_are_finite_or_absent() {
    let at = |tp, tn| {
        let (se, sp) = (wilson(tp, 30, 0.95).unwrap(), wilson(tn, 40, 0.95).unwrap());
        predictive_values(&se, &sp, 0.1).unwrap()
    };
    // Not a single false positive: the interval still has a width.
    let ppv = at(27, 40).ppv.unwrap();
    assert!(
        ppv.estimate == 1.0 && ppv.high == 1.0 && ppv.low > 0.3 && ppv.low < 0.9,
        "{ppv}"
    );
    let ppv = at(0, 20).ppv.unwrap();
    assert!(
        ppv.estimate == 0.0 && ppv.low == 0.0 && ppv.high > 0.0 && ppv.high < 0.1,
        "{ppv}"
    );
    assert_eq!((at(0, 40).ppv, at(30, 0).npv), (None, None));
    for (tp, tn) in [(0, 0), (30, 40), (30, 0), (0, 40), (15, 40), (30, 20)] {
        for value in [at(tp, tn).ppv, at(tp, tn).npv].into_iter().flatten() {
            assert!(0.0 <= value.low && value.low <= value.estimate, "{value}");
            assert!(value.estimate <= value.high && value.high <= 1.0, "{value}");
        }
    }
    let se = wilson(3, 4, 0.9).unwrap();
    let sp = wilson(3, 4, 0.95).unwrap();
    assert!(predictive_values(&se, &sp, 0.1).is_err());
    assert!(predictive_values(&sp, &sp, 0.0).is_err());
}
