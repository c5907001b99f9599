//! Losses against PyTorch's and segmentation_models.pytorch's values and gradients (`losses.json`, made by
//! `losses.py`), and against the shared fixtures where they are present.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;

use dfdx::prelude::{AsArray, Backward, Cpu, OwnedTape, Tensor, TensorFromVec, Trace};
use random::Rng;
use safetensors::SafeTensors;
use serde::Deserialize;
use train::loss::{ClassLoss, ClassObjective, ClassWeights, LossError};
use train::map_loss::{MapLoss, MapObjective, Masks};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Case {
    kind: String,
    shape: Vec<usize>,
    x: Vec<f32>,
    y: f32,
    dx: Vec<f32>,
    labels: Vec<usize>,
    mask: Vec<f32>,
    weights: Option<Vec<f32>>,
    label_smoothing: f32,
    alpha: f32,
    beta: f32,
    gamma: f32,
    pixel_weights: Option<Vec<f32>>,
    ignore: Option<usize>,
    /// Factor by which the masks are larger than the map; 0 means 1.
    step: usize,
}

impl Case {
    fn run(&self) -> (f32, Vec<f32>) {
        match self.shape.len() {
            2 => self.class_loss(),
            _ => self.map_loss(),
        }
    }

    fn class_loss(&self) -> (f32, Vec<f32>) {
        let loss = match self.kind.as_str() {
            "cross_entropy" => ClassLoss::CrossEntropy,
            _ => ClassLoss::SoftmaxBce,
        };
        let objective = ClassObjective {
            loss,
            weights: self.weights.clone(),
            label_smoothing: self.label_smoothing,
        };
        class_loss(&objective, &self.x, &self.shape, &self.labels)
    }

    fn map_loss(&self) -> (f32, Vec<f32>) {
        let loss: MapLoss = serde_json::from_str(&format!("{:?}", self.kind)).unwrap();
        let objective = MapObjective {
            loss,
            class: (!loss.is_multiclass()).then_some(self.shape[3] / 2),
            alpha: self.alpha,
            beta: self.beta,
            gamma: self.gamma,
            ignore: self.ignore,
            ..MapObjective::default()
        };
        let holes = |m: &f32| if *m == 2.0 { f32::NAN } else { *m };
        let mask: Vec<f32> = match loss.is_multiclass() {
            true => self.mask.clone(),
            false => self.mask.iter().map(holes).collect(),
        };
        let step = self.step.max(1);
        let masks = Masks {
            values: &mask,
            weights: self.pixel_weights.as_deref(),
            size: (self.shape[1] * step, self.shape[2] * step),
        };
        map_loss(&objective, &self.x, &self.shape, &masks)
    }
}

type Map = Tensor<(usize, usize, usize, usize), f32, Cpu>;

fn tensor(x: &[f32], shape: &[usize]) -> Map {
    let shape = (shape[0], shape[1], shape[2], shape[3]);
    Cpu::default().tensor_from_vec(x.to_vec(), shape)
}

fn map_loss(
    objective: &MapObjective,
    x: &[f32],
    shape: &[usize],
    masks: &Masks<'_>,
) -> (f32, Vec<f32>) {
    let x = tensor(x, shape);
    let y = objective.loss(x.leaky_trace(), masks).unwrap().unwrap();
    let value = y.array();
    (value, y.backward().get(&x).as_vec())
}

/// Masks without weights.
fn plain(values: &[f32], size: (usize, usize)) -> Masks<'_> {
    Masks {
        values,
        weights: None,
        size,
    }
}

fn class_loss(
    objective: &ClassObjective,
    x: &[f32],
    shape: &[usize],
    labels: &[usize],
) -> (f32, Vec<f32>) {
    let x: Tensor<(usize, usize), f32, Cpu> =
        Cpu::default().tensor_from_vec(x.to_vec(), (shape[0], shape[1]));
    let y = objective.loss(x.leaky_trace(), labels).unwrap();
    let value = y.array();
    (value, y.backward().get(&x).as_vec())
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    let scale = expected.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= 1e-5 * scale,
            "{what}[{i}]: {f} instead of {e}"
        );
    }
}

fn check(case: &Case, name: &str) {
    let (y, dx) = case.run();
    assert_close(&format!("{name} loss"), &[y], &[case.y]);
    assert_close(&format!("{name} gradient"), &dx, &case.dx);
}

#[test]
fn losses_match_pytorch() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("losses.json")).unwrap();
    assert_eq!(cases.len(), 29);
    for (i, case) in cases.iter().enumerate() {
        check(case, &format!("case {i} ({})", case.kind));
    }
}

#[test]
#[ignore = "reads ../shared, which is not in the repository; cargo xtask test runs it if that folder exists"]
fn shared_fixtures_are_reproduced() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/ops.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |name: &str| -> Vec<f32> {
        file.tensor(name)
            .unwrap()
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    };
    let labels: Vec<usize> = file
        .tensor("loss/target")
        .unwrap()
        .data()
        .as_chunks::<8>()
        .0
        .iter()
        .map(|b| i64::from_le_bytes(*b) as usize)
        .collect();
    let fixture = |name: &str, kind: &str| {
        let mut shape = file.tensor(&format!("{name}/x")).unwrap().shape().to_vec();
        if let [n, 1, h, w] = shape[..] {
            shape = vec![n, h, w, 1]; // one channel: NCHW and NHWC have the same order
        }
        let dy = read(&format!("{name}/dy"))[0]; // dx was computed for this upstream gradient
        let (x, dx) = (
            read(&format!("{name}/x")),
            read(&format!("{name}/dx")).iter().map(|d| d / dy).collect(),
        );
        let (y, mask) = (read(&format!("{name}/y"))[0], read("loss/mask"));
        Case {
            kind: kind.into(),
            shape,
            x,
            y,
            dx,
            labels: labels.clone(),
            mask,
            alpha: 0.25,
            gamma: 2.0,
            ..Case::default()
        }
    };
    check(&fixture("cross_entropy", "cross_entropy"), "cross_entropy");
    let weighted = fixture("cross_entropy_weighted_smoothed", "cross_entropy");
    check(
        &Case {
            weights: Some(vec![1.94, 0.67]),
            label_smoothing: 0.1,
            ..weighted
        },
        "cross_entropy_weighted_smoothed",
    );
    check(
        &fixture("softmax_then_bce_onehot", "softmax_bce"),
        "softmax_then_bce_onehot",
    );
    check(
        &fixture("softmax_then_bce_onehot", "cross_entropy"),
        "softmax_then_bce_onehot, as cross-entropy",
    );
    check(
        &fixture("bce_with_logits_mask", "bce"),
        "bce_with_logits_mask",
    );
    check(&fixture("dice_binary_mask", "dice"), "dice_binary_mask");
    check(&fixture("focal_binary_mask", "focal"), "focal_binary_mask");
}

#[test]
fn softmax_bce_equals_cross_entropy_for_two_classes_including_weights() {
    let x = [0.3, -1.0, 2.0, 0.1, -0.7, 4.0];
    let of = |loss| {
        class_loss(
            &ClassObjective {
                loss,
                weights: Some(vec![1.9, 0.7]),
                label_smoothing: 0.0,
            },
            &x,
            &[3, 2],
            &[1, 0, 1],
        )
    };
    let (bce, entropy) = (of(ClassLoss::SoftmaxBce), of(ClassLoss::CrossEntropy));
    assert_close("loss", &[bce.0], &[entropy.0]);
    assert_close("gradient", &bce.1, &entropy.1);
}

#[test]
fn extreme_scores_stay_finite() {
    for loss in [ClassLoss::CrossEntropy, ClassLoss::SoftmaxBce] {
        let objective = ClassObjective {
            loss,
            ..ClassObjective::default()
        };
        let (y, dx) = class_loss(
            &objective,
            &[1e6, -1e6, 0.0, -3e4, 3e4, 1.0],
            &[2, 3],
            &[1, 0],
        );
        assert!(
            y.is_finite() && dx.iter().all(|d| d.is_finite()),
            "{loss:?}: {y} {dx:?}"
        );
        let (y, _) = class_loss(&objective, &[f32::NAN, 0.0], &[1, 2], &[1]);
        assert!(y.is_nan(), "a NaN score must make the loss NaN");
    }
    for loss in MAP_LOSSES {
        let objective = MapObjective {
            loss,
            gamma: 0.0,
            ..MapObjective::default()
        };
        let masks = plain(&[1.0, 0.0], (1, 2));
        let (y, dx) = map_loss(&objective, &[1e4, -1e4, -1e4, 1e4], &[1, 1, 2, 2], &masks);
        assert!(y.is_finite(), "{loss:?}");
        assert!(dx.iter().all(|d| d.is_finite()), "{loss:?}");
    }
}

#[test]
fn masks_without_known_pixels_have_no_loss_and_empty_masks_no_dice() {
    let map = || {
        Cpu::default()
            .tensor_from_vec(vec![0.5; 8], (1usize, 2usize, 2usize, 2usize))
            .leaky_traced()
    };
    let of = |loss, masks: [f32; 4]| {
        let y = MapObjective {
            loss,
            ..MapObjective::default()
        }
        .loss::<OwnedTape<f32, Cpu>>(map(), &plain(&masks, (2, 2)))
        .unwrap();
        y.map(|y| y.array())
    };
    assert_eq!(of(MapLoss::Bce, [f32::NAN; 4]), None);
    assert_eq!(of(MapLoss::None, [1.0; 4]), None);
    assert_eq!(of(MapLoss::Dice, [0.0; 4]), Some(0.0));
}

#[test]
fn bad_input_is_an_error() {
    let objective = ClassObjective {
        weights: Some(vec![1.0, 2.0]),
        ..ClassObjective::default()
    };
    let scores = |c: usize| {
        Cpu::default()
            .tensor_from_vec(vec![0.0; 2 * c], (2usize, c))
            .leaky_traced()
    };
    let fails = |c, labels: &[usize]| {
        objective
            .loss::<OwnedTape<f32, Cpu>>(scores(c), labels)
            .unwrap_err()
    };
    assert_eq!(
        fails(2, &[0, 2]),
        LossError::Label {
            label: 2,
            classes: 2
        }
    );
    assert_eq!(
        fails(2, &[0]),
        LossError::Length {
            what: "labels",
            found: 1,
            expected: 2
        }
    );
    assert_eq!(
        fails(3, &[0, 1]),
        LossError::Length {
            what: "class weights",
            found: 2,
            expected: 3
        }
    );
    let map = Cpu::default().tensor_from_vec(vec![0.0; 4], (1usize, 1usize, 2usize, 2usize));
    let error = MapObjective {
        loss: MapLoss::Bce,
        ..MapObjective::default()
    }
    .loss(map, &plain(&[1.0], (1, 2)))
    .unwrap_err();
    assert_eq!(error.to_string(), "1 mask pixels given where 2 are needed");
}

#[test]
fn bad_masks_are_errors() {
    let fails = |loss, masks: &[f32], weights: Option<&[f32]>, size, expected: &str| {
        let objective = MapObjective {
            loss,
            ..MapObjective::default()
        };
        let masks = Masks {
            values: masks,
            weights,
            size,
        };
        let map = tensor(&[0.0; 8], &[1, 2, 2, 2]);
        let error = objective.loss(map, &masks).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let (bce, entropy) = (MapLoss::Bce, MapLoss::CrossEntropy);
    let size = (2, 2);
    fails(bce, &[0.0, 1.0, 2.0, 0.0], None, size, "a mask contains 2");
    fails(
        entropy,
        &[0.0, 1.0, 2.0, 0.0],
        None,
        size,
        "a mask contains 2",
    );
    fails(
        entropy,
        &[0.0, 0.5, 1.0, 0.0],
        None,
        size,
        "a mask contains 0.5",
    );
    fails(
        bce,
        &[0.0; 12],
        None,
        (3, 4),
        "12 mask pixels given where 4",
    );
    fails(bce, &[0.0; 4], Some(&[1.0; 3]), size, "3 pixel weights");
    let negative = [1.0, 1.0, -1.0, 1.0];
    fails(bce, &[0.0; 4], Some(&negative), size, "the weight -1");
}

const MAP_LOSSES: [MapLoss; 8] = [
    MapLoss::Bce,
    MapLoss::Dice,
    MapLoss::BceDice,
    MapLoss::Focal,
    MapLoss::Tversky,
    MapLoss::CrossEntropy,
    MapLoss::MulticlassDice,
    MapLoss::CrossEntropyDice,
];

/// Scores, labels, weights; every fifth pixel is unknown.
fn random_map(shape: [usize; 4], classes: u64) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let mut rng = Rng::stream(5, classes);
    let pixels = shape[0] * shape[1] * shape[2];
    let x = (0..pixels * shape[3]).map(|_| rng.normal_f32()).collect();
    let label = |i, rng: &mut Rng| match i % 5 {
        0 => f32::NAN,
        _ => (rng.next_u64() % classes) as f32,
    };
    let labels = (0..pixels).map(|i| label(i, &mut rng)).collect();
    let weights = (0..pixels).map(|_| rng.normal_f32().abs()).collect();
    (x, labels, weights)
}

#[test]
fn map_gradients_match_finite_differences() {
    let shape = [2, 3, 4, 3];
    for loss in MAP_LOSSES {
        let objective = MapObjective {
            loss,
            ..MapObjective::default()
        };
        let classes = if loss.is_multiclass() { 3 } else { 2 };
        let (x, labels, weights) = random_map(shape, classes);
        let masks = Masks {
            values: &labels,
            weights: Some(&weights),
            size: (3, 4),
        };
        let of = |x: &[f32]| map_loss(&objective, x, &shape, &masks);
        let gradient = of(&x).1;
        let scale = gradient.iter().fold(0.0f32, |m, g| m.max(g.abs()));
        for i in 0..x.len() {
            let moved = |by: f32| {
                let mut x = x.clone();
                x[i] += by;
                f64::from(of(&x).0)
            };
            let slope = ((moved(0.02) - moved(-0.02)) / 0.04) as f32;
            assert!(
                (slope - gradient[i]).abs() < 4e-3 * scale,
                "{loss:?}[{i}]: {} instead of {slope}",
                gradient[i]
            );
        }
    }
}

#[test]
fn deep_supervision_is_the_mean_over_maps() {
    let objective = MapObjective {
        loss: MapLoss::CrossEntropyDice,
        ..MapObjective::default()
    };
    let shapes = [[1, 4, 8, 3], [1, 2, 4, 3], [1, 1, 2, 3]];
    let (_, labels, weights) = random_map(shapes[0], 3);
    let masks = Masks {
        values: &labels,
        weights: Some(&weights),
        size: (4, 8),
    };
    let maps = shapes.map(|shape| tensor(&random_map(shape, 3).0, &shape));
    let traced = maps.iter().map(|x| x.leaky_trace()).collect();
    let mean = objective.mean_loss(traced, &masks).unwrap().unwrap();
    let (value, gradients) = (mean.array(), mean.backward());
    let each = shapes.map(|shape| map_loss(&objective, &random_map(shape, 3).0, &shape, &masks));
    let expected = each.iter().map(|(y, _)| y / 3.0).sum();
    assert_close("loss", &[value], &[expected]);
    for (x, (_, dx)) in maps.iter().zip(&each) {
        let dx: Vec<f32> = dx.iter().map(|d| d / 3.0).collect();
        assert_close("gradient", &gradients.get(x).as_vec(), &dx);
    }
}

#[test]
fn weight_0_in_dice_is_equivalent_to_an_unknown_pixel() {
    for loss in [MapLoss::Dice, MapLoss::Tversky, MapLoss::MulticlassDice] {
        let objective = MapObjective {
            loss,
            ..MapObjective::default()
        };
        let shape = [1, 2, 3, 2];
        let (x, labels, _) = random_map(shape, 2);
        let weights: Vec<f32> = labels
            .iter()
            .map(|l| f32::from(u8::from(!l.is_nan())))
            .collect();
        let known: Vec<f32> = labels.iter().map(|l| l.max(0.0)).collect();
        let masks = Masks {
            values: &known,
            weights: Some(&weights),
            size: (2, 3),
        };
        let weighted = map_loss(&objective, &x, &shape, &masks);
        let unknown = map_loss(&objective, &x, &shape, &plain(&labels, (2, 3)));
        assert_close("loss", &[weighted.0], &[unknown.0]);
        assert_close("gradient", &weighted.1, &unknown.1);
    }
}

#[test]
fn class_weights_are_read_and_resolved() {
    let check = |json: &str, counts: &[usize], expected: Result<Option<Vec<f32>>, &str>| {
        let weights: Result<ClassWeights, _> = serde_json::from_str(json);
        let resolved = weights
            .map_err(|e| e.to_string())
            .and_then(|w| w.resolve(counts).map_err(|e| e.to_string()));
        match (resolved, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{json}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{json}: {found}"),
            (found, _) => panic!("{json}: {found:?}"),
        }
    };
    check("\"none\"", &[3, 1], Ok(None));
    // scikit-learn: compute_class_weight("balanced", classes=[0, 1], y=[0] * 1341 + [1] * 3875)
    check(
        "\"balanced\"",
        &[1341, 3875],
        Ok(Some(vec![1.944_817_3, 0.673_032_3])),
    );
    check("[2, 0.5]", &[3, 1], Ok(Some(vec![2.0, 0.5])));
    check(
        "[2, 0.5]",
        &[3, 1, 1],
        Err("2 class weights given where 3 are needed"),
    );
    check(
        "\"balanced\"",
        &[3, 0],
        Err("class 1 has no training image"),
    );
    check("\"balancd\"", &[3, 1], Err("\"balancd\" is unknown"));
    check("[1, -1]", &[3, 1], Err("must be a positive number"));
    check("true", &[3, 1], Err("\"balanced\" or a list"));
}
