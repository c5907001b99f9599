//! Sets, risk-coverage curves and abstention: compared with MAPIE, NumPy and SciPy (`reliance.json`, made by `reliance.py`
//! in this folder), and tested for what they promise.

// clippy.toml allows unwrap in tests, but not in helpers outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use metrics::{Abstention, ConformalSets, risk_coverage};
use random::Rng;
use serde_json::Value;

fn cases(name: &str) -> Vec<Value> {
    let fixture: Value = serde_json::from_str(include_str!("reliance.json")).unwrap();
    fixture[name].as_array().unwrap().clone()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn close(actual: f64, expected: f64) {
    assert!(
        (actual - expected).abs() <= 1e-12,
        "{actual}, expected {expected}"
    );
}

#[test]
fn sets_are_those_of_mapie() {
    for case in cases("conformal") {
        let (labels, p): (Vec<usize>, Vec<f64>) =
            (read(&case["labels"]), read(&case["probabilities"]));
        let sets = ConformalSets::calibrate(&labels, &p, None, read(&case["coverage"])).unwrap();
        let least: Vec<f64> = read(&case["least"]);
        sets.least
            .iter()
            .zip(least)
            .for_each(|(own, mapie)| close(*own, mapie));
        let (labels, p): (Vec<usize>, Vec<f64>) = (read(&case["test_labels"]), read(&case["test"]));
        let found: Vec<Vec<usize>> = p.chunks(sets.least.len()).map(|p| sets.set(p)).collect();
        assert_eq!(found, read::<Vec<Vec<usize>>>(&case["sets"]));
        let evaluated = sets.evaluate(&labels, &p, None, 0.95).unwrap();
        close(evaluated.coverage.estimate, read(&case["covered"]));
        close(evaluated.mean_size, read(&case["mean_size"]));
        assert_eq!(evaluated.sizes.iter().sum::<usize>(), labels.len());
    }
}

#[test]
fn risks_are_those_of_numpy() {
    for case in cases("selective") {
        let (correct, confidence): (Vec<bool>, Vec<f64>) =
            (read(&case["correct"]), read(&case["confidence"]));
        let curve = risk_coverage(&correct, &confidence).unwrap();
        let risks: Vec<f64> = read(&case["risks"]);
        assert_eq!(curve.points.len(), risks.len());
        curve
            .points
            .iter()
            .zip(risks)
            .for_each(|((_, risk), expected)| close(*risk, expected));
        close(curve.aurc, read(&case["aurc"]));
        close(curve.excess_aurc, read(&case["excess_aurc"]));
    }
}

#[test]
fn abstention_is_that_of_scipys_binomial_tests() {
    for case in cases("abstention") {
        let (correct, confidence): (Vec<bool>, Vec<f64>) =
            (read(&case["correct"]), read(&case["confidence"]));
        let limits = (read(&case["allowed"]), read(&case["level"]));
        let chosen = Abstention::choose(&correct, &confidence, None, limits).unwrap();
        assert_eq!(chosen.is_some(), !case["chosen"].is_null());
        if let Some(chosen) = chosen {
            close(chosen.least_confidence, read(&case["chosen"]["least"]));
            close(chosen.accepted, read(&case["chosen"]["accepted"]));
            close(chosen.risk, read(&case["chosen"]["risk"]));
        }
    }
}

/// Patients of two classes, one in five ill; each patient has from 1 to 6 images, which resemble each other.
struct Patients {
    labels: Vec<usize>,
    probabilities: Vec<f64>,
    groups: Vec<usize>,
}

fn patients(rng: &mut Rng, n: usize) -> Patients {
    let mut all = Patients {
        labels: vec![],
        probabilities: vec![],
        groups: vec![],
    };
    for group in 0..n {
        let label = usize::from(rng.unit() < 0.2);
        let own = 2.0 * label as f64 - 1.0 + rng.normal();
        // Those with many images are those that are hard to tell.
        let images = 1 + (5.0 * (-own.abs()).exp()) as usize;
        for _ in 0..images {
            let p = 1.0 / (1.0 + (-(own + 0.3 * rng.normal())).exp());
            all.labels.push(label);
            all.probabilities.extend([1.0 - p, p]);
            all.groups.push(group);
        }
    }
    all
}

/// The promise is about an image of a new patient; over many calibrations and patients it holds within chance, for each
/// class. Without regard to patients it fails.
#[test]
fn sets_cover_new_patients_as_promised_for_each_class() {
    let (trials, promised) = (3000, 0.9);
    let mut rng = Rng::keyed(7, &[]);
    let mut by_patient = [(0, 0); 2];
    let mut by_image = [(0, 0); 2];
    for _ in 0..trials {
        let seen = patients(&mut rng, 120);
        let new = patients(&mut rng, 1);
        let label = new.labels[0];
        for (counts, groups) in [
            (&mut by_patient, Some(seen.groups.as_slice())),
            (&mut by_image, None),
        ] {
            let sets =
                ConformalSets::calibrate(&seen.labels, &seen.probabilities, groups, promised)
                    .unwrap();
            let (covered, n) = &mut counts[label];
            *covered += usize::from(sets.set(&new.probabilities[..2]).contains(&label));
            *n += 1;
        }
    }
    for (covered, n) in by_patient {
        let share = covered as f64 / n as f64;
        let deviation = (promised * (1.0 - promised) / n as f64).sqrt();
        assert!(share >= promised - 3.0 * deviation, "{share} of {n}");
        // No more than the last step of the quantile above it.
        assert!(share <= promised + 0.06 + 3.0 * deviation, "{share} of {n}");
    }
    let image = |class: usize| by_image[class].0 as f64 / by_image[class].1 as f64;
    let patient = |class: usize| by_patient[class].0 as f64 / by_patient[class].1 as f64;
    // Patients who are hard to tell have more images here, so that counting images gives larger sets than were promised.
    assert!(image(0) > patient(0), "{} {}", image(0), patient(0));
}

/// The limit on errors fails for at most the share of calibrations that it may.
#[test]
fn accepted_predictions_err_no_more_than_allowed() {
    let (allowed, level) = (0.1, 0.9);
    let mut rng = Rng::keyed(8, &[]);
    let mut judge = |n: usize| {
        let all = patients(&mut rng, n);
        let p = all.probabilities.chunks(2);
        let correct: Vec<bool> = p
            .clone()
            .zip(&all.labels)
            .map(|(p, l)| (p[1] >= 0.5) == (*l == 1))
            .collect();
        let confidence: Vec<f64> = p.map(|p| p[0].max(p[1])).collect();
        (correct, confidence, all.groups)
    };
    let (correct, confidence, groups) = judge(20_000);
    let truly = |least: f64| {
        let mut own = std::collections::BTreeMap::<usize, (f64, f64)>::new();
        for i in (0..correct.len()).filter(|i| confidence[*i] >= least) {
            let (wrong, n) = own.entry(groups[i]).or_default();
            *wrong += f64::from(u8::from(!correct[i]));
            *n += 1.0;
        }
        own.values().map(|(wrong, n)| wrong / n).sum::<f64>() / own.len() as f64
    };
    let (mut chosen, mut broken) = (0, 0);
    for _ in 0..200 {
        let (correct, confidence, groups) = judge(250);
        let rule =
            Abstention::choose(&correct, &confidence, Some(&groups), (allowed, level)).unwrap();
        if let Some(rule) = rule {
            chosen += 1;
            broken += usize::from(truly(rule.least_confidence) > allowed);
        }
    }
    assert!(chosen >= 100, "{chosen}");
    assert!(broken <= 20 + 12, "{broken} of {chosen}");
}
