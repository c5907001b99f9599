//! Update rules, clipping, moving average, and rejected steps.

use std::sync::Arc;

use half::bf16;
use model::engine::cuda::update::{Groups, weights_to_bf16};
use model::engine::recipe::{Recipe, Step};
use model::store::{Group, ParamMap};
use serde_json::{Value, json};
use train::TrainConfig;
use train::clip::clip_factor;

use crate::device::{devices, everywhere, normal, settings};
use crate::state::{DeviceState, HostState, gradients, graph, norm, recipe_of, same};

/// Sizes: smaller than a vector, ending within a vector, and spanning several chunks of the norm's sum.
pub(crate) const SIZES: [(usize, usize); 4] = [(1, 1), (3, 7), (41, 113), (100, 131)];

/// Checks that weights, moments, averages and bf16 copies equal the host's bit for bit. From the third step on, steps are
/// replayed.
pub(crate) fn check_updates(config: &TrainConfig, size: (usize, usize)) {
    check_divided_updates(config, size, &[]);
}

/// The same, where a third of each group is the encoder's and frozen in some of the steps.
fn check_divided_updates(config: &TrainConfig, (inputs, n): (usize, usize), frozen: &[u64]) {
    let name = format!(
        "{:?} clip {} ema {}",
        config.optimizer, config.clip_norm, config.ema
    );
    let map = Arc::new(ParamMap::new(&graph(inputs, n)));
    let encoder = match frozen {
        [] => [0; 2],
        _ => Group::TRAINABLE.map(|group| map.len(group).div_ceil(3)),
    };
    let recipe = Recipe {
        encoder,
        ..recipe_of(config)
    };
    let groups = Groups::new(&map);
    let rates = [1e-2, 1e-2, 5e-3, 2e-3, 1e-2, 0.0, 3e-4];
    for mut device in devices(1 << 18) {
        let name = format!("{}: {name}, {inputs}x{n}", device.name);
        let mut host = HostState::new(config, &map);
        host.optimizer = host.optimizer.with_encoder(encoder);
        let mut there = DeviceState::new(&mut device, &recipe, groups, &host);
        for (number, lr) in (1..).zip(rates) {
            host.optimizer.freeze_encoder(frozen.contains(&number));
            let buffers = normal(map.len(Group::Buffers), 900 + number);
            let to = there.at.weights.plus(groups.start(Group::Buffers));
            device.driver.upload(to, &buffers).unwrap();
            *host.store.group_mut(Group::Buffers) = buffers;
            let step = Step {
                number,
                lr,
                ema_share: host.ema_share(),
                known: &[],
                mixed: None,
                encoder: host.encoder_step(lr),
            };
            let grads = gradients(&map, number);
            if number == 3 {
                there.record(&mut device);
            }
            let found = there.step(&mut device, &step, &grads, 0.5);
            let norm = host.step(&grads, lr);
            let close = (found.norm - norm).abs() <= 1e-12 * norm;
            assert!(close, "{name}: norm {} instead of {norm}", found.norm);
            let scale = clip_factor(norm, config.clip_norm).unwrap_or(1.0);
            assert_eq!(
                (found.applied, found.loss, found.scale),
                (true, 0.5, scale),
                "{name}"
            );
            same(
                &name,
                number,
                &there.runs(&mut device),
                &host.runs(&groups, &recipe),
            );
            let rounded = host.store.group(Group::Decayed).iter();
            let rounded: Vec<u16> = rounded.map(|v| bf16::from_f32(*v).to_bits()).collect();
            assert_eq!(
                there.halves(&mut device),
                rounded,
                "{name}, step {number}: bf16"
            );
        }
        device.check_fences();
    }
}

pub(crate) fn optimizers() -> Vec<Value> {
    vec![
        json!({"name": "adam"}),
        json!({"name": "adam", "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.03}),
        json!({"name": "adamw", "weight_decay": 0.05}),
        json!({"name": "adamw", "weight_decay": 0.0}),
        json!({"name": "sgd", "momentum": 0.0}),
        json!({"name": "sgd", "momentum": 0.0, "weight_decay": 0.01}),
        json!({"name": "sgd", "momentum": 0.9, "weight_decay": 0.01}),
        json!({"name": "sgd", "momentum": 0.9, "nesterov": true, "weight_decay": 0.01}),
        json!({"name": "rmsprop"}),
        json!({"name": "rmsprop", "alpha": 0.7, "eps": 1e-3, "momentum": 0.9, "weight_decay": 0.02}),
    ]
}

#[test]
fn update_rules_match_the_host_bit_for_bit() {
    for optimizer in optimizers() {
        for size in SIZES {
            check_updates(&settings(json!({"optimizer": optimizer})), size);
        }
    }
}

/// The recording of step 3 is replayed with the encoder frozen and not.
#[test]
fn updates_of_a_frozen_encoder_match_the_host() {
    for optimizer in optimizers() {
        for size in SIZES {
            let config = json!({"optimizer": optimizer, "ema": 0.9, "clip_norm": 0.7});
            check_divided_updates(&settings(config.clone()), size, &[1, 2, 3]);
            check_divided_updates(&settings(config), size, &[2, 5]);
        }
    }
}

/// A learning rate of the encoder's own, also after steps in which it was frozen.
#[test]
fn updates_at_two_learning_rates_match_the_host() {
    for mut optimizer in optimizers() {
        optimizer["encoder_lr_scale"] = json!(0.1);
        let config = json!({"optimizer": optimizer, "ema": 0.9});
        for size in SIZES {
            check_divided_updates(&settings(config.clone()), size, &[1, 2]);
            check_divided_updates(&settings(config.clone()), size, &[100]);
        }
    }
}

#[test]
fn clipping_and_the_moving_average_match_the_host() {
    for optimizer in optimizers() {
        for (clip_norm, ema) in [(0.0, 0.9), (0.7, 0.0), (0.7, 0.25), (1e9, 0.9)] {
            let config = json!({"optimizer": optimizer, "clip_norm": clip_norm, "ema": ema});
            check_updates(&settings(config), SIZES[2]);
        }
    }
}

/// A norm above the limit is scaled by the host's factor; one below it is left unchanged.
#[test]
fn only_norms_above_the_limit_are_clipped() {
    let map = Arc::new(ParamMap::new(&graph(3, 7)));
    let groups = Groups::new(&map);
    let mut grads = Group::TRAINABLE.map(|group| vec![0.0; map.len(group)]);
    (grads[0][20], grads[1][6]) = (3.0, -4.0); // a norm of 5
    for clip_norm in [5.1, 4.0, 1e-3, 0.0] {
        let scale = clip_factor(5.0, clip_norm).unwrap_or(1.0);
        assert_eq!(scale < 1.0, clip_norm == 4.0 || clip_norm == 1e-3);
        let config = settings(json!({"clip_norm": clip_norm}));
        for mut device in devices(1 << 14) {
            let host = HostState::new(&config, &map);
            let there = DeviceState::new(&mut device, &recipe_of(&config), groups, &host);
            let step = Step {
                number: 1,
                lr: 0.1,
                ema_share: 0.0,
                known: &[],
                mixed: None,
                encoder: None,
            };
            let found = there.step(&mut device, &step, &grads, 0.0);
            assert_eq!(found.norm, 5.0);
            assert_eq!(found.scale, scale, "{clip_norm}");
        }
    }
}

/// More gradients than fit in the maximum number of chunks of minimum size.
#[test]
fn the_norm_of_many_gradients_has_double_precision() {
    let map = Arc::new(ParamMap::new(&graph(2100, 2100)));
    let groups = Groups::new(&map);
    let grads = gradients(&map, 3);
    let expected = norm(&grads);
    let config = settings(json!({"optimizer": {"name": "sgd", "momentum": 0.0}}));
    for mut device in devices(1 << 24) {
        let host = HostState::new(&config, &map);
        let there = DeviceState::new(&mut device, &recipe_of(&config), groups, &host);
        let step = Step {
            number: 1,
            lr: 0.1,
            ema_share: 0.0,
            known: &[],
            mixed: None,
            encoder: None,
        };
        let norm = there.step(&mut device, &step, &grads, 0.0).norm;
        assert!(
            (norm - expected).abs() < 1e-12 * expected,
            "{norm} instead of {expected}"
        );
        device.check_fences();
    }
}

/// If the loss or a gradient is not finite, nothing changes, and the next step continues from the same state.
#[test]
fn steps_that_are_not_finite_change_nothing() {
    let map = Arc::new(ParamMap::new(&graph(41, 113)));
    let groups = Groups::new(&map);
    let spoiled = |value: f32, group: usize| {
        let mut grads = gradients(&map, 2);
        *grads[group].last_mut().unwrap() = value;
        grads
    };
    let bad = [
        (spoiled(f32::NAN, 0), 0.5),
        (spoiled(f32::NAN, 1), 0.5),
        (spoiled(f32::INFINITY, 0), 0.5),
        (spoiled(f32::NEG_INFINITY, 1), 0.5),
        (gradients(&map, 2), f32::NAN),
        (gradients(&map, 2), f32::INFINITY),
        (gradients(&map, 2), f32::NEG_INFINITY),
    ];
    for optimizer in optimizers() {
        let config = settings(json!({"optimizer": optimizer, "ema": 0.9, "clip_norm": 1.0}));
        let recipe = recipe_of(&config);
        for mut device in devices(1 << 18) {
            let mut host = HostState::new(&config, &map);
            let there = DeviceState::new(&mut device, &recipe, groups, &host);
            let step = |number, host: &HostState| Step {
                number,
                lr: 0.01,
                ema_share: host.ema_share(),
                known: &[],
                mixed: None,
                encoder: None,
            };
            there.step(&mut device, &step(1, &host), &gradients(&map, 1), 0.5);
            host.step(&gradients(&map, 1), 0.01);
            let halves = there.halves(&mut device);
            for (grads, loss) in &bad {
                let found = there.step(&mut device, &step(2, &host), grads, *loss);
                assert!(!found.applied, "{loss}");
                assert!(!found.loss.is_finite() || !found.norm.is_finite());
                same(
                    "rejected",
                    2,
                    &there.runs(&mut device),
                    &host.runs(&groups, &recipe),
                );
                assert_eq!(there.halves(&mut device), halves);
            }
            // Their norm overflows an f32, but it is computed in double precision, as on the host.
            let mut large = spoiled(3e38, 0);
            large[1][0] = -3e38;
            assert!(
                there
                    .step(&mut device, &step(2, &host), &large, 0.5)
                    .applied
            );
            host.step(&large, 0.01);
            same(
                "large",
                2,
                &there.runs(&mut device),
                &host.runs(&groups, &recipe),
            );
        }
    }
}

#[test]
fn weights_are_rounded_to_the_nearest_bf16() {
    let mut weights = normal(1027, 5);
    let special = [
        0x3F80_8000,
        0x3F81_8000,
        0x7F7F_FFFF,
        0xFF80_0000,
        0x0000_0001,
        0x7F80_0001,
    ];
    let special = special.map(f32::from_bits); // ties to even, overflow, infinity, the smallest, a NaN
    weights[..special.len()].copy_from_slice(&special);
    let expected: Vec<u16> = weights
        .iter()
        .map(|w| bf16::from_f32(*w).to_bits())
        .collect();
    for len in [1, 2, 3, 1024, 1027] {
        everywhere(
            1 << 13,
            |device| {
                let from = device.put(&weights[..len]);
                let to = device.place(len.div_ceil(2));
                weights_to_bf16(&mut *device.driver, from, to, len).unwrap();
                vec![device.get(to, len.div_ceil(2))]
            },
            |name, found| {
                let pairs = found[0].iter().map(|w| w.to_bits());
                let halves = pairs.flat_map(|bits| [bits as u16, (bits >> 16) as u16]);
                assert_eq!(
                    halves.take(len).collect::<Vec<_>>(),
                    expected[..len],
                    "{name}"
                );
            },
        );
    }
}
