//! Schedules and early stopping compared with Keras' callbacks and PyTorch (`schedules.json`, made by `schedules.py`);
//! moving average, clipping, and settings.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::sync::Arc;

use model::graph::{GraphBuilder, Init};
use model::store::{Group, ParamMap, ParamStore};
use serde_json::{Value, json};
use train::clip::{clip_factor, norm};
use train::ema::Ema;
use train::monitor::Monitor;
use train::schedule::{Moment, Schedule, ScheduleConfig};
use train::stopping::{Stopping, StoppingConfig};
use train::{EpochRecord, Task, TrainConfig};

fn reference() -> Value {
    serde_json::from_str(include_str!("schedules.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn val_loss() -> Monitor {
    Monitor {
        name: "val_loss".into(),
        rises: false,
    }
}

fn at(step: u64, epochs_done: usize) -> Moment {
    Moment {
        step,
        epochs_done,
        total_steps: 20,
        epoch_steps: 4,
    }
}

fn schedule(mut settings: Value, name: &str) -> Schedule {
    settings["name"] = name.into();
    let config: ScheduleConfig = serde_json::from_value(settings).unwrap();
    assert_eq!(config.problem(), None);
    Schedule::new(config, 1.0, val_loss())
}

#[test]
fn plateau_matches_keras() {
    let reference = reference();
    for case in reference["plateau"].as_array().unwrap() {
        let mut schedule = schedule(case["settings"].clone(), "reduce_on_plateau");
        for (loss, rate) in numbers(&reference["losses"])
            .iter()
            .zip(numbers(&case["rates"]))
        {
            schedule.epoch_end(Some(*loss));
            let found = schedule.lr(at(0, 0));
            assert!(
                (found - rate).abs() < 1e-6 * rate,
                "{case}: {found} instead of {rate}"
            ); // Keras' rate is an f32
        }
    }
}

#[test]
fn early_stopping_matches_keras() {
    let reference = reference();
    for case in reference["stopping"].as_array().unwrap() {
        let config: StoppingConfig = serde_json::from_value(case["settings"].clone()).unwrap();
        let mut stopping = Stopping::new(config, val_loss());
        let mut epochs = None;
        for (i, loss) in numbers(&reference["losses"]).iter().enumerate() {
            stopping.epoch_end(Some(*loss));
            epochs = epochs.or(stopping.is_over().then_some(i as u64 + 1));
        }
        assert_eq!(epochs, case["epochs"].as_u64(), "{case}");
    }
}

#[test]
fn undefined_values_are_not_improvements() {
    let m = Monitor {
        name: "val_auc".into(),
        rises: true,
    };
    assert!(m.improves(Some(0.1), None, 0.5));
    assert!(!m.improves(Some(f64::NAN), None, 0.0));
    assert!(!m.improves(None, Some(0.1), 0.0));
    assert!(!m.improves(Some(0.6), Some(0.55), 0.1));
    assert!(m.improves(Some(0.6), Some(0.45), 0.1));
}

#[test]
fn cosine_matches_pytorch_after_a_linear_warm_up() {
    let schedule = schedule(json!({"warmup_epochs": 2, "min_lr": 0.1}), "cosine");
    let rates: Vec<f64> = (0..20).map(|step| schedule.lr(at(step, 0))).collect();
    let warmup: Vec<f64> = (1..=8).map(|i| f64::from(i) / 8.0).collect();
    let expected = [warmup, numbers(&reference()["cosine"])].concat();
    for (found, expected) in rates.iter().zip(&expected) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} instead of {expected}"
        );
    }
    assert_eq!(schedule.lr(at(25, 0)), 0.1); // more steps than `total_steps`
}

#[test]
fn step_and_constant() {
    let step = schedule(json!({"every": 2, "factor": 0.5}), "step");
    assert_eq!(
        [0, 1, 2, 3, 4].map(|e| step.lr(at(0, e))),
        [1.0, 1.0, 0.5, 0.5, 0.25]
    );
    assert_eq!(schedule(json!({}), "constant").lr(at(9, 9)), 1.0);
}

/// As many decayed values as plain ones.
fn layout(n: usize) -> Arc<ParamMap> {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    g.linear("fc", x, n, Init::Constant(0.0));
    Arc::new(ParamMap::new(&g.finish(1).unwrap()))
}

#[test]
fn the_moving_average_warms_up() {
    let map = layout(1);
    let filled = |value| {
        let mut store = ParamStore::zeros(map.clone());
        Group::ALL
            .into_iter()
            .for_each(|group| store.group_mut(group).fill(value));
        store
    };
    let (mut ema, mut expected) = (Ema::new(0.25, filled(1.0)), 1.0f64);
    for (t, value) in [3.0, -2.0, 5.0, 7.0].into_iter().enumerate() {
        ema.update(&filled(value));
        let decay = ((1.0 + t as f64) / (10.0 + t as f64)).min(0.25);
        expected = decay * expected + (1.0 - decay) * f64::from(value);
        assert!((f64::from(ema.average().group(Group::Decayed)[0]) - expected).abs() < 1e-6);
    }
    assert_eq!(ema.updates(), 4);
}

#[test]
fn clipping_matches_pytorch() {
    // torch.nn.utils.clip_grad_norm_ on [3, -4] and [12], max_norm 2.6: norm 13, factor 0.19999998461…
    let mut gradients = ParamStore::zeros(layout(2));
    *gradients.group_mut(Group::Decayed) = vec![3.0, -4.0];
    *gradients.group_mut(Group::Plain) = vec![12.0, 0.0];
    let norm = norm(&gradients);
    assert_eq!(norm, 13.0);
    assert!((clip_factor(norm, 2.6).unwrap() - 0.199_999_98).abs() < 1e-7);
    assert_eq!(clip_factor(norm, 14.0), None);
    assert_eq!(clip_factor(norm, 0.0), None);
}

#[test]
fn settings_are_read_and_checked() {
    let unreadable = |json: Value, expected: &str| {
        let error = serde_json::from_value::<TrainConfig>(json)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    unreadable(
        json!({"epoch": 3}),
        "unknown field `epoch`, expected one of `epochs`",
    );
    unreadable(
        json!({"schedule": {"name": "constant", "factor": 1}}),
        "unknown field `factor`",
    );
    unreadable(
        json!({"schedule": {"name": "cosin"}}),
        "unknown variant `cosin`",
    );
    unreadable(
        json!({"early_stopping": {"patiance": 1}}),
        "unknown field `patiance`",
    );
    unreadable(
        json!({"class_weights": "balancd"}),
        "\"balancd\" is unknown",
    );
    let refused = |json: Value, expected: &str| {
        let config: TrainConfig = serde_json::from_value(json).unwrap();
        assert_eq!(config.check().unwrap_err().to_string(), expected);
    };
    refused(
        json!({"epochs": 0}),
        "train.epochs must be from 1 to 100,000",
    );
    refused(
        json!({"label_smoothing": 1}),
        "train.label_smoothing must be at least 0 and less than 1",
    );
    refused(
        json!({"optimizer": {"name": "adam", "lr": -1}}),
        "train.optimizer.lr must be a positive number",
    );
    refused(
        json!({"schedule": {"name": "step", "every": 0}}),
        "train.schedule.every must be at least 1",
    );
    refused(
        json!({"map": {"loss": "focal", "gamma": 0.5}}),
        "train.map.gamma must be 0 or at least 1",
    );
    refused(
        json!({"map": {"loss": "tversky", "beta": -1}}),
        "train.map.beta must be 0 or a positive number",
    );
    let config = TrainConfig::default();
    config.check().unwrap();
    assert_eq!(
        serde_json::from_value::<TrainConfig>(serde_json::to_value(&config).unwrap()).unwrap(),
        config
    );
}

#[test]
fn settings_that_do_not_fit_the_task_are_rejected() {
    let check = |json: Value, expected: Result<Task, &str>| {
        let config: TrainConfig = serde_json::from_value(json.clone()).unwrap();
        match (config.check(), expected) {
            (Ok(()), Ok(task)) => assert_eq!(config.task(), task, "{json}"),
            (Err(error), Err(expected)) => {
                let error = error.to_string();
                assert!(error.starts_with(expected), "{json}: {error}");
            }
            (found, _) => panic!("{json}: {found:?}"),
        }
    };
    // The defaults when `task` is omitted.
    check(json!({}), Ok(Task::Classify));
    check(
        json!({"map": {"loss": "bce", "weight": 0.5}}),
        Ok(Task::Both),
    );
    let with = |task: &str, map: Value| json!({"task": task, "map": map});
    let dice = || json!({"loss": "dice"});
    check(with("classify", json!({})), Ok(Task::Classify));
    check(with("both", dice()), Ok(Task::Both));
    check(with("segment", dice()), Ok(Task::Segment));
    check(
        with("classify", dice()),
        Err("train.task must be \"both\" or \"segment\" if map.loss is on"),
    );
    for task in ["segment", "both"] {
        check(with(task, json!({})), Err("train.map.loss must be on"));
    }
    check(
        json!({"map": {"deep_supervision": true}}),
        Err("train.map.deep_supervision must be false if map.loss"),
    );
    check(
        json!({"map": {"loss": "cross_entropy", "class": 1}}),
        Err("train.map.class must be omitted"),
    );
    check(
        with("segment", json!({"loss": "dice", "weight": 2})),
        Err("train.map.weight must be 1 if"),
    );
    let map = dice();
    check(
        json!({"task": "segment", "map": map, "class_weights": "balanced"}),
        Err("train.class_weights must be \"none\""),
    );
    check(
        json!({"task": "segment", "map": map, "label_smoothing": 0.1}),
        Err("train.label_smoothing must be 0"),
    );
}

#[test]
fn settings_and_records_of_earlier_checkpoints_are_still_readable() {
    let old = json!({
        "epochs": 40, "batch_size": 8, "loss": "cross_entropy", "class_weights": "none", "label_smoothing": 0.0,
        "map": {"loss": "none", "weight": 1.0, "class": null, "alpha": 0.25, "gamma": 2.0},
        "monitor": "val_loss", "mode": "auto", "restore_best": true
    });
    let config: TrainConfig = serde_json::from_value(old).unwrap();
    assert_eq!(config, TrainConfig::default());
    let phase = json!({"loss": 0.5, "accuracy": 0.75, "map_loss": null});
    let record: EpochRecord = serde_json::from_value(json!({
        "epoch": 1, "lr": 1e-4, "train": phase, "validation": phase, "metrics": {"auc": null},
        "grad_norm": 1.0, "seconds": 2.0, "images_per_second": 3.0
    }))
    .unwrap();
    let names: Vec<String> = record.values().into_keys().collect();
    assert_eq!(
        names,
        ["accuracy", "loss", "val_accuracy", "val_auc", "val_loss"]
    );
}
