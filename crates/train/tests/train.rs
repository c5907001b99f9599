//! Complete runs of a tiny network: they learn, resume bit for bit, and report errors with their location.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use formats::checkpoint::{Checkpoint, CheckpointDir, Meta, Preprocessing};
use model::graph::{Activation, Nhwc, Padding};
use model::graph::{Graph, GraphBuilder, Init};
use model::network::Network;
use model::store::{Group, ParamStore};
use random::Rng;
use serde_json::{Value, json};
use train::{
    Batch, BatchEvent, Batches, Data, EpochRecord, Job, Metric, Mixed, Observer, Outcome, Phase,
    Stopped, TrainConfig, TrainError, fit,
};

const SIZE: usize = 8;

/// conv-bn-relu-dropout → class map → mean → logits.
fn graph() -> Graph {
    graph_with(false)
}

/// The same; if `deep`, with additional maps at half and at full size.
fn graph_with(deep: bool) -> Graph {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let x = g.conv(
        "conv",
        x,
        6,
        3,
        1,
        Padding::Symmetric(1),
        false,
        Init::Normal(0.4),
    );
    let x = g.batch_norm("bn", x, 1e-5, 0.1);
    let x = g.activation("act", x, Activation::Relu);
    let x = g.dropout("drop", x, 0.2);
    let map = g.conv(
        "map",
        x,
        2,
        1,
        1,
        Padding::Symmetric(0),
        true,
        Init::Normal(0.3),
    );
    g.publish("map", map);
    if deep {
        let one = |g: &mut GraphBuilder, name: &str, x| {
            let (pad, init) = (Padding::Symmetric(0), Init::Normal(0.3));
            g.conv(name, x, 2, 1, 1, pad, true, init)
        };
        let half = g.max_pool("half", x, 2, 2, Padding::Symmetric(0));
        let side = one(&mut g, "side.1", half);
        g.publish("map.1", side);
        let side = one(&mut g, "side.2", x);
        g.publish("map.2", side);
        g.publish("map.3", map); // the final map again: it must count only once
    }
    let x = g.global_avg_pool("pool", map);
    let logits = g.linear("head", x, 2, Init::Normal(0.7));
    g.publish("logits", logits);
    g.finish(1).unwrap()
}

/// Noise, with a bright bar in the images of class 1; an epoch's noise depends on its number.
struct Bars {
    batches: usize,
    /// (epoch, batch) whose images are NaN.
    poison: Option<(usize, usize)>,
    /// (epoch, batch) that cannot be loaded.
    broken: Option<(usize, usize)>,
    label: usize,
    /// Whether labels are mixed (the images are noise anyway).
    mixes: bool,
}

impl Bars {
    fn new() -> Self {
        Bars {
            batches: 5,
            poison: None,
            broken: None,
            label: 1,
            mixes: false,
        }
    }

    fn mixed(&self, labels: &[usize], share: f32) -> Option<Mixed> {
        self.mixes.then(|| Mixed {
            partners: labels.iter().rev().copied().collect(),
            share,
        })
    }

    fn batch(&self, epoch: usize, number: usize) -> Batch {
        let n = 6;
        let mut rng = Rng::stream(epoch as u64, number as u64);
        let labels: Vec<usize> = (0..n).map(|i| (i % 2) * self.label).collect();
        let mut images: Vec<f32> = (0..n * SIZE * SIZE).map(|_| rng.normal_f32()).collect();
        let mut masks = vec![0.0; images.len()];
        for (i, _) in labels.iter().enumerate().filter(|(_, l)| **l > 0) {
            let row = (rng.next_u64() % SIZE as u64) as usize;
            let at = (i * SIZE + row) * SIZE;
            images[at..at + SIZE].iter_mut().for_each(|p| *p += 1.5);
            masks[at..at + SIZE].fill(1.0);
        }
        if self.poison == Some((epoch, number)) {
            images.fill(f32::NAN);
        }
        let shape = Nhwc {
            n,
            h: SIZE,
            w: SIZE,
            c: 1,
        };
        Batch {
            images,
            mixed: self.mixed(&labels, rng.unit_f32()),
            labels,
            masks: Some(masks),
            pixel_weights: None,
            mask_size: None,
            shape,
            name: format!("bars {epoch}/{number}"),
        }
    }
}

impl Data for Bars {
    fn train(&mut self, epoch: usize) -> Batches<'_> {
        Box::new(
            (1..=self.batches).map(move |i| match self.broken == Some((epoch, i)) {
                true => Err("a.png: truncated".into()),
                false => Ok(self.batch(epoch, i)),
            }),
        )
    }

    fn validation(&mut self) -> Batches<'_> {
        Box::new((1..=2).map(|i| Ok(self.batch(0, i))))
    }

    fn train_batches(&self) -> usize {
        self.batches
    }

    fn validation_batches(&self) -> usize {
        2
    }
}

/// Records events, and interrupts the run at the `stop_at`-th query.
#[derive(Default)]
struct Watch {
    events: Vec<BatchEvent>,
    asked: Cell<usize>,
    stop_at: Option<usize>,
}

impl Observer for Watch {
    fn batch(&mut self, event: &BatchEvent) {
        self.events.push(event.clone());
    }

    fn interrupted(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.stop_at.is_some_and(|at| self.asked.get() >= at)
    }
}

struct Trial {
    config: TrainConfig,
    dir: CheckpointDir,
    seed: u64,
    resume: bool,
}

impl Trial {
    fn new(folder: &Path, config: Value) -> Self {
        Trial {
            config: serde_json::from_value(config).unwrap(),
            dir: CheckpointDir::new(folder).unwrap(),
            seed: 3,
            resume: false,
        }
    }

    fn run(
        &self,
        network: &mut Network,
        data: &mut dyn Data,
        watch: &mut Watch,
    ) -> Result<Outcome, TrainError> {
        let spread = |p: &[f32], _: &[usize]| f64::from(p.iter().fold(0.0f32, |m, v| m.max(*v)));
        let metrics = [Metric {
            name: "spread",
            rises: true,
            compute: &spread,
        }];
        let class_weights = self.config.class_weights.resolve(&[3, 3]).unwrap();
        let (config, checkpoints) = (&self.config, &self.dir);
        let job = Job {
            config,
            seed: self.seed,
            class_weights,
            metrics: &metrics,
            meta: &meta(),
            checkpoints,
            resume: self.resume,
            processes: &collective::Alone,
        };
        fit(network, &job, data, watch)
    }
}

fn meta() -> Meta {
    let preprocessing = Preprocessing::stretched((SIZE, SIZE), vec![0.5], vec![0.25]);
    Meta::new(["plain", "bar"], preprocessing)
}

fn network() -> Network {
    Network::new(graph(), 11)
}

fn bits(store: &ParamStore) -> Vec<Vec<u32>> {
    Group::ALL
        .map(|g| store.group(g).iter().map(|v| v.to_bits()).collect())
        .to_vec()
}

/// All recorded values except times.
fn figures(history: &[EpochRecord]) -> Vec<(usize, u64, BTreeMap<String, u64>, u64)> {
    history
        .iter()
        .map(|r| {
            (
                r.epoch,
                r.lr.to_bits(),
                r.values()
                    .into_iter()
                    .map(|(k, v)| (k, v.to_bits()))
                    .collect(),
                r.grad_norm.to_bits(),
            )
        })
        .collect()
}

#[test]
fn a_run_learns_and_keeps_its_best_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let trial = Trial::new(
        folder.path(),
        json!({"epochs": 12, "optimizer": {"name": "adam", "lr": 0.03}, "early_stopping": {"enabled": false}}),
    );
    let (mut network, mut watch) = (network(), Watch::default());
    let outcome = trial
        .run(&mut network, &mut Bars::new(), &mut watch)
        .unwrap();
    assert_eq!(outcome.stopped, Stopped::Completed);
    assert_eq!(outcome.history.len(), 12);
    let losses: Vec<f64> = outcome
        .history
        .iter()
        .map(|r| r.value("val_loss").unwrap())
        .collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(best < 0.6 * losses[0].max(0.69), "{losses:?}");
    assert_eq!(losses[outcome.best_epoch.unwrap() - 1], best);

    let (saved, meta) = Checkpoint::load(&trial.dir.best()).unwrap().into_network();
    assert_eq!(bits(&saved.store()), bits(&network.store()), "restore_best");
    assert_eq!(
        (Some(meta.epoch), meta.metrics["val_loss"]),
        (outcome.best_epoch, best)
    );
    assert_eq!(meta.classes, ["plain", "bar"]);
    let last = Checkpoint::load(&trial.dir.last()).unwrap();
    assert_eq!(last.meta.epoch, 12);

    assert_eq!(watch.events.len(), 12 * (5 + 2));
    let last = watch.events.last().unwrap();
    assert_eq!(
        (
            last.phase,
            last.epoch,
            last.batch,
            last.batches,
            last.images
        ),
        (Phase::Validation, 12, 2, 2, 12)
    );
    assert_eq!(last.loss, losses[11]);
}

#[test]
fn validation_matches_inference() {
    let folder = tempfile::tempdir().unwrap();
    let trial = Trial::new(
        folder.path(),
        json!({"epochs": 1, "label_smoothing": 0.2, "class_weights": [1, 3], "map": {"loss": "bce"}}),
    );
    let mut network = network();
    let outcome = trial
        .run(&mut network, &mut Bars::new(), &mut Watch::default())
        .unwrap();
    let (mut loss, mut hits, mut pixels) = (0.0f64, 0, 0.0f64);
    for number in [1, 2] {
        let batch = Bars::new().batch(0, number);
        let images = model::engine::Images {
            data: &batch.images,
            shape: batch.shape,
        };
        let values = network.infer(images, &["logits", "map"]).unwrap();
        for (z, label) in values[0].data.chunks(2).zip(&batch.labels) {
            let (z, other) = (f64::from(z[*label]), f64::from(z[1 - *label]));
            loss += (1.0 + (other - z).exp()).ln() / 12.0;
            hits += usize::from(z > other);
        }
        for (z, mask) in values[1].data.chunks(2).zip(batch.masks.as_ref().unwrap()) {
            let z = f64::from(z[1] - z[0]) * f64::from(2.0 * mask - 1.0);
            pixels += (1.0 + (-z).exp()).ln() / 12.0 / 64.0;
        }
    }
    let found = outcome.history[0].validation.unwrap();
    assert!(
        (found.loss - loss).abs() < 1e-6,
        "{} instead of {loss}",
        found.loss
    );
    assert_eq!(found.accuracy, hits as f64 / 12.0);
    assert!((found.map_loss.unwrap() - pixels).abs() < 1e-6);
}

/// A configuration with everything enabled: moments, moving average, plateau, clipping, masks, metrics.
fn everything() -> Value {
    json!({
        "epochs": 6, "ema": 0.8, "clip_norm": 0.5, "label_smoothing": 0.1, "class_weights": "balanced", "restore_best": false,
        "optimizer": {"name": "adamw", "lr": 0.02}, "map": {"loss": "bce_dice", "weight": 0.5},
        "schedule": {"name": "reduce_on_plateau", "patience": 1, "min_delta": 0.2}, "monitor": "val_spread"
    })
}

fn killed_and_resumed(config: &Value, kill: impl Fn(&mut Bars, &mut Watch)) {
    killed_and_resumed_on(&Bars::new, &graph, config, kill);
}

fn killed_and_resumed_on(
    bars: &dyn Fn() -> Bars,
    graph: &dyn Fn() -> Graph,
    config: &Value,
    kill: impl Fn(&mut Bars, &mut Watch),
) {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let network = || Network::new(graph(), 11);
    let mut expected = network();
    let trial = Trial::new(whole.path(), config.clone());
    let unbroken = trial
        .run(&mut expected, &mut bars(), &mut Watch::default())
        .unwrap();

    let mut trial = Trial::new(broken.path(), config.clone());
    let (mut data, mut watch) = (bars(), Watch::default());
    kill(&mut data, &mut watch);
    match trial.run(&mut network(), &mut data, &mut watch) {
        Ok(outcome) => assert_eq!(outcome.stopped, Stopped::Interrupted),
        Err(error) => assert!(matches!(error, TrainError::Data { .. }), "{error}"),
    }
    trial.resume = true;
    let mut found = Network::new(graph(), 99); // everything must come from the checkpoint
    if !trial.dir.last().exists() {
        found = network();
    }
    let resumed = trial
        .run(&mut found, &mut bars(), &mut Watch::default())
        .unwrap();
    assert_eq!(figures(&resumed.history), figures(&unbroken.history));
    assert_eq!(
        (resumed.best_epoch, resumed.stopped),
        (unbroken.best_epoch, unbroken.stopped)
    );
    assert_eq!(bits(&found.store()), bits(&expected.store()));
    let best = |folder: &Path| fs::read(CheckpointDir::new(folder).unwrap().best()).unwrap();
    assert_eq!(
        best(whole.path()),
        best(broken.path()),
        "best.safetensors must be identical"
    );
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let in_training = |_: &mut Bars, watch: &mut Watch| watch.stop_at = Some(3 * 7 + 4);
    let in_validation = |_: &mut Bars, watch: &mut Watch| watch.stop_at = Some(2 * 7 + 6);
    let in_first_epoch = |_: &mut Bars, watch: &mut Watch| watch.stop_at = Some(2);
    let by_an_error = |data: &mut Bars, _: &mut Watch| data.broken = Some((5, 2));
    killed_and_resumed(&everything(), in_training);
    killed_and_resumed(&everything(), in_validation);
    killed_and_resumed(&everything(), in_first_epoch);
    killed_and_resumed(&everything(), by_an_error);
    for name in ["sgd", "rmsprop", "adam"] {
        let config = json!({"epochs": 5, "optimizer": {"name": name, "lr": 0.01}, "schedule": {"name": "cosine", "warmup_epochs": 1.5}});
        killed_and_resumed(&config, in_training);
    }
}

/// Mixed labels change the run, which still resumes bit for bit.
#[test]
fn runs_on_mixed_images_resume_bit_for_bit() {
    let mixing = || Bars {
        mixes: true,
        ..Bars::new()
    };
    let in_training = |_: &mut Bars, watch: &mut Watch| watch.stop_at = Some(3 * 7 + 4);
    killed_and_resumed_on(&mixing, &graph, &everything(), in_training);
    let trained = |mut data: Bars| {
        let folder = tempfile::tempdir().unwrap();
        let trial = Trial::new(folder.path(), json!({"epochs": 1, "loss": "softmax_bce"}));
        let mut network = network();
        trial
            .run(&mut network, &mut data, &mut Watch::default())
            .unwrap();
        bits(&network.store())
    };
    assert_ne!(trained(mixing()), trained(Bars::new()));
}

/// The first convolution and norm as an encoder.
fn graph_with_encoder() -> Graph {
    let mut g = GraphBuilder::new(1);
    let (same, point) = (Padding::Symmetric(1), Padding::Symmetric(0));
    let x = g.scope("encoder", |g| {
        let x = g.conv("conv", g.input(), 6, 3, 1, same, false, Init::Normal(0.4));
        let x = g.batch_norm("bn", x, 1e-5, 0.1);
        let x = g.activation("act", x, Activation::Relu);
        g.drop_path("path", x, 0.3)
    });
    let x = g.conv("decoder", x, 4, 3, 1, same, true, Init::Normal(0.3));
    let x = g.batch_norm("bn", x, 1e-5, 0.1);
    let map = g.conv("map", x, 2, 1, 1, point, true, Init::Normal(0.3));
    g.publish("map", map);
    let x = g.global_avg_pool("pool", map);
    let logits = g.linear("head", x, 2, Init::Normal(0.7));
    g.publish("logits", logits);
    g.finish(1).unwrap()
}

/// The encoder's values and the others, as bits.
fn divided(network: &Network) -> [Vec<u32>; 2] {
    let (store, graph) = (network.store(), network.graph());
    let lens = store.map().first(graph.encoder_params());
    let part = |encoder: bool| {
        let of = |group: Group| {
            let (head, tail) = store.group(group).split_at(lens[group as usize]);
            if encoder { head } else { tail }
        };
        let values = Group::ALL.into_iter().flat_map(of);
        values.map(|v| v.to_bits()).collect()
    };
    [part(true), part(false)]
}

/// A frozen encoder keeps its weights, running statistics and averages whatever the optimizer; without it they change.
#[test]
fn a_frozen_encoder_stays_as_it_is() {
    let trained = |freeze: Option<Value>, optimizer: &Value, epochs: usize| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = json!({
            "epochs": epochs, "ema": 0.8, "clip_norm": 0.5, "optimizer": optimizer, "restore_best": false,
            "map": {"loss": "bce"}, "early_stopping": {"enabled": false},
        });
        if let Some(freeze) = freeze {
            config["freeze"] = freeze;
        }
        let mut network = Network::new(graph_with_encoder(), 11);
        Trial::new(folder.path(), config)
            .run(&mut network, &mut Bars::new(), &mut Watch::default())
            .unwrap();
        divided(&network)
    };
    let [encoder, rest] = divided(&Network::new(graph_with_encoder(), 11));
    for optimizer in [
        json!({"name": "adamw", "lr": 0.02, "weight_decay": 0.1}),
        json!({"name": "adam", "lr": 0.02, "weight_decay": 0.1}),
        json!({"name": "sgd", "lr": 0.02, "weight_decay": 0.1}),
        json!({"name": "rmsprop", "lr": 0.002, "momentum": 0.5, "weight_decay": 0.1}),
    ] {
        let [kept, changed] = trained(Some(json!("encoder")), &optimizer, 3);
        assert!(same_values(&kept, &encoder), "{optimizer}");
        assert_ne!(changed, rest, "{optimizer}");
        let [kept, _] = trained(Some(json!({"encoder_epochs": 2})), &optimizer, 2);
        assert!(same_values(&kept, &encoder), "{optimizer}");
        let [changed, _] = trained(Some(json!({"encoder_epochs": 2})), &optimizer, 3);
        assert!(!same_values(&changed, &encoder), "{optimizer}");
        let [changed, _] = trained(None, &optimizer, 2);
        assert!(!same_values(&changed, &encoder), "{optimizer}");
    }
}

/// With the factor 1 nothing changes; with another the first step of SGD changes the encoder by that factor.
#[test]
fn the_encoder_has_a_learning_rate_of_its_own() {
    let trained = |scale: Option<f64>| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = json!({"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.5}});
        if let Some(scale) = scale {
            config["optimizer"]["encoder_lr_scale"] = json!(scale);
        }
        let mut network = Network::new(graph_with_encoder(), 11);
        let mut data = Bars {
            batches: 1,
            ..Bars::new()
        };
        Trial::new(folder.path(), config)
            .run(&mut network, &mut data, &mut Watch::default())
            .unwrap();
        let store = network.store();
        let cut = store.map().first(network.graph().encoder_params())[0];
        let (encoder, rest) = store.group(Group::Decayed).split_at(cut);
        (encoder.to_vec(), rest.to_vec())
    };
    let before = Network::new(graph_with_encoder(), 11).store();
    let (one, tenth) = (trained(None), trained(Some(0.1)));
    assert_eq!(one, trained(Some(1.0)));
    assert_eq!(one.1, tenth.1);
    let start = before.group(Group::Decayed);
    for ((a, b), start) in one.0.iter().zip(&tenth.0).zip(start) {
        assert!(
            (0.1 * (a - start) - (b - start)).abs() < 1e-6,
            "{a}, {b}, {start}"
        );
    }
    assert_ne!(one.0, tenth.0);
}

/// Whether values are equal; a zero may change its sign.
fn same_values(a: &[u32], b: &[u32]) -> bool {
    let values = |bits: &[u32]| bits.iter().map(|v| f32::from_bits(*v)).collect::<Vec<_>>();
    values(a) == values(b)
}

/// Killed in a frozen epoch, at the end of the last one, and after it.
#[test]
fn runs_with_a_frozen_encoder_resume_bit_for_bit() {
    for optimizer in ["adamw", "sgd"] {
        let config = json!({
            "epochs": 5, "freeze": {"encoder_epochs": 2}, "ema": 0.8,
            "optimizer": {"name": optimizer, "lr": 0.01, "weight_decay": 0.01},
        });
        for stop_at in [7 + 3, 2 * 7 + 1, 2 * 7 + 2, 4 * 7 + 3] {
            killed_and_resumed_on(&Bars::new, &graph_with_encoder, &config, |_, watch| {
                watch.stop_at = Some(stop_at);
            });
        }
    }
    let scaled = json!({
        "epochs": 4, "freeze": {"encoder_epochs": 1},
        "optimizer": {"name": "adamw", "lr": 0.01, "encoder_lr_scale": 0.1},
    });
    killed_and_resumed_on(&Bars::new, &graph_with_encoder, &scaled, |_, watch| {
        watch.stop_at = Some(2 * 7 + 3);
    });
    let config = json!({"epochs": 3, "freeze": "encoder"});
    killed_and_resumed_on(&Bars::new, &graph_with_encoder, &config, |_, watch| {
        watch.stop_at = Some(7 + 3);
    });
}

/// A run that averages its last epochs.
fn swa_config(epochs: usize, swa: usize) -> Value {
    json!({
        "epochs": epochs, "swa": {"epochs": swa}, "early_stopping": {"enabled": false}, "restore_best": false,
        "optimizer": {"name": "adam", "lr": 0.02}, "schedule": {"name": "constant"},
    })
}

/// A convolution without norm before it, whose value is published, then everything else.
fn graph_with_statistics() -> Graph {
    let mut g = GraphBuilder::new(1);
    let (same, point) = (Padding::Symmetric(1), Padding::Symmetric(0));
    let pre = g.conv("conv", g.input(), 6, 3, 1, same, false, Init::Normal(0.4));
    g.publish("pre", pre);
    let x = g.batch_norm("bn", pre, 1e-5, 0.1);
    let x = g.activation("act", x, Activation::Relu);
    let x = g.dropout("drop", x, 0.2);
    let x = g.conv("map", x, 2, 1, 1, point, true, Init::Normal(0.3));
    g.publish("map", x);
    let x = g.global_avg_pool("pool", x);
    let logits = g.linear("head", x, 2, Init::Normal(0.7));
    g.publish("logits", logits);
    g.finish(1).unwrap()
}

/// The average of the last epochs' weights and the mean of the batches' statistics are what is validated and saved.
#[test]
fn swa_averages_the_last_epochs_and_recomputes_their_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = Network::new(graph_with_statistics(), 11);
    let trial = Trial::new(folder.path(), swa_config(4, 3));
    let outcome = trial
        .run(&mut found, &mut Bars::new(), &mut Watch::default())
        .unwrap();
    // The same run, ended after each of these epochs.
    let ended = |epochs: usize| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = swa_config(epochs, 1);
        config.as_object_mut().unwrap().remove("swa");
        let mut network = Network::new(graph_with_statistics(), 11);
        let outcome = Trial::new(folder.path(), config)
            .run(&mut network, &mut Bars::new(), &mut Watch::default())
            .unwrap();
        (network.store(), outcome)
    };
    let all: Vec<_> = [2, 3, 4].map(ended).to_vec();
    let store = found.store();
    for group in Group::TRAINABLE {
        for (i, found) in store.group(group).iter().enumerate() {
            let sum: f64 = all
                .iter()
                .map(|(store, _)| f64::from(store.group(group)[i]))
                .sum();
            assert!(
                (f64::from(*found) - sum / 3.0).abs() < 1e-6,
                "{group:?}[{i}]"
            );
        }
    }
    let plain = &all[2].1.history;
    assert_eq!(figures(&outcome.history[..3]), figures(&plain[..3]));
    assert_eq!(outcome.history[3].train, plain[3].train);
    assert_ne!(outcome.history[3].validation, plain[3].validation);

    // Mean and unbiased variance of each channel of the convolution's value, batch by batch.
    let (mut means, mut variances) = ([0.0; 6], [0.0; 6]);
    for number in 1..=5 {
        let batch = Bars::new().batch(4, number);
        let images = model::engine::Images {
            data: &batch.images,
            shape: batch.shape,
        };
        let pre = found.infer(images, &["pre"]).unwrap().remove(0).data;
        for c in 0..6 {
            let values: Vec<f64> = pre
                .iter()
                .skip(c)
                .step_by(6)
                .map(|v| f64::from(*v))
                .collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            means[c] += mean / 5.0;
            let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
            variances[c] += squares / (n - 1.0) / 5.0;
        }
    }
    let statistics = |name: &str| store.get(found.graph().find_param(name).unwrap()).to_vec();
    for (name, expected) in [("bn.running_mean", means), ("bn.running_var", variances)] {
        for (f, e) in statistics(name).iter().zip(expected) {
            assert!(
                (f64::from(*f) - e).abs() < 1e-5 * e.abs().max(1.0),
                "{name}: {f}, {e}"
            );
        }
    }

    // What was saved is what was validated.
    let (saved, meta) = Checkpoint::load(&trial.dir.last()).unwrap().into_network();
    assert_eq!(bits(&saved.store()), bits(&store));
    assert_eq!(meta.epoch, 4);
    let mut hits = 0;
    for number in [1, 2] {
        let batch = Bars::new().batch(0, number);
        let images = model::engine::Images {
            data: &batch.images,
            shape: batch.shape,
        };
        let logits = saved.infer(images, &["logits"]).unwrap().remove(0);
        hits += train::hits(&logits.data, 2, &batch.labels);
    }
    let validated = outcome.history[3].validation.unwrap();
    assert_eq!(validated.accuracy, hits as f64 / 12.0);
}

/// Killed before the averaged epochs, in each of them, and in the pass for the statistics; also with a frozen encoder
/// and with masks.
#[test]
fn runs_with_swa_resume_bit_for_bit() {
    for stop_at in [
        7 + 3,
        2 * 7 + 1,
        3 * 7 + 1,
        4 * 7 + 4,
        4 * 7 + 5 + 3,
        4 * 7 + 5 + 5 + 2,
    ] {
        killed_and_resumed(&swa_config(5, 3), |_, watch| watch.stop_at = Some(stop_at));
    }
    let mut config = swa_config(4, 2);
    config["freeze"] = json!("encoder");
    config["map"] = json!({"loss": "bce"});
    killed_and_resumed_on(&Bars::new, &graph_with_encoder, &config, |_, watch| {
        watch.stop_at = Some(3 * 7 + 2);
    });
}

/// A frozen encoder keeps its statistics in the pass for those of the average.
#[test]
fn swa_leaves_a_frozen_encoder_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = swa_config(3, 2);
    config["freeze"] = json!("encoder");
    let mut network = Network::new(graph_with_encoder(), 11);
    let [encoder, rest] = divided(&network);
    Trial::new(folder.path(), config)
        .run(&mut network, &mut Bars::new(), &mut Watch::default())
        .unwrap();
    let [kept, changed] = divided(&network);
    assert!(same_values(&kept, &encoder));
    assert_ne!(changed, rest);
}

#[test]
fn the_averaged_epochs_of_a_run_cannot_change() {
    let folder = tempfile::tempdir().unwrap();
    let run = |config: Value, resume: bool| {
        let trial = Trial {
            resume,
            ..Trial::new(folder.path(), config)
        };
        trial.run(&mut network(), &mut Bars::new(), &mut Watch::default())
    };
    run(swa_config(3, 2), false).unwrap();
    for config in [swa_config(4, 2), swa_config(3, 1)] {
        let error = run(config, true).unwrap_err().to_string();
        assert!(error.contains("differs"), "{error}");
    }
    run(swa_config(3, 2), true).unwrap();
}

#[test]
fn a_finished_run_stays_finished_when_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let stopping = json!({"epochs": 9, "optimizer": {"name": "adam", "lr": 1e-9}, "early_stopping": {"patience": 2, "min_delta": 0.5}});
    let mut trial = Trial::new(folder.path(), stopping);
    let first = trial
        .run(&mut network(), &mut Bars::new(), &mut Watch::default())
        .unwrap();
    assert_eq!(
        (first.stopped, first.history.len()),
        (Stopped::EarlyStopped, 3)
    );
    trial.resume = true;
    let mut watch = Watch::default();
    let again = trial
        .run(&mut network(), &mut Bars::new(), &mut watch)
        .unwrap();
    assert_eq!(
        (again.stopped, watch.events.len()),
        (Stopped::EarlyStopped, 0)
    );
    assert_eq!(again.history, first.history);
    trial.config.early_stopping.patience = 3;
    let longer = trial
        .run(&mut network(), &mut Bars::new(), &mut watch)
        .unwrap();
    assert_eq!(
        (longer.stopped, longer.history.len()),
        (Stopped::EarlyStopped, 4)
    );
}

#[test]
fn resuming_another_run_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(folder.path(), json!({"epochs": 1}));
    trial
        .run(&mut network(), &mut Bars::new(), &mut Watch::default())
        .unwrap();
    trial.resume = true;
    let refused = |trial: &Trial, expected: &str| {
        let error = trial
            .run(&mut network(), &mut Bars::new(), &mut Watch::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && error.contains("last.safetensors"),
            "{error}"
        );
    };
    let with = |config: Value| Trial {
        resume: true,
        ..Trial::new(folder.path(), config)
    };
    refused(
        &with(json!({"epochs": 2, "optimizer": {"name": "sgd"}})),
        "train.optimizer differs",
    );
    refused(
        &with(json!({"epochs": 2, "class_weights": "balanced"})),
        "the weighting of the classes differs",
    );
    refused(
        &Trial {
            seed: 4,
            ..with(json!({"epochs": 2}))
        },
        "the seed is 4, but that run's seed is 3",
    );
    fs::copy(trial.dir.best(), trial.dir.last()).unwrap();
    refused(&trial, "contains no training state");
}

#[test]
fn nan_stops_the_run_before_the_weights_change_and_names_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let trial = Trial::new(folder.path(), json!({"epochs": 4}));
    let mut data = Bars {
        poison: Some((2, 3)),
        ..Bars::new()
    };
    let (mut network, mut watch) = (network(), Watch::default());
    let error = trial
        .run(&mut network, &mut data, &mut watch)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the loss is NaN in batch 3 of epoch 2 (bars 2/3)"),
        "{error}"
    );
    for group in Group::TRAINABLE {
        assert!(network.store().group(group).iter().all(|v| v.is_finite()));
    }
    assert_eq!(Checkpoint::load(&trial.dir.last()).unwrap().meta.epoch, 1);
}

#[test]
fn bad_runs_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |config: Value, mut data: Bars, expected: &str| {
        let error = Trial::new(folder.path(), config)
            .run(&mut network(), &mut data, &mut Watch::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    fails(
        json!({"monitor": "val_auc"}),
        Bars::new(),
        "train.monitor = \"val_auc\" is not recorded in this run; there are: loss, accuracy, val_loss, val_accuracy, val_spread",
    );
    fails(
        json!({"early_stopping": {"monitor": "x"}}),
        Bars::new(),
        "train.early_stopping.monitor = \"x\"",
    );
    fails(json!({"epochs": 0}), Bars::new(), "train.epochs");
    fails(
        json!({"freeze": "encoder"}),
        Bars::new(),
        "train.freeze must be omitted: this network has no encoder",
    );
    fails(
        json!({"optimizer": {"name": "sgd", "encoder_lr_scale": 0.1}}),
        Bars::new(),
        "train.optimizer.encoder_lr_scale must be omitted: this network has no encoder",
    );
    fails(
        json!({"map": {"loss": "dice", "class": 2}}),
        Bars::new(),
        "train.map.class",
    );
    fails(
        json!({}),
        Bars {
            batches: 0,
            ..Bars::new()
        },
        "no training batch in epoch 1",
    );
    fails(
        json!({}),
        Bars {
            label: 5,
            ..Bars::new()
        },
        "training batch 1 of epoch 1 (bars 1/1): label 5 does not exist",
    );
    fails(
        json!({}),
        Bars {
            broken: Some((1, 2)),
            ..Bars::new()
        },
        "training batch 2 of epoch 1 could not be loaded: a.png: truncated",
    );
}

#[test]
fn folders_that_cannot_be_written_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = CheckpointDir::new(file.join("run"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot create the folder") && error.contains("file"),
        "{error}"
    );

    let run = folder.path().join("run");
    let trial = Trial::new(&run, json!({"epochs": 1}));
    fs::remove_dir(&run).unwrap(); // while it runs
    let error = trial
        .run(&mut network(), &mut Bars::new(), &mut Watch::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot write") && error.contains("best.safetensors"),
        "{error}"
    );
}

/// Bars without labels, to check that labels are not used. The bars are brighter and have higher pixel weights.
struct Masked(Bars);

impl Masked {
    fn strip(batch: Result<Batch, train::BoxError>) -> Result<Batch, train::BoxError> {
        let batch = batch?;
        let masks = batch.masks.as_ref().unwrap();
        let pairs = batch.images.iter().zip(masks);
        Ok(Batch {
            images: pairs.map(|(pixel, m)| pixel + 3.0 * m).collect(),
            labels: vec![],
            pixel_weights: Some(masks.iter().map(|m| 1.0 + 3.0 * m).collect()),
            mask_size: None,
            ..batch
        })
    }
}

impl Data for Masked {
    fn train(&mut self, epoch: usize) -> Batches<'_> {
        Box::new(self.0.train(epoch).map(Masked::strip))
    }

    fn validation(&mut self) -> Batches<'_> {
        Box::new(self.0.validation().map(Masked::strip))
    }

    fn train_batches(&self) -> usize {
        self.0.train_batches()
    }

    fn validation_batches(&self) -> usize {
        2
    }
}

#[test]
fn a_segmenter_learns_from_masks_only() {
    for (map, deep) in [
        (json!({"loss": "bce_dice"}), false),
        (
            json!({"loss": "cross_entropy_dice", "deep_supervision": true}),
            true,
        ),
        (json!({"loss": "tversky"}), false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let trial = Trial::new(
            folder.path(),
            json!({
                "task": "segment", "epochs": 12, "map": map, "monitor": "val_dice",
                "optimizer": {"name": "adam", "lr": 0.03}, "early_stopping": {"enabled": false},
                "schedule": {"name": "reduce_on_plateau", "monitor": "val_map_loss"}
            }),
        );
        let mut network = Network::new(graph_with(deep), 11);
        let outcome = trial
            .run(
                &mut network,
                &mut Masked(Bars::new()),
                &mut Watch::default(),
            )
            .unwrap();
        let values: Vec<_> = outcome.history.iter().map(EpochRecord::values).collect();
        let names: Vec<&str> = values[0].keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["loss", "map_loss", "val_dice", "val_loss", "val_map_loss"]
        );
        let dice: Vec<f64> = values.iter().map(|v| v["val_dice"]).collect();
        let best = dice.iter().copied().fold(0.0, f64::max);
        assert_eq!(dice[outcome.best_epoch.unwrap() - 1], best);
        assert!(best > 0.8, "{map}: {dice:?}");
        let last = values.last().unwrap();
        assert!(
            last["val_map_loss"] < 0.6 * values[0]["val_map_loss"],
            "{map}"
        );
        assert_eq!(last["val_map_loss"], last["val_loss"]);
        let meta = Checkpoint::load(&trial.dir.best()).unwrap().meta;
        assert_eq!(meta.metrics["val_dice"], best);
    }
}

#[test]
fn val_dice_is_the_mean_dice_over_images() {
    let folder = tempfile::tempdir().unwrap();
    for (loss, task) in [("bce", "both"), ("cross_entropy", "segment")] {
        let config = json!({"epochs": 1, "task": task, "map": {"loss": loss}});
        let mut network = network();
        let outcome = Trial::new(folder.path(), config)
            .run(&mut network, &mut Bars::new(), &mut Watch::default())
            .unwrap();
        let mut sum = 0.0;
        for number in [1, 2] {
            let batch = Bars::new().batch(0, number);
            let images = model::engine::Images {
                data: &batch.images,
                shape: batch.shape,
            };
            let map = network.infer(images, &["map"]).unwrap().remove(0);
            let masks = batch.masks.as_ref().unwrap();
            for (map, mask) in map
                .data
                .chunks(2 * SIZE * SIZE)
                .zip(masks.chunks(SIZE * SIZE))
            {
                let (mut both, mut either) = (0.0, 0.0);
                for (z, t) in map.chunks(2).zip(mask) {
                    let p = f64::from(u8::from(z[1] > z[0]));
                    both += p * f64::from(*t);
                    either += p + f64::from(*t);
                }
                sum += if either == 0.0 {
                    1.0
                } else {
                    2.0 * both / either
                };
            }
        }
        let found = outcome.history[0].value("val_dice").unwrap();
        assert!(
            (found - sum / 12.0).abs() < 1e-12,
            "{found}, {}",
            sum / 12.0
        );
    }
}

#[test]
fn segmenters_resume_bit_for_bit() {
    let config = json!({
        "task": "segment", "epochs": 5, "monitor": "val_dice", "ema": 0.8, "map": {"loss": "cross_entropy_dice"}
    });
    killed_and_resumed(&config, |_, watch| watch.stop_at = Some(3 * 7 + 4));
}

#[test]
fn networks_or_masks_that_do_not_fit_the_task_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |config: Value, data: &mut dyn Data, expected: &str| {
        let error = Trial::new(folder.path(), config)
            .run(&mut network(), data, &mut Watch::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    let deep = json!({"task": "segment", "map": {"loss": "dice", "deep_supervision": true}});
    fails(
        deep,
        &mut Bars::new(),
        "train.map.deep_supervision must be false: this network has only one class map",
    );
    let segment =
        |monitor: &str| json!({"task": "segment", "map": {"loss": "dice"}, "monitor": monitor});
    fails(
        segment("val_accuracy"),
        &mut Bars::new(),
        "there are: loss, map_loss, val_loss, val_map_loss, val_dice",
    );
    fails(
        json!({"map": {"loss": "dice"}, "monitor": "x"}),
        &mut Bars::new(),
        "there are: loss, accuracy, map_loss, val_loss, val_accuracy, val_map_loss, val_dice, val_spread",
    );
    struct Unknown(Bars);
    impl Data for Unknown {
        fn train(&mut self, epoch: usize) -> Batches<'_> {
            Box::new(self.0.train(epoch).map(|batch| {
                let batch = batch?;
                let masks = Some(vec![f32::NAN; batch.images.len()]);
                Ok(Batch { masks, ..batch })
            }))
        }
        fn validation(&mut self) -> Batches<'_> {
            self.0.validation()
        }
        fn train_batches(&self) -> usize {
            5
        }
        fn validation_batches(&self) -> usize {
            2
        }
    }
    fails(
        segment("val_loss"),
        &mut Unknown(Bars::new()),
        "batch 1 of epoch 1 (bars 1/1): no pixel of this batch has a known truth",
    );
}

/// Bars from a slow disk.
struct Slow(Bars, Duration);

impl Data for Slow {
    fn train(&mut self, epoch: usize) -> Batches<'_> {
        let delay = self.1;
        Box::new(
            self.0
                .train(epoch)
                .inspect(move |_| std::thread::sleep(delay)),
        )
    }

    fn validation(&mut self) -> Batches<'_> {
        self.0.validation()
    }

    fn train_batches(&self) -> usize {
        self.0.train_batches()
    }

    fn validation_batches(&self) -> usize {
        self.0.validation_batches()
    }
}

#[test]
fn time_spent_waiting_for_batches_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let trial = Trial::new(folder.path(), json!({"epochs": 1}));
    let delay = Duration::from_millis(20);
    let mut data = Slow(Bars::new(), delay);
    let mut network = Network::new(graph_with(false), 11);
    let outcome = trial
        .run(&mut network, &mut data, &mut Watch::default())
        .unwrap();
    let record = &outcome.history[0];
    let least = delay.as_secs_f64() * data.train_batches() as f64;
    assert!(
        record.waited >= least && record.waited <= record.seconds,
        "{record:?}"
    );
}
