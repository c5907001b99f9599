//! Optimizers against PyTorch's steps (`optimizers.json`, made by `optimizers.py`) and the shared fixtures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;

use dfdx::prelude::{
    AdamConfig, Cpu, Momentum, RMSpropConfig, SgdConfig, Storage, TensorFromVec, WeightDecay,
};
use model::graph::{GraphBuilder, Init};
use model::store::{Group, ParamMap};
use safetensors::SafeTensors;
use serde::Deserialize;
use train::optimizer::{Optimizer, OptimizerConfig};

#[derive(Deserialize)]
struct Reference {
    start: Vec<f32>,
    grads: Vec<f32>,
    rates: Vec<f64>,
    cases: Vec<Case>,
    /// Cases whose first half of values is an encoder's, frozen in the first `frozen_steps` steps.
    frozen: Vec<Case>,
    frozen_steps: usize,
    /// Cases whose first half of values has a learning rate of its own.
    scaled: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: OptimizerConfig,
    after: Vec<f32>,
}

/// A layout with `n` decayed and `n` plain parameters.
fn layout(n: usize) -> ParamMap {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    g.linear("fc", x, n, Init::Constant(0.0));
    ParamMap::new(&g.finish(1).unwrap())
}

/// The values after each step.
fn steps(
    optimizer: &mut Optimizer,
    group: Group,
    values: &mut [f32],
    grads: &[f32],
    rates: &[f64],
) -> Vec<f32> {
    let n = grads.len() / rates.len();
    let mut after = vec![];
    for (grad, lr) in grads.chunks(n).zip(rates) {
        optimizer.begin();
        optimizer.update(group, values, grad, (*lr, 1.0));
        after.extend(values.iter());
    }
    after
}

fn check(config: &OptimizerConfig, start: &[f32], grads: &[f32], rates: &[f64], expected: &[f32]) {
    let mut optimizer = Optimizer::new(config.clone(), &layout(start.len()));
    let found = steps(
        &mut optimizer,
        Group::Decayed,
        &mut start.to_vec(),
        grads,
        rates,
    );
    compare(config, &found, expected);
}

fn compare(config: &OptimizerConfig, found: &[f32], expected: &[f32]) {
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= 2e-6 * e.abs().max(1.0),
            "{config:?} [{i}]: {f} instead of {e}"
        );
    }
    assert_eq!(found.len(), expected.len());
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("optimizers.json")).unwrap()
}

#[test]
fn steps_match_pytorch_with_a_changing_learning_rate() {
    let r = reference();
    for case in &r.cases {
        check(&case.config, &r.start, &r.grads, &r.rates, &case.after);
    }
}

/// After the last frozen step the encoder's moments and bias corrections start as those of a new parameter.
#[test]
fn a_frozen_encoder_starts_late_as_in_pytorch() {
    let r = reference();
    assert_eq!(r.frozen.len(), 3);
    let n = r.start.len();
    for case in &r.frozen {
        let optimizer = Optimizer::new(case.config.clone(), &layout(n));
        let mut optimizer = optimizer.with_encoder([n / 2, 0]);
        let mut param = r.start.clone();
        let mut found = vec![];
        for (i, (grad, lr)) in r.grads.chunks(n).zip(&r.rates).enumerate() {
            optimizer.freeze_encoder(i < r.frozen_steps);
            found.extend(steps(
                &mut optimizer,
                Group::Decayed,
                &mut param,
                grad,
                &[*lr],
            ));
        }
        compare(&case.config, &found, &case.after);
        assert_eq!(found[..n / 2], r.start[..n / 2]);
        assert_eq!(optimizer.encoder_steps(), 7 - r.frozen_steps as u64);
    }
}

#[test]
fn a_learning_rate_of_the_encoders_own_matches_pytorchs_parameter_groups() {
    let r = reference();
    assert_eq!(r.scaled.len(), 4);
    let n = r.start.len();
    for case in &r.scaled {
        assert_eq!(case.config.encoder_lr_scale(), 0.1);
        let optimizer = Optimizer::new(case.config.clone(), &layout(n));
        let mut optimizer = optimizer.with_encoder([n / 2, 0]);
        let mut param = r.start.clone();
        let found = steps(
            &mut optimizer,
            Group::Decayed,
            &mut param,
            &r.grads,
            &r.rates,
        );
        compare(&case.config, &found, &case.after);
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
        file.tensor(&format!("optim/{name}"))
            .unwrap()
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    };
    for (name, config) in [
        ("adam", r#"{"name": "adam"}"#),
        ("adamw", r#"{"name": "adamw", "weight_decay": 0.05}"#),
        ("sgd_momentum", r#"{"name": "sgd", "momentum": 0.9}"#),
        (
            "sgd_nesterov_l2",
            r#"{"name": "sgd", "momentum": 0.9, "nesterov": true, "weight_decay": 1e-3}"#,
        ),
    ] {
        let config = serde_json::from_str(config).unwrap();
        check(
            &config,
            &read("p0"),
            &read("grads"),
            &[0.01; 5],
            &read(name),
        );
    }
}

#[test]
fn weight_decay_does_not_apply_to_biases_and_norms() {
    for name in ["adam", "adamw", "sgd", "rmsprop"] {
        let config: OptimizerConfig =
            serde_json::from_str(&format!(r#"{{"name": "{name}", "weight_decay": 0.5}}"#)).unwrap();
        let after = |group| {
            let mut optimizer = Optimizer::new(config.clone(), &layout(2));
            steps(&mut optimizer, group, &mut [1.0, -2.0], &[0.0; 2], &[0.1])
        };
        assert_eq!(after(Group::Plain), [1.0, -2.0], "{name}");
        assert_ne!(after(Group::Decayed), [1.0, -2.0], "{name}");
    }
}

#[test]
fn a_restored_optimizer_continues_bit_for_bit() {
    let r = reference();
    for Case { config, .. } in &r.cases {
        let map = layout(r.start.len());
        let mut whole = Optimizer::new(config.clone(), &map);
        let mut param = r.start.clone();
        let expected = steps(&mut whole, Group::Plain, &mut param, &r.grads, &r.rates);

        let (mut first, mut second) = (
            Optimizer::new(config.clone(), &map),
            Optimizer::new(config.clone(), &map),
        );
        let mut param = r.start.clone();
        let half = 3 * r.start.len();
        let mut found = steps(
            &mut first,
            Group::Plain,
            &mut param,
            &r.grads[..half],
            &r.rates[..3],
        );
        let saved: Vec<(String, Vec<f32>)> = first.state().map(|(n, v)| (n, v.to_vec())).collect();
        let find = |name: &str| {
            saved
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.clone())
        };
        second
            .restore((first.steps(), first.steps()), find)
            .unwrap();
        found.extend(steps(
            &mut second,
            Group::Plain,
            &mut param,
            &r.grads[half..],
            &r.rates[3..],
        ));
        assert_eq!(found, expected, "{config:?}");
        // SGD without momentum has nothing to restore.
        let refused = second.restore((1, 1), |_| Some(vec![0.0])).is_err();
        assert_eq!(refused, !saved.is_empty(), "{config:?}");
    }
}

/// Values for several tasks of a parallel update, and the last of them incomplete.
fn many(seed: u64) -> Vec<f32> {
    let mut rng = random::Rng::stream(seed, 0);
    (0..40_001).map(|_| rng.normal_f32()).collect()
}

/// dfdx's step number `t` of a rule.
fn dfdx_step(
    config: &OptimizerConfig,
    t: i32,
    lr: f64,
    values: &[f32],
    grads: &[f32],
    moments: &mut [Vec<f32>; 2],
) -> Vec<f32> {
    let device = Cpu::default();
    let buffer = |values: &[f32]| {
        let mut buffer = Storage::<f32>::try_alloc_len(&device, values.len()).unwrap();
        buffer.copy_from_slice(values);
        buffer
    };
    let mut param = device.tensor_from_vec(values.to_vec(), (values.len(),));
    let (grad, [first, second]) = (buffer(grads), &*moments);
    let (mut first, mut second, mut unused) = (buffer(first), buffer(second), buffer(grads));
    let l2 = |decay: f64| (decay > 0.0).then_some(WeightDecay::L2(decay));
    let classic = |momentum: f64| (momentum > 0.0).then_some(Momentum::Classic(momentum));
    match config {
        OptimizerConfig::Adam(c) => AdamConfig {
            lr,
            betas: c.betas,
            eps: c.eps,
            weight_decay: l2(c.weight_decay),
        }
        .try_update(t, &mut param, &mut first, &mut second, &grad),
        OptimizerConfig::AdamW(c) => AdamConfig {
            lr,
            betas: c.betas,
            eps: c.eps,
            weight_decay: Some(WeightDecay::Decoupled(c.weight_decay)),
        }
        .try_update(t, &mut param, &mut first, &mut second, &grad),
        OptimizerConfig::Sgd(c) => SgdConfig {
            lr,
            momentum: match c.nesterov {
                true => Some(Momentum::Nesterov(c.momentum)),
                false => classic(c.momentum),
            },
            weight_decay: l2(c.weight_decay),
        }
        .try_update(&mut param, &mut first, &grad),
        OptimizerConfig::RmsProp(c) => RMSpropConfig {
            lr,
            alpha: c.alpha,
            eps: c.eps,
            momentum: (c.momentum > 0.0).then_some(c.momentum),
            centered: false,
            weight_decay: l2(c.weight_decay),
        }
        .try_update(&mut param, &mut first, &mut second, &mut unused, &grad),
    }
    .unwrap();
    *moments = [first.to_vec(), second.to_vec()];
    param.as_vec()
}

/// Whether with one thread or several.
#[test]
fn steps_are_dfdx_s_to_the_bit() {
    let (start, grads) = (many(1), many(2));
    for json in [
        r#"{"name": "adam"}"#,
        r#"{"name": "adam", "weight_decay": 0.01}"#,
        r#"{"name": "adamw", "weight_decay": 0.05}"#,
        r#"{"name": "sgd", "momentum": 0}"#,
        r#"{"name": "sgd", "momentum": 0.9, "weight_decay": 0.01}"#,
        r#"{"name": "sgd", "momentum": 0.9, "nesterov": true}"#,
        r#"{"name": "rmsprop", "weight_decay": 0.01}"#,
        r#"{"name": "rmsprop", "momentum": 0.9}"#,
    ] {
        let config: OptimizerConfig = serde_json::from_str(json).unwrap();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut optimizer = Optimizer::new(config.clone(), &layout(start.len()));
            let (mut found, mut expected) = (start.clone(), start.clone());
            let mut moments = [vec![0.0; start.len()], vec![0.0; start.len()]];
            pool.build().unwrap().install(|| {
                for t in 1..=3 {
                    let lr = 0.01 * f64::from(t);
                    optimizer.begin();
                    optimizer.update(Group::Decayed, &mut found, &grads, (lr, 1.0));
                    expected = dfdx_step(&config, t, lr, &expected, &grads, &mut moments);
                    let differ = found.iter().zip(&expected).position(|(a, b)| a != b);
                    assert_eq!(differ, None, "{json}, step {t}");
                }
            });
            for (index, moment) in moments.iter().enumerate() {
                if let Some(found) = optimizer.moment(Group::Decayed, index) {
                    assert_eq!(found, moment, "{json}");
                }
            }
        }
    }
}

/// Clipping multiplies the gradients of a step.
#[test]
fn a_scale_acts_on_the_gradients() {
    let (start, grads) = (many(1), many(2));
    let halved: Vec<f32> = grads.iter().map(|g| 0.5 * g).collect();
    for name in ["adam", "adamw", "sgd", "rmsprop"] {
        let config: OptimizerConfig =
            serde_json::from_str(&format!(r#"{{"name": "{name}", "weight_decay": 0.1}}"#)).unwrap();
        let after = |grads: &[f32], scale| {
            let mut optimizer = Optimizer::new(config.clone(), &layout(start.len()));
            let mut values = start.clone();
            optimizer.begin();
            optimizer.update(Group::Decayed, &mut values, grads, (0.01, scale));
            values
        };
        assert_eq!(after(&grads, 0.5), after(&halved, 1.0), "{name}");
        assert_ne!(after(&grads, 0.5), start, "{name}");
    }
}

#[test]
fn settings_are_checked() {
    let unreadable = |json: &str, expected: &str| {
        let error = serde_json::from_str::<OptimizerConfig>(json)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    unreadable(
        r#"{"name": "adm"}"#,
        "expected one of `adam`, `adamw`, `sgd`, `rmsprop`",
    );
    unreadable(
        r#"{"name": "adam", "momentum": 0.9}"#,
        "unknown field `momentum`, expected one of `lr`, `betas`",
    );
    let problem = |json: &str, expected: Option<&str>| {
        let config: OptimizerConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.problem().map(|(key, _)| key), expected, "{json}");
    };
    problem(r#"{"name": "adam"}"#, None);
    problem(r#"{"name": "adam", "lr": 0}"#, Some("lr"));
    problem(
        r#"{"name": "sgd", "encoder_lr_scale": 0}"#,
        Some("encoder_lr_scale"),
    );
    problem(r#"{"name": "adamw", "betas": [0.9, 1]}"#, Some("betas"));
    problem(
        r#"{"name": "sgd", "momentum": 0, "nesterov": true}"#,
        Some("nesterov"),
    );
    problem(
        r#"{"name": "rmsprop", "weight_decay": -1}"#,
        Some("weight_decay"),
    );
}
