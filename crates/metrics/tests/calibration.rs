//! Compares calibration with netcal, SciPy and scikit-learn (`calibration.py` writes `calibration.json`).

// clippy.toml allows unwrap in tests, but not in helpers outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use metrics::{
    Odir, Probabilities, Scaling, brier_score_multiclass, expected_calibration_error,
    fit_dirichlet, fit_scaling, fit_vector_scaling, log_loss,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("calibration.json")).unwrap()
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn cases(name: &str) -> Vec<Value> {
    read(&fixture()[name])
}

fn near(what: &str, found: f64, expected: f64, tolerance: f64) {
    let off = (found - expected).abs() / expected.abs().max(1.0);
    assert!(off <= tolerance, "{what}: {found}, expected {expected}");
}

fn all_near(what: &str, found: &[f64], expected: &Value, tolerance: f64) {
    let expected: Vec<f64> = read(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    let pairs = found.iter().zip(expected);
    pairs.for_each(|(found, expected)| near(what, *found, expected, tolerance));
}

/// What an ECE compares: the positive class of two, otherwise the predicted class.
fn confidences(labels: &[usize], rows: &[f64], classes: usize) -> (Vec<bool>, Vec<f64>) {
    let each = rows.chunks(classes).zip(labels);
    each.map(|(row, label)| match classes {
        2 => (*label == 1, row[1]),
        _ => {
            let top = row.iter().copied().fold(0.0, f64::max);
            (row[*label] == top, top)
        }
    })
    .unzip()
}

#[test]
fn calibration_errors_agree_with_netcal() {
    for case in cases("ece") {
        let (labels, rows): (Vec<usize>, Vec<f64>) =
            (read(&case["labels"]), read(&case["probabilities"]));
        let (right, confidence) = confidences(&labels, &rows, read(&case["classes"]));
        let found = expected_calibration_error(&right, &confidence, read(&case["bins"]));
        near("ece", found.unwrap(), read(&case["ece"]), 1e-12);
    }
}

/// A probability on an edge belongs to the bin below here, as in scikit-learn's `calibration_curve`, and to the bin
/// above in netcal: its bins are ours of the other class, whose probability is 1 − p.
#[test]
fn bins_differ_from_those_of_netcal_on_their_edges_only() {
    let case = &fixture()["ece_on_edges"];
    let labels: Vec<usize> = read(&case["labels"]);
    let p: Vec<f64> = read(&case["probabilities"]);
    let negative: Vec<bool> = labels.iter().map(|label| *label == 0).collect();
    let others: Vec<f64> = p.iter().map(|p| 1.0 - p).collect();
    let found = expected_calibration_error(&negative, &others, read(&case["bins"])).unwrap();
    near("ece", found, read(&case["ece"]), 1e-12);
    let positive: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
    let own = expected_calibration_error(&positive, &p, read(&case["bins"])).unwrap();
    assert!((own - found).abs() > 1e-3, "{own} and {found}");
}

/// Each example with its classes exchanged cyclically, so that the best biases are equal. The prior has the weight of
/// an example among 6,000: it changes the temperature by 2e-4.
#[test]
fn temperatures_agree_with_scipy_and_with_netcal_which_has_no_prior() {
    let case = &fixture()["temperature"];
    let (own, rows): (Vec<usize>, Vec<f64>) = (read(&case["labels"]), read(&case["logits"]));
    let (mut labels, mut logits) = (vec![], vec![]);
    for shift in 0..3 {
        labels.extend(own.iter().map(|label| (label + shift) % 3));
        logits.extend(
            rows.chunks(3)
                .flat_map(|z| [0, 1, 2].map(|k| z[(k + 3 - shift) % 3])),
        );
    }
    let fit = fit_scaling(&labels, &logits, 3).unwrap();
    let found = fit.scaling.temperature();
    fit.scaling
        .bias()
        .iter()
        .for_each(|bias| near("bias", *bias, 0.0, 1e-9));
    near("scipy", found, read(&case["scipy"]), 1e-7);
    near(
        "scipy without prior",
        found,
        read(&case["scipy_without_prior"]),
        5e-4,
    );
    near("netcal", found, read(&case["netcal"]), 5e-4);
}

/// Log loss and Brier score of calibrated probabilities, by SciPy's parameters and scikit-learn's scores.
fn check_scores(case: &Value, probabilities: &[f64], nll_after: f64) {
    let labels: Vec<usize> = read(&case["labels"]);
    let probabilities = Probabilities::new(read(&case["classes"]), probabilities).unwrap();
    let loss = log_loss(&labels, &probabilities).unwrap();
    near("log loss", loss, read(&case["log_loss"]), 1e-7);
    near("nll after", nll_after, loss, 1e-12);
    let brier = brier_score_multiclass(&labels, &probabilities).unwrap();
    let halves = if probabilities.classes() == 2 {
        0.5
    } else {
        1.0
    };
    near("brier", halves * brier, read(&case["brier"]), 1e-7);
}

/// Log loss of plain softmax.
fn loss_before(labels: &[usize], logits: &[f64], classes: usize) -> f64 {
    let plain = Scaling::identity(classes);
    let rows = logits.chunks(classes).flat_map(|z| plain.probabilities(z));
    let rows = Probabilities::new(classes, &rows.collect::<Vec<_>>()).unwrap();
    log_loss(labels, &rows).unwrap()
}

#[test]
fn vector_scaling_is_scipys_minimum() {
    for case in cases("vector") {
        let (labels, logits): (Vec<usize>, Vec<f64>) =
            (read(&case["labels"]), read(&case["logits"]));
        let classes = read(&case["classes"]);
        let fit = fit_vector_scaling(&labels, &logits, classes).unwrap();
        all_near("factors", fit.calibration.factors(), &case["factors"], 1e-6);
        all_near("bias", fit.calibration.bias(), &case["bias"], 1e-6);
        let rows = logits.chunks(classes);
        let after = rows.flat_map(|z| fit.calibration.probabilities(z));
        check_scores(&case, &after.collect::<Vec<_>>(), fit.nll_after);
        near(
            "nll before",
            fit.nll_before,
            loss_before(&labels, &logits, classes),
            1e-12,
        );
        assert_eq!(fit.n, labels.len());
    }
}

/// netcal has no prior, and here the logits are logarithms of probabilities, as netcal's inputs. Biases are compared
/// without their mean, which changes no probability. The prior has the weight of one example of 3,000, but factors and
/// biases can partly replace one another, so that it changes them more than the log loss.
#[test]
fn vector_scaling_of_many_examples_agrees_with_netcal() {
    let case = &fixture()["netcal_vector"];
    let (labels, logits): (Vec<usize>, Vec<f64>) = (read(&case["labels"]), read(&case["logits"]));
    let fit = fit_vector_scaling(&labels, &logits, 3).unwrap();
    let found = &fit.calibration;
    let mean = found.bias().iter().sum::<f64>() / 3.0;
    let centred: Vec<f64> = found.bias().iter().map(|bias| bias - mean).collect();
    all_near("factors", found.factors(), &case["factors"], 2e-2);
    all_near("bias", &centred, &case["bias"], 2e-2);
    near("nll", fit.nll_after, read(&case["log_loss"]), 2e-6);
}

#[test]
fn dirichlet_calibration_is_scipys_minimum() {
    for case in cases("dirichlet") {
        let (labels, logits): (Vec<usize>, Vec<f64>) =
            (read(&case["labels"]), read(&case["logits"]));
        let classes = read(&case["classes"]);
        let penalty = Odir {
            off_diagonal: read(&case["off_diagonal"]),
            intercept: read(&case["intercept"]),
        };
        let fit = fit_dirichlet(&labels, &logits, classes, penalty).unwrap();
        all_near("weights", fit.calibration.weights(), &case["weights"], 1e-6);
        all_near("bias", fit.calibration.bias(), &case["bias"], 1e-6);
        let rows = logits.chunks(classes);
        let after = rows.flat_map(|z| fit.calibration.probabilities(z));
        check_scores(&case, &after.collect::<Vec<_>>(), fit.nll_after);
        near(
            "nll before",
            fit.nll_before,
            loss_before(&labels, &logits, classes),
            1e-12,
        );
    }
}

/// With strong penalties only the diagonal is left.
#[test]
fn a_strong_penalty_leaves_no_bias_and_nothing_outside_the_diagonal() {
    let case = &cases("dirichlet")[0];
    let (labels, logits): (Vec<usize>, Vec<f64>) = (read(&case["labels"]), read(&case["logits"]));
    let strong = Odir {
        off_diagonal: 1e9,
        intercept: 1e9,
    };
    let found = fit_dirichlet(&labels, &logits, 3, strong)
        .unwrap()
        .calibration;
    found
        .bias()
        .iter()
        .for_each(|bias| near("bias", *bias, 0.0, 1e-8));
    for (i, weight) in found.weights().iter().enumerate() {
        assert!(i % 4 == 0 || weight.abs() < 1e-8, "{weight}");
    }
}

#[test]
fn hostile_inputs_are_errors_or_finite() {
    let penalty = |off_diagonal| Odir {
        off_diagonal,
        intercept: 0.1,
    };
    assert!(fit_vector_scaling(&[0], &[1.0, f64::NAN], 2).is_err());
    assert!(fit_vector_scaling(&[2], &[1.0, 0.0], 2).is_err());
    assert!(fit_vector_scaling::<f64>(&[], &[], 2).is_err());
    assert!(fit_dirichlet(&[0], &[1.0, 0.0], 2, penalty(0.0)).is_err());
    assert!(fit_dirichlet(&[0], &[1.0, 0.0], 2, penalty(f64::NAN)).is_err());
    assert!(fit_dirichlet(&[0], &[0.0; 33], 33, penalty(0.1)).is_err());
    assert!(fit_dirichlet(&[0], &[1.0], 1, penalty(0.1)).is_ok());
    // An absent class, and scores that saturate or are all equal.
    for logits in [[2.0, 1.0, 0.0, 1.0], [2000.0, -2000.0, 0.0, 1.0], [0.0; 4]] {
        let dirichlet = fit_dirichlet(&[0, 0], &logits, 2, penalty(0.1)).unwrap();
        let vector = fit_vector_scaling(&[0, 0], &logits, 2).unwrap();
        assert!(dirichlet.nll_after.is_finite() && vector.nll_after.is_finite());
        let p = dirichlet.calibration.probabilities(&logits[..2]);
        assert!((p[0] + p[1] - 1.0).abs() < 1e-12);
    }
}
