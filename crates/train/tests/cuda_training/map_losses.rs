//! Losses on class maps.

use model::engine::recipe::Results;
use random::Rng;
use serde_json::json;
use train::loss::ClassObjective;
use train::map_loss::{MapObjective, Masks};
use train::{Task, TrainConfig};

use crate::batch::{Batch, MapInput, TrainingCase};
use crate::device::{everywhere, largest, normal};

pub(crate) const MAP_LOSSES: [&str; 8] = [
    "bce",
    "dice",
    "bce_dice",
    "focal",
    "tversky",
    "cross_entropy",
    "multiclass_dice",
    "cross_entropy_dice",
];

pub(crate) fn map_objective(loss: &str) -> MapObjective {
    serde_json::from_value(json!({"loss": loss})).unwrap()
}

/// A run that trains on masks only, or on masks and labels.
pub(crate) fn map_case(map: MapObjective, both: bool, largest: f32) -> TrainingCase {
    let config = TrainConfig {
        task: (!both).then_some(Task::Segment),
        map,
        ..TrainConfig::default()
    };
    config.check().unwrap();
    TrainingCase {
        config,
        objective: ClassObjective::default(),
        largest,
    }
}

/// Random labels of `classes` classes; every fifth pixel is unknown, and every seventh of the rest has the label 255.
pub(crate) fn mask(pixels: usize, classes: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::stream(seed, 2);
    let label = |i: usize, rng: &mut Rng| match i {
        _ if i % 5 == 4 => f32::NAN,
        _ if i % 7 == 6 => 255.0,
        _ => (rng.next_u64() % classes as u64) as f32,
    };
    (0..pixels).map(|i| label(i, &mut rng)).collect()
}

/// A map of random scores.
pub(crate) fn random_map(shape: [usize; 4], scale: f32) -> MapInput {
    let x = normal(shape.iter().product(), 11)
        .iter()
        .map(|x| scale * x)
        .collect();
    MapInput { x, shape }
}

pub(crate) fn check_map(
    objective: &MapObjective,
    name: &str,
    map: MapInput,
    values: &[f32],
    weights: Option<&[f32]>,
) {
    let [_, h, w, _] = map.shape;
    let name = format!("{objective:?} {:?} {name}", map.shape);
    let masks = Masks {
        values,
        weights,
        size: (h, w),
    };
    let largest = largest(&map.x);
    let batch = Batch {
        class: None,
        classes: 0,
        maps: &[map],
        masks: Some(masks),
    };
    map_case(objective.clone(), false, largest).check(&name, &batch);
}

/// Numbers of channels to test a loss with.
pub(crate) fn channels(objective: &MapObjective) -> &'static [usize] {
    match objective.loss.is_multiclass() {
        true => &[2, 3, 4, 5, 9],
        false => &[1, 2, 4],
    }
}

pub(crate) fn mask_classes(objective: &MapObjective, channels: usize) -> usize {
    match objective.loss.is_multiclass() {
        true => channels,
        false => 2,
    }
}

#[test]
fn map_losses_match_dfdx() {
    for loss in MAP_LOSSES {
        let objective = MapObjective {
            ignore: Some(255),
            ..map_objective(loss)
        };
        for c in channels(&objective) {
            for (n, h, w) in [(1, 1, 1), (1, 3, 5), (2, 16, 16), (2, 37, 41)] {
                let values = mask(n * h * w, mask_classes(&objective, *c), 21);
                let weights: Vec<f32> = normal(n * h * w, 22).iter().map(|w| w.abs()).collect();
                for weights in [None, Some(&weights[..])] {
                    let map = random_map([n, h, w, *c], 2.0);
                    check_map(&objective, "", map, &values, weights);
                }
            }
        }
    }
}

/// Each class can be the marked class.
#[test]
fn any_class_can_be_marked() {
    for class in 0..4 {
        let objective = MapObjective {
            class: Some(class),
            ..map_objective("bce_dice")
        };
        let values = mask(60, 2, 23);
        let known: Vec<f32> = values
            .iter()
            .map(|v| if *v == 255.0 { 1.0 } else { *v })
            .collect();
        check_map(&objective, "", random_map([1, 6, 10, 4], 2.0), &known, None);
    }
}

#[test]
fn focal_and_tversky_use_their_settings() {
    for (alpha, beta, gamma) in [
        (0.25, 0.75, 0.0),
        (0.9, 0.1, 1.0),
        (0.0, 2.0, 1.5),
        (1.0, 0.0, 3.0),
    ] {
        for loss in ["focal", "tversky"] {
            let objective = MapObjective {
                alpha,
                beta,
                gamma,
                ignore: Some(255),
                ..map_objective(loss)
            };
            check_map(
                &objective,
                "",
                random_map([2, 9, 8, 2], 3.0),
                &mask(144, 2, 24),
                None,
            );
        }
    }
}

/// Losses on one class accept mask values between 0 and 1.
#[test]
fn fractional_mask_values_count_proportionally() {
    let values: Vec<f32> = (0..48).map(|i| (i % 9) as f32 / 8.0).collect();
    for loss in &MAP_LOSSES[..5] {
        check_map(
            &map_objective(loss),
            "",
            random_map([1, 6, 8, 2], 2.0),
            &values,
            None,
        );
    }
}

/// Enough pixels that chunks are longer than the minimum.
#[test]
fn long_sums_stay_accurate() {
    for loss in ["bce_dice", "cross_entropy_dice"] {
        let objective = MapObjective {
            ignore: Some(255),
            ..map_objective(loss)
        };
        let (n, h, w) = (3, 460, 461);
        let values = mask(n * h * w, 2, 25);
        let weights: Vec<f32> = normal(n * h * w, 26).iter().map(|w| w.abs()).collect();
        check_map(
            &objective,
            "",
            random_map([n, h, w, 2], 1.0),
            &values,
            Some(&weights),
        );
    }
}

#[test]
fn extreme_maps_are_finite() {
    for large in [80.0, 1e4] {
        for loss in MAP_LOSSES {
            for (gamma, class) in [(0.0, None), (2.0, None), (2.0, Some(0))] {
                let all = map_objective(loss);
                let objective = MapObjective {
                    gamma,
                    class: class.filter(|_| !all.loss.is_multiclass()),
                    ..all
                };
                for c in channels(&objective) {
                    let pixels = 12;
                    let signs = normal(pixels * c, 31);
                    let mut x: Vec<f32> = signs.iter().map(|s| large * s.signum()).collect();
                    x[pixels * c / 2] = 0.0;
                    let map = MapInput {
                        x,
                        shape: [1, 3, 4, *c],
                    };
                    let classes = mask_classes(&objective, *c);
                    let values: Vec<f32> = (0..pixels).map(|i| (i % classes) as f32).collect();
                    check_map(&objective, &format!("at {large}"), map, &values, None);
                }
            }
        }
    }
}

/// If nothing is marked, Dice and Tversky are 0 and only the other term remains. An absent class has no Dice term.
#[test]
fn absent_classes_have_no_overlap_loss() {
    for loss in MAP_LOSSES {
        let objective = map_objective(loss);
        for c in channels(&objective) {
            check_map(
                &objective,
                "empty",
                random_map([1, 5, 6, *c], 2.0),
                &[0.0; 30],
                None,
            );
        }
        let ones: Vec<f32> = (0..30).map(|i| f32::from(u8::from(i > 20))).collect();
        let c = *channels(&objective).last().unwrap();
        check_map(
            &objective,
            "few",
            random_map([1, 5, 6, c], 2.0),
            &ones,
            None,
        );
        // Marked pixels of weight 0 do not count as marked, but they are known.
        let weights: Vec<f32> = ones.iter().map(|v| 1.0 - v).collect();
        check_map(
            &objective,
            "no weight",
            random_map([1, 5, 6, c], 2.0),
            &ones,
            Some(&weights),
        );
    }
}

/// Class loss and map losses together, with a weight, and over maps of several sizes.
#[test]
fn class_and_map_losses_add_up_and_maps_are_averaged() {
    let shapes = [[2, 8, 12], [2, 4, 6], [2, 2, 3]];
    let scores = normal(2 * 3, 41);
    for loss in MAP_LOSSES {
        for deep_supervision in [false, true] {
            for both in [false, true] {
                let objective = MapObjective {
                    weight: if both { 0.3 } else { 1.0 },
                    ignore: Some(255),
                    deep_supervision,
                    ..map_objective(loss)
                };
                let classes = mask_classes(&objective, 3);
                let maps: Vec<MapInput> = shapes[..if deep_supervision { 3 } else { 1 }]
                    .iter()
                    .map(|[n, h, w]| random_map([*n, *h, *w, 3], 1.5))
                    .collect();
                let values = mask(2 * 8 * 12, classes, 42);
                let batch = Batch {
                    class: both.then_some((&scores[..], (&[2, 0]).into())),
                    classes: 3,
                    maps: &maps,
                    masks: Some(Masks {
                        values: &values,
                        weights: None,
                        size: (8, 12),
                    }),
                };
                let name = format!("{loss} deep {deep_supervision} both {both}");
                map_case(objective, both, 1.0).check(&name, &batch);
            }
        }
    }
}

/// Batches without masks, with unknown masks, and with known pixels that only the larger map samples: the launches are
/// the same, such maps do not contribute to the loss, and their gradients are 0 even where the map is NaN.
#[test]
fn maps_without_a_known_pixel_have_no_loss() {
    let scores = normal(2 * 3, 43);
    for loss in MAP_LOSSES {
        let objective = MapObjective {
            deep_supervision: true,
            weight: 0.7,
            ..map_objective(loss)
        };
        let mut maps = vec![random_map([2, 4, 4, 3], 1.0), random_map([2, 2, 2, 3], 1.0)];
        // Each cell of the second map samples the lower right of its four pixels.
        let mut corner = vec![f32::NAN; 32];
        (corner[0], corner[18]) = (1.0, 0.0);
        let unknown = vec![f32::NAN; 32];
        maps[1].x[5] = f32::NAN; // must not be read
        let training_case = map_case(objective, true, 1.0);
        for (name, values, first) in [
            ("no mask", None, f32::NAN),
            ("unknown", Some(&unknown), f32::NAN),
            ("corner", Some(&corner), 0.5),
        ] {
            maps[0].x[7] = first;
            let batch = Batch {
                class: Some((&scores, (&[1, 0]).into())),
                classes: 3,
                maps: &maps,
                masks: values.map(|values| Masks {
                    values,
                    weights: None,
                    size: (4, 4),
                }),
            };
            let given = training_case.expected(&batch);
            assert_eq!(given.map_loss.is_some(), name == "corner", "{loss}");
            let zero = given.gradients.last().unwrap();
            assert!(zero.iter().all(|d| *d == 0.0), "{loss} {name}");
            training_case.check(&format!("{loss} {name}"), &batch);
        }
    }
}

/// A NaN score makes the loss NaN even at a pixel that does not count, as on the host.
#[test]
fn a_nan_in_the_map_makes_the_loss_nan() {
    for loss in MAP_LOSSES {
        let training_case = map_case(map_objective(loss), false, 1.0);
        let mut map = random_map([1, 2, 3, 2], 1.0);
        map.x[9] = f32::NAN;
        let values = [0.0, 1.0, 1.0, 0.0, f32::NAN, 1.0];
        let batch = Batch {
            class: None,
            classes: 0,
            maps: &[map],
            masks: Some(Masks {
                values: &values,
                weights: None,
                size: (2, 3),
            }),
        };
        assert!(training_case.expected(&batch).loss.is_nan(), "{loss}");
        everywhere(
            1 << 14,
            |device| training_case.found(device, &batch),
            |name, found| {
                let results = Results::read(&found[0]).unwrap();
                assert!(results.loss.is_nan() && !results.applied, "{name}: {loss}");
            },
        );
    }
}
