//! Losses on class scores.

use model::engine::recipe::Results;
use random::Rng;
use serde_json::json;
use train::hits;
use train::loss::{ClassLoss, ClassObjective, Targets};

use crate::batch::{Batch, TrainingCase};
use crate::device::{everywhere, largest, normal, settings};

pub(crate) fn labels(n: usize, classes: usize, seed: u64) -> Vec<usize> {
    let mut rng = Rng::stream(seed, 1);
    (0..n)
        .map(|_| (rng.next_u64() % classes as u64) as usize)
        .collect()
}

pub(crate) fn check_class<'a>(
    objective: &ClassObjective,
    name: &str,
    x: &'a [f32],
    targets: impl Into<Targets<'a>>,
) {
    let targets = targets.into();
    let training_case = TrainingCase {
        config: settings(json!({})),
        objective: objective.clone(),
        largest: largest(x),
    };
    let classes = x.len() / targets.dominant().len();
    let batch = Batch {
        class: Some((x, targets)),
        classes,
        maps: &[],
        masks: None,
    };
    training_case.check(&format!("{objective:?} {name}"), &batch);
}

pub(crate) fn class_objectives(classes: usize) -> Vec<ClassObjective> {
    let mut all = vec![];
    for loss in [ClassLoss::CrossEntropy, ClassLoss::SoftmaxBce] {
        for weights in [None, Some((0..classes).map(|c| 0.3 + c as f32).collect())] {
            for label_smoothing in [0.0, 0.1] {
                let weights = weights.clone();
                all.push(ClassObjective {
                    loss,
                    weights,
                    label_smoothing,
                });
            }
        }
    }
    all
}

#[test]
fn class_losses_match_dfdx() {
    for classes in [1, 2, 3, 4, 10] {
        for objective in class_objectives(classes) {
            for n in [1, 2, 5, 33, 300] {
                for scale in [1.0, 12.0] {
                    let x: Vec<f32> = normal(n * classes, 3).iter().map(|x| scale * x).collect();
                    let name = format!("{n}x{classes} times {scale}");
                    check_class(&objective, &name, &x, &labels(n, classes, 4));
                }
            }
        }
    }
}

/// mixup and cutmix: the own label's share in each target, from none to all, and partners with equal labels.
#[test]
fn class_losses_of_mixed_images_match_dfdx() {
    for classes in [1, 2, 3, 10] {
        for objective in class_objectives(classes) {
            for (n, share) in [(1, 1.0), (2, 0.3), (5, 0.5), (33, 0.0), (300, 0.9)] {
                let x = normal(n * classes, 5);
                let labels = labels(n, classes, 6);
                let partners: Vec<usize> = labels.iter().rev().copied().collect();
                let targets = Targets::Mixed {
                    labels: &labels,
                    partners: &partners,
                    share,
                };
                let name = format!("{n}x{classes} mixed {share}");
                check_class(&objective, &name, &x, targets);
            }
        }
    }
}

#[test]
fn class_losses_of_extreme_scores_are_finite() {
    for large in [80.0, 1e4] {
        for objective in class_objectives(3) {
            let x = [
                large, -large, 0.0, -large, large, 1.0, large, large, -large, 0.0, 0.0, large,
                -large, -large, -large,
            ];
            for labels in [[0, 1, 2, 2, 0], [1, 0, 0, 1, 1], [2, 2, 1, 0, 2]] {
                check_class(&objective, &format!("at {large}"), &x, &labels);
            }
        }
        for objective in class_objectives(2) {
            let x = [large, -large, -large, large, large, large];
            check_class(&objective, &format!("at {large}"), &x, &[0, 0, 1]);
        }
        for objective in class_objectives(1) {
            check_class(
                &objective,
                &format!("at {large}"),
                &[large, -large],
                &[0, 0],
            );
        }
    }
}

/// In a tie the first class is predicted, as on the host; in a row of equal scores only the first label is a hit.
#[test]
fn the_first_of_equal_scores_is_the_prediction() {
    let x = [
        1.0, 1.0, 0.0, 0.5, 2.0, 2.0, -1.0, -1.0, -1.0, 3.0, 4.0, 4.5,
    ];
    for (labels, expected) in [([0, 1, 0, 2], 4), ([1, 2, 1, 1], 0), ([0, 2, 2, 2], 2)] {
        assert_eq!(hits(&x, 3, &labels), expected);
        check_class(&ClassObjective::default(), "ties", &x, &labels);
    }
}

/// A score that is not finite makes the loss not finite, and the step is not applied.
#[test]
fn a_score_that_is_not_finite_makes_the_loss_not_finite() {
    for objective in class_objectives(3) {
        for bad in [f32::NAN, f32::INFINITY] {
            for place in 0..3 {
                let mut x = normal(6, 8);
                x[3 + place] = bad;
                let training_case = TrainingCase {
                    config: settings(json!({})),
                    objective: objective.clone(),
                    largest: 1.0,
                };
                let batch = Batch {
                    class: Some((&x, (&[0, 1]).into())),
                    classes: 3,
                    maps: &[],
                    masks: None,
                };
                assert!(!training_case.expected(&batch).loss.is_finite());
                let check = |name: &str, found: &[Vec<f32>]| {
                    let results = Results::read(&found[0]).unwrap();
                    assert!(!results.loss.is_finite() && !results.applied, "{name}");
                    let first = [x[3], x[4], x[5]];
                    let seen = hits(&x[..3], 3, &[0]) + hits(&first, 3, &[1]);
                    assert_eq!(results.hits as usize, seen, "{name}");
                };
                everywhere(1 << 14, |device| training_case.found(device, &batch), check);
            }
        }
    }
}
