//! Targets of mixed images against timm's, and their losses against PyTorch's
//! (`crates/augment/tests/mix/expected.json`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use dfdx::prelude::{AsArray, Backward, Cpu, OwnedTape, Tensor, TensorFromVec, Trace};
use serde::Deserialize;
use train::loss::{ClassLoss, ClassObjective, LossError, Targets};

#[derive(Deserialize)]
struct Expected {
    classes: usize,
    batches: Vec<Mixed>,
    losses: Vec<Case>,
}

#[derive(Deserialize)]
struct Mixed {
    kind: String,
    size: (usize, usize),
    share: f64,
    centre: (usize, usize),
    smoothing: f32,
    labels: Vec<usize>,
    targets: Vec<f32>,
}

#[derive(Deserialize)]
struct Case {
    kind: ClassLoss,
    x: Vec<f32>,
    labels: Vec<usize>,
    share: f32,
    weights: Option<Vec<f32>>,
    smoothing: f32,
    loss: f32,
    gradient: Vec<f32>,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("../../augment/tests/mix/expected.json")).unwrap()
}

fn reversed(labels: &[usize]) -> Vec<usize> {
    labels.iter().rev().copied().collect()
}

#[test]
fn targets_are_timms() {
    let expected = expected();
    for batch in &expected.batches {
        // cutmix's share is that of the box's true area, which the tests of `augment` compare.
        let ((height, width), (row, column)) = (batch.size, batch.centre);
        let span = |side: usize, centre: usize| {
            let len = (side as f64 * (1.0 - batch.share).sqrt()) as usize;
            (centre + len.div_ceil(2)).min(side) - centre.saturating_sub(len / 2)
        };
        let pasted = span(height, row) * span(width, column);
        let share = match batch.kind.as_str() {
            "mixup" => batch.share,
            _ => 1.0 - pasted as f64 / (height * width) as f64,
        };
        let objective = ClassObjective {
            label_smoothing: batch.smoothing,
            ..ClassObjective::default()
        };
        let targets = Targets::Mixed {
            labels: &batch.labels,
            partners: &reversed(&batch.labels),
            share: share as f32,
        };
        let found = objective.targets(targets, expected.classes).unwrap();
        assert_eq!(found.len(), batch.targets.len());
        for (f, e) in found.iter().zip(&batch.targets) {
            assert!((f - e).abs() <= 1e-6, "{} {share}: {f}, {e}", batch.kind);
        }
    }
}

#[test]
fn losses_of_mixed_images_are_pytorchs() {
    let expected = expected();
    assert_eq!(expected.losses.len(), 24);
    for case in &expected.losses {
        let objective = ClassObjective {
            loss: case.kind,
            weights: case.weights.clone(),
            label_smoothing: case.smoothing,
        };
        let shape = (case.labels.len(), expected.classes);
        let x: Tensor<(usize, usize), f32, Cpu> =
            Cpu::default().tensor_from_vec(case.x.clone(), shape);
        let targets = Targets::Mixed {
            labels: &case.labels,
            partners: &reversed(&case.labels),
            share: case.share,
        };
        let loss = objective
            .loss::<OwnedTape<f32, Cpu>>(x.leaky_trace(), targets)
            .unwrap();
        let value = loss.array();
        assert!(
            (value - case.loss).abs() <= 2e-6 * case.loss,
            "{objective:?}: {value}"
        );
        let gradient = loss.backward().get(&x).as_vec();
        for (f, e) in gradient.iter().zip(&case.gradient) {
            assert!((f - e).abs() <= 1e-6, "{objective:?}: {f} instead of {e}");
        }
    }
}

#[test]
fn the_dominant_label_counts_as_correct() {
    let (labels, partners) = ([0, 1], [1, 0]);
    let mixed = |share| Targets::Mixed {
        labels: &labels,
        partners: &partners,
        share,
    };
    assert_eq!(mixed(0.6).dominant(), labels);
    assert_eq!(mixed(0.5).dominant(), labels);
    assert_eq!(mixed(0.4).dominant(), partners);
    assert_eq!(Targets::from(&labels).dominant(), labels);
}

#[test]
fn partners_that_do_not_fit_are_errors() {
    let targets = |partners| Targets::Mixed {
        labels: &[0, 1],
        partners,
        share: 0.5,
    };
    let objective = ClassObjective::default();
    let class = LossError::Label {
        label: 2,
        classes: 2,
    };
    assert_eq!(objective.targets(targets(&[0, 2]), 2), Err(class));
    assert!(objective.targets(targets(&[0]), 2).is_err());
}
