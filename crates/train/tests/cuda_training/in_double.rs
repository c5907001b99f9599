//! The losses in double precision, and their gradients as finite differences: dfdx's gradients are f32 as well, and
//! less accurate than these where they subtract from 1.

use model::engine::recipe::Results;
use serde_json::json;
use train::loss::{ClassLoss, ClassObjective};
use train::map_loss::{MapLoss, MapObjective, Masks, Truth};

use crate::batch::{Batch, TrainingCase};
use crate::class_losses::{class_objectives, labels};
use crate::device::{close, everywhere, normal, settings};
use crate::map_losses::{
    MAP_LOSSES, channels, map_case, map_objective, mask, mask_classes, random_map,
};

pub(crate) fn log_sum_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = x.clone().fold(f64::NEG_INFINITY, f64::max);
    most + x.map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// `log p` of a class and `log(1 − p)`.
pub(crate) fn log_shares(x: &[f64], class: usize) -> (f64, f64) {
    if x.len() == 1 {
        let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
        return (-softplus(-x[0]), -softplus(x[0]));
    }
    let others = x.iter().enumerate().filter(|(c, _)| *c != class);
    let all = log_sum_exp(x.iter().copied());
    (x[class] - all, log_sum_exp(others.map(|(_, x)| *x)) - all)
}

pub(crate) fn class_loss_in_double(objective: &ClassObjective, x: &[f64], labels: &[usize]) -> f64 {
    let classes = x.len() / labels.len();
    let weight = |c: usize| objective.weights.as_ref().map_or(1.0, |w| f64::from(w[c]));
    let smoothing = f64::from(objective.label_smoothing);
    let even = match objective.loss {
        ClassLoss::CrossEntropy => 1.0 / classes as f64,
        ClassLoss::SoftmaxBce => 0.5,
    };
    let target = |hit| f64::from(u8::from(hit)) * (1.0 - smoothing) + smoothing * even;
    let total: f64 = labels.iter().map(|y| weight(*y)).sum();
    let mut sum = 0.0;
    for (row, y) in x.chunks(classes).zip(labels) {
        for c in 0..classes {
            let ((hit, miss), t) = (log_shares(row, c), target(c == *y));
            sum -= match objective.loss {
                ClassLoss::CrossEntropy => {
                    weight(c) * t * (row[c] - log_sum_exp(row.iter().copied()))
                }
                ClassLoss::SoftmaxBce => weight(*y) / classes as f64 * (t * hit + (1.0 - t) * miss),
            };
        }
    }
    sum / total
}

pub(crate) fn map_loss_in_double(objective: &MapObjective, x: &[f64], truth: &Truth) -> f64 {
    let classes = x.len() / truth.values.len();
    let pixels = || {
        let truths = truth.values.iter().zip(&truth.weights);
        let truths = truths.map(|(t, w)| (f64::from(*t), f64::from(*w)));
        x.chunks(classes).zip(truths)
    };
    let (alpha, beta) = (f64::from(objective.alpha), f64::from(objective.beta));
    let mean = |term: &dyn Fn(&[f64], f64) -> f64| {
        let sum: f64 = pixels().map(|(x, (t, w))| w * term(x, t)).sum();
        sum / truth.count as f64
    };
    let class = objective.class.unwrap_or(classes - 1);
    let nll = |x: &[f64], t: f64| {
        let (hit, miss) = log_shares(x, class);
        -(t * hit + (1.0 - t) * miss)
    };
    // The overlap loss of a class, given how much of each pixel belongs to it.
    let overlap = |class: usize, alpha: f64, beta: f64, of: &dyn Fn(f64) -> f64| {
        let (mut both, mut all, mut marked) = (0.0, 0.0, 0.0);
        for (x, (t, w)) in pixels() {
            let p = log_shares(x, class).0.exp();
            both += w * p * of(t);
            all += w * p;
            marked += w * of(t);
        }
        let below = both + alpha * (all - both) + beta * (marked - both) + 1.0;
        if marked > 0.0 {
            1.0 - (both + 1.0) / below
        } else {
            0.0
        }
    };
    let dice = |alpha, beta| overlap(class, alpha, beta, &|t| t);
    let bce = || mean(&nll);
    let entropy = || mean(&|x, t| -log_shares(x, t as usize).0);
    let dices = || {
        let of = |c| overlap(c, 0.5, 0.5, &|t| f64::from(u8::from(t as usize == c)));
        (0..classes).map(of).sum::<f64>() / classes as f64
    };
    match objective.loss {
        MapLoss::None => 0.0,
        MapLoss::Bce => bce(),
        MapLoss::Dice => dice(0.5, 0.5),
        MapLoss::BceDice => bce() + dice(0.5, 0.5),
        MapLoss::Tversky => dice(alpha, beta),
        MapLoss::Focal => mean(&|x, t| {
            let nll = nll(x, t);
            let balance = alpha * t + (1.0 - alpha) * (1.0 - t);
            balance * (1.0 - (-nll).exp()).powf(objective.gamma.into()) * nll
        }),
        MapLoss::CrossEntropy => entropy(),
        MapLoss::MulticlassDice => dices(),
        MapLoss::CrossEntropyDice => entropy() + dices(),
    }
}

/// Checks value and gradient against `loss` in double precision, to the last bits of an f32 where values are not small.
pub(crate) fn check_in_double(
    name: &str,
    training_case: &TrainingCase,
    batch: &Batch<'_>,
    x: &[f32],
    loss: &dyn Fn(&[f64]) -> f64,
) {
    let at: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let slope = |i: usize| {
        let moved = |by: f64| {
            let mut x = at.clone();
            x[i] += by;
            loss(&x)
        };
        ((moved(1e-5) - moved(-1e-5)) / 2e-5) as f32
    };
    let slopes: Vec<f32> = (0..x.len()).map(slope).collect();
    let value = loss(&at) as f32;
    everywhere(
        1 << 16,
        |device| training_case.found(device, batch),
        |device, found| {
            let results = Results::read(&found[0]).unwrap();
            let name = format!("{device}: {name}");
            close(&name, &[results.loss], &[value], 1e-6, 1e-3);
            close(&name, &found[1], &slopes, 2e-6, 1e-5);
        },
    );
}

#[test]
fn class_losses_match_double_precision() {
    for classes in [1, 2, 3, 7] {
        for objective in class_objectives(classes) {
            for scale in [1.0, 4.0, 12.0] {
                let n = 9;
                let x: Vec<f32> = normal(n * classes, 51).iter().map(|x| scale * x).collect();
                let labels = labels(n, classes, 52);
                let training_case = TrainingCase {
                    config: settings(json!({})),
                    objective: objective.clone(),
                    largest: 1.0,
                };
                let batch = Batch {
                    class: Some((&x, (&labels).into())),
                    classes,
                    maps: &[],
                    masks: None,
                };
                let name = format!("{objective:?} {classes} classes times {scale}");
                let loss = |x: &[f64]| class_loss_in_double(&objective, x, &labels);
                check_in_double(&name, &training_case, &batch, &x, &loss);
            }
        }
    }
}

#[test]
fn map_losses_match_double_precision() {
    let shape = [2, 4, 5];
    let weights: Vec<f32> = normal(40, 61).iter().map(|w| w.abs()).collect();
    for loss in MAP_LOSSES {
        let objective = MapObjective {
            ignore: Some(255),
            ..map_objective(loss)
        };
        for c in channels(&objective) {
            for scale in [1.0, 6.0] {
                let [n, h, w] = shape;
                let map = random_map([n, h, w, *c], scale);
                let values = mask(40, mask_classes(&objective, *c), 62);
                let masks = Masks {
                    values: &values,
                    weights: Some(&weights),
                    size: (h, w),
                };
                let truth = objective.truth(&masks, (n, h, w), *c).unwrap();
                let x = map.x.clone();
                let batch = Batch {
                    class: None,
                    classes: 0,
                    maps: &[map],
                    masks: Some(masks),
                };
                let name = format!("{loss} {c} classes times {scale}");
                let training_case = map_case(objective.clone(), false, 1.0);
                let loss = |x: &[f64]| map_loss_in_double(&objective, x, &truth);
                check_in_double(&name, &training_case, &batch, &x, &loss);
            }
        }
    }
}
