//! Compares runs whose steps are made on the device with the same runs using the host's losses and updates on the same
//! engine: with the kernels running on the host, and on a GPU if there is one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../model/tests/cuda_host/mod.rs"]
mod cuda_host;

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use collective::{Alone, Collective, Division, threads};
use cuda_host::{Host, gpu};
use formats::checkpoint::{CheckpointDir, Meta, Preprocessing};
use model::engine::Precision;
use model::engine::cuda::CudaEngine;
use model::engine::cuda::driver::Driver;
use model::engine::{Engine, EngineError, Images, Value};
use model::graph::{Activation, Nhwc, Padding};
use model::graph::{Graph, GraphBuilder, Init, NodeId};
use model::network::Network;
use model::store::{Group, ParamStore};
use random::Rng;
use serde_json::{Value as Json, json};
use train::{
    Batch, BatchEvent, Batches, Data, Job, Mixed, Observer, Outcome, Stopped, TrainConfig,
    TrainError, fit,
};

const SIZE: usize = 8;

/// Two maps of different sizes, squeeze-and-excitation, a residual connection, dropout and drop path.
fn graph() -> Graph {
    let mut g = GraphBuilder::new(1);
    let same = Padding::Symmetric(1);
    let point = Padding::Symmetric(0);
    let init = Init::Normal(0.4);
    let x = g.scope("encoder", |g| {
        let x = g.conv("stem", g.input(), 8, 3, 1, same, false, init);
        let x = g.batch_norm("bn", x, 1e-5, 0.1);
        let x = g.activation("act", x, Activation::Silu);
        let y = g.depthwise("dw", x, 3, 1, same, init);
        let s = g.global_avg_pool("se.pool", y);
        let s = g.conv("se.fc", s, 8, 1, 1, point, true, init);
        let s = g.activation("se.gate", s, Activation::Sigmoid);
        let y = g.scale_channels("se.scale", y, s);
        let y = g.drop_path("path", y, 0.2);
        g.add("add", x, y)
    });
    let map = g.conv("map", x, 3, 1, 1, point, true, Init::Normal(0.3));
    g.publish("map", map);
    let half = g.max_pool("half", x, 2, 2, point);
    let side = g.conv("side", half, 3, 1, 1, point, true, Init::Normal(0.3));
    g.publish("map.1", side);
    let x = g.global_avg_pool("pool", map);
    let x = g.dropout("drop", x, 0.2);
    let logits = g.linear("head", x, 3, Init::Normal(0.7));
    g.publish("logits", logits);
    g.finish(1).unwrap()
}

/// Noise with a bar whose brightness is the class; the last batch of an epoch is smaller.
#[derive(Clone, Copy)]
struct Bars {
    masks: bool,
    poison: Option<usize>,
    label: usize,
    mixes: bool,
}

const BARS: Bars = Bars {
    masks: true,
    poison: None,
    label: 0,
    mixes: false,
};

impl Bars {
    fn batch(&self, epoch: usize, number: usize) -> Batch {
        let n = if number == 4 { 3 } else { 5 };
        let mut rng = Rng::stream(epoch as u64, number as u64);
        let mut images: Vec<f32> = (0..n * SIZE * SIZE).map(|_| rng.normal_f32()).collect();
        let mut masks = vec![0.0; images.len()];
        let labels: Vec<usize> = (0..n).map(|i| (i + number) % 3).collect();
        for (i, label) in labels.iter().enumerate() {
            let at = (i * SIZE + (rng.next_u64() % SIZE as u64) as usize) * SIZE;
            images[at..at + SIZE]
                .iter_mut()
                .for_each(|p| *p += *label as f32);
            masks[at..at + SIZE].fill(f32::from(*label > 0));
        }
        masks[5] = f32::NAN;
        if self.poison == Some(number) {
            images.fill(f32::NAN);
        }
        let shape = Nhwc {
            n,
            h: SIZE,
            w: SIZE,
            c: 1,
        };
        Batch {
            pixel_weights: Some((0..images.len()).map(|_| rng.unit_f32()).collect()),
            images,
            mixed: self.mixes.then(|| Mixed {
                partners: labels.iter().rev().copied().collect(),
                share: 0.15 + 0.2 * number as f32, // below and above ½
            }),
            labels: labels.iter().map(|label| label + self.label).collect(),
            // One batch in four has no masks.
            masks: (self.masks && number != 2).then_some(masks),
            mask_size: None,
            shape,
            name: format!("bars {epoch}/{number}"),
        }
    }
}

/// What a process reads of them.
struct Shared {
    bars: Bars,
    division: Division,
    turn: (usize, usize),
}

/// Some images of a batch.
fn part(batch: &Batch, images: Range<usize>) -> Batch {
    let pixels = images.start * SIZE * SIZE..images.end * SIZE * SIZE;
    let of_pixels = |values: &Vec<f32>| values[pixels.clone()].to_vec();
    Batch {
        images: of_pixels(&batch.images),
        labels: batch.labels[images.clone()].to_vec(),
        mixed: batch.mixed.as_ref().map(|mixed| Mixed {
            partners: mixed.partners[images.clone()].to_vec(),
            ..*mixed
        }),
        masks: batch.masks.as_ref().map(of_pixels),
        pixel_weights: batch.pixel_weights.as_ref().map(of_pixels),
        mask_size: batch.mask_size,
        shape: Nhwc {
            n: images.len(),
            ..batch.shape
        },
        name: batch.name.clone(),
    }
}

impl Data for Shared {
    fn train(&mut self, epoch: usize) -> Batches<'_> {
        let chunks = (1..=4).flat_map(move |number| {
            let batch = self.bars.batch(epoch, number);
            let images = |chunk| self.division.images(chunk, batch.shape.n);
            let own = self.division.own.clone().map(images);
            let own = own.filter(|images| !images.is_empty());
            own.map(|images| Ok(part(&batch, images)))
                .collect::<Vec<_>>()
        });
        Box::new(chunks)
    }

    fn validation(&mut self) -> Batches<'_> {
        let (rank, size) = self.turn;
        let own = (0..1).filter(move |number| number % size == rank);
        Box::new(own.map(|number| Ok(self.bars.batch(0, number + 1))))
    }

    fn train_batches(&self) -> usize {
        4
    }

    fn validation_batches(&self) -> usize {
        1
    }

    fn train_images(&self, batch: usize) -> usize {
        self.bars.batch(1, batch + 1).shape.n
    }
}

#[derive(Default)]
struct Watch {
    events: Vec<BatchEvent>,
    stop_after: Option<usize>,
}

impl Observer for Watch {
    fn batch(&mut self, event: &BatchEvent) {
        self.events.push(event.clone());
    }

    fn interrupted(&self) -> bool {
        self.stop_after.is_some_and(|n| self.events.len() >= n)
    }
}

/// An engine that leaves losses and updates to the host.
struct Plain(CudaEngine);

impl Engine for Plain {
    fn device(&self) -> &'static str {
        self.0.device()
    }

    fn infer(
        &mut self,
        params: &ParamStore,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError> {
        self.0.infer(params, x, outputs)
    }

    fn forward(
        &mut self,
        params: &mut ParamStore,
        x: Images<'_>,
        seed: u64,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError> {
        self.0.forward(params, x, seed, outputs)
    }

    fn backward(
        &mut self,
        params: &ParamStore,
        output_grads: &[Vec<f32>],
        grads: &mut ParamStore,
        watch: Option<model::engine::Watch<'_>>,
    ) -> Result<(), EngineError> {
        self.0.backward(params, output_grads, grads, watch)
    }

    fn freeze_encoder(&mut self, frozen: bool) {
        self.0.freeze_encoder(frozen);
    }
}

/// Opens a device.
type Open = Box<dyn Fn() -> Box<dyn Driver>>;

/// The devices of this machine, with kernels of the given precision.
fn devices(precision: Precision) -> Vec<(&'static str, Open)> {
    let mut devices: Vec<(&'static str, Open)> = vec![];
    if Host::new(precision).is_some() {
        devices.push((
            "host",
            Box::new(move || Box::new(Host::new(precision).unwrap())),
        ));
    }
    if gpu(precision).is_some() {
        devices.push(("GPU", Box::new(move || Box::new(gpu(precision).unwrap()))));
    }
    devices
}

fn resident(precision: Precision, driver: Box<dyn Driver>) -> Network {
    let graph = graph();
    let engine = CudaEngine::with_driver(Arc::new(graph.clone()), precision, driver);
    Network::new(graph, 11).with_engine(Box::new(engine))
}

fn plain(precision: Precision, driver: Box<dyn Driver>) -> Network {
    let graph = graph();
    let engine = CudaEngine::with_driver(Arc::new(graph.clone()), precision, driver);
    Network::new(graph, 11).with_engine(Box::new(Plain(engine)))
}

fn run(
    network: &mut Network,
    folder: &Path,
    config: &Json,
    data: Bars,
    watch: &mut Watch,
    resume: bool,
) -> Result<Outcome, TrainError> {
    run_on(&Alone, (network, folder), config, data, watch, resume)
}

fn run_on(
    processes: &dyn Collective,
    (network, folder): (&mut Network, &Path),
    config: &Json,
    bars: Bars,
    watch: &mut Watch,
    resume: bool,
) -> Result<Outcome, TrainError> {
    let config: TrainConfig = serde_json::from_value(config.clone()).unwrap();
    let preprocessing = Preprocessing::stretched((SIZE, SIZE), vec![0.5], vec![0.25]);
    let job = Job {
        config: &config,
        seed: 3,
        class_weights: config.class_weights.resolve(&[3, 2, 4]).unwrap(),
        metrics: &[],
        meta: &Meta::new(["none", "weak", "strong"], preprocessing),
        checkpoints: &CheckpointDir::new(folder).unwrap(),
        resume,
        processes,
    };
    let mut data = Shared {
        bars,
        division: Division::new(config.chunks, processes.rank(), processes.size()),
        turn: (processes.rank(), processes.size()),
    };
    fit(network, &job, &mut data, watch)
}

/// Covers each kind of loss, update rule and option.
fn configs() -> Vec<Json> {
    let base = json!({"epochs": 2, "monitor": "loss", "restore_best": false});
    let with = |more: Json| {
        let mut all = base.clone();
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    vec![
        with(json!({
            "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.01}, "class_weights": [1.0, 2.0, 0.5],
            "label_smoothing": 0.1, "ema": 0.8, "clip_norm": 0.5,
        })),
        with(json!({
            "optimizer": {"name": "sgd", "lr": 0.05, "nesterov": true}, "loss": "softmax_bce", "task": "both",
            "map": {"loss": "bce_dice", "weight": 0.3, "class": 1},
        })),
        with(json!({
            "optimizer": {"name": "adamw", "lr": 0.01}, "task": "both", "ema": 0.9,
            "map": {"loss": "cross_entropy_dice", "deep_supervision": true, "weight": 2.0},
        })),
        with(json!({
            "optimizer": {"name": "rmsprop", "lr": 0.001, "momentum": 0.5}, "task": "both",
            "map": {"loss": "focal"}, "schedule": {"name": "cosine"},
        })),
        with(json!({
            "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.05}, "freeze": "encoder", "ema": 0.8,
            "clip_norm": 0.5,
        })),
        with(json!({
            "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.01}, "freeze": {"encoder_epochs": 1},
            "task": "both", "map": {"loss": "dice"},
        })),
        with(json!({
            "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.05, "encoder_lr_scale": 0.1},
            "freeze": {"encoder_epochs": 1},
        })),
        with(json!({"optimizer": {"name": "sgd", "lr": 0.05, "encoder_lr_scale": 0.2}})),
    ]
}

/// The result of a run: weights, running statistics and recorded values.
struct Ended {
    store: ParamStore,
    outcome: Outcome,
    events: Vec<BatchEvent>,
}

fn trained(network: Network, config: &Json) -> Ended {
    trained_on(network, config, BARS)
}

fn trained_on(mut network: Network, config: &Json, data: Bars) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch::default();
    let outcome = run(&mut network, folder.path(), config, data, &mut watch, false).unwrap();
    Ended {
        store: network.store(),
        outcome,
        events: watch.events,
    }
}

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    let scale = expected.iter().fold(1e-2f32, |m, v| m.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let off = (a - b).abs() / scale;
        assert!(
            off < tolerance,
            "{what} [{i}]: {a}, expected {b}: off by {off:.1e}"
        );
    }
}

/// Checks that weights, moving averages, running statistics and recorded values match.
fn check_ended(what: &str, found: &Ended, expected: &Ended, tolerance: f32) {
    for group in Group::ALL {
        let values = |ended: &Ended| ended.store.group(group).to_vec();
        close(what, &values(found), &values(expected), tolerance);
    }
    assert_eq!(found.events.len(), 2 * (4 + 1), "{what}");
    for (a, b) in found.events.iter().zip(&expected.events) {
        assert_eq!((a.epoch, a.batch, a.images), (b.epoch, b.batch, b.images));
        close(what, &[a.loss as f32], &[b.loss as f32], tolerance);
        let accuracy = [a.accuracy as f32];
        close(
            what,
            &accuracy,
            &[b.accuracy as f32],
            2e-1 * tolerance.max(1e-6),
        );
    }
    for (a, b) in found.outcome.history.iter().zip(&expected.outcome.history) {
        let figures = [a.grad_norm, a.train.map_loss.unwrap_or(0.0)];
        let same = [b.grad_norm, b.train.map_loss.unwrap_or(0.0)];
        close(
            what,
            &figures.map(|v| v as f32),
            &same.map(|v| v as f32),
            tolerance,
        );
    }
}

/// Results match the host's within the error that rounding in the losses accumulates over eight steps, and repeat
/// bit for bit.
#[test]
fn steps_on_the_device_match_the_host() {
    for (precision, tolerance) in [(Precision::F32, 2e-4), (Precision::Bf16, 2e-2)] {
        for (device, driver) in devices(precision) {
            for (i, config) in configs().iter().enumerate() {
                let what = format!("{device}, {precision}, configuration {i}");
                let expected = trained(plain(precision, driver()), config);
                let found = trained(resident(precision, driver()), config);
                check_ended(&what, &found, &expected, tolerance);
                let again = trained(resident(precision, driver()), config);
                assert_eq!(
                    weights(&again.store),
                    weights(&found.store),
                    "{what}: repeated run"
                );
            }
        }
    }
}

/// The same with mixed images: both class losses, with and without masks.
#[test]
fn steps_with_mixed_images_match_the_host() {
    let mixing = Bars {
        mixes: true,
        ..BARS
    };
    for (device, driver) in devices(Precision::F32) {
        for config in &configs()[..2] {
            let what = format!("{device}, {config}, mixed");
            let expected = trained_on(plain(Precision::F32, driver()), config, mixing);
            let found = trained_on(resident(Precision::F32, driver()), config, mixing);
            check_ended(&what, &found, &expected, 2e-4);
            let unmixed = trained(plain(Precision::F32, driver()), config);
            assert_ne!(weights(&unmixed.store), weights(&expected.store), "{what}");
        }
    }
}

/// Results match those of the CPU engine with the host's losses and updates, within the rounding error accumulated over
/// eight steps.
#[test]
fn runs_on_the_device_match_the_cpu() {
    for (device, driver) in devices(Precision::F32) {
        for (i, config) in configs().iter().enumerate() {
            let what = format!("{device}, configuration {i}, against the CPU");
            let expected = trained(Network::new(graph(), 11), config);
            let found = trained(resident(Precision::F32, driver()), config);
            check_ended(&what, &found, &expected, 1e-3);
        }
    }
}

/// In chunks the device computes gradients and the host adds them up, for one process or several with a device each.
#[test]
fn devices_that_share_batches_match_the_cpu() {
    for (device, driver) in devices(Precision::F32) {
        for (i, config) in configs().iter().enumerate() {
            let mut config = config.clone();
            config["chunks"] = json!(2);
            let what = format!("{device}, configuration {i} in chunks");
            let expected = trained(Network::new(graph(), 11), &config);
            let found = trained(resident(Precision::F32, driver()), &config);
            // Not the hits: two images have nearly equal scores, and batch norm over two images enlarges rounding.
            for group in Group::ALL {
                let values = |ended: &Ended| ended.store.group(group).to_vec();
                close(&what, &values(&found), &values(&expected), 1e-3);
            }
            let losses = |ended: &Ended| ended.events.iter().map(|e| e.loss as f32).collect();
            let [losses, others]: [Vec<f32>; 2] = [losses(&found), losses(&expected)];
            close(&what, &losses, &others, 1e-3);
            let folder = tempfile::tempdir().unwrap();
            let drivers = Mutex::new(vec![driver(), driver()]);
            let stores = threads::run(2, |processes| {
                let driver = drivers.lock().unwrap().pop().unwrap();
                let mut network = resident(Precision::F32, driver);
                let mut watch = Watch::default();
                let place = (&mut network, folder.path());
                run_on(processes, place, &config, BARS, &mut watch, false).unwrap();
                network.store()
            });
            for store in &stores {
                assert_eq!(
                    weights(store),
                    weights(&found.store),
                    "{what}, two processes"
                );
            }
        }
    }
}

fn weights(store: &ParamStore) -> Vec<u32> {
    let all = Group::ALL.into_iter().flat_map(|g| store.group(g));
    all.map(|v| v.to_bits()).collect()
}

/// A run interrupted after its first epoch and resumed equals the uninterrupted run bit for bit: moments and averages
/// are restored.
#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    for (_, driver) in devices(Precision::F32) {
        for config in configs() {
            let unbroken = trained(resident(Precision::F32, driver()), &config);
            let folder = tempfile::tempdir().unwrap();
            let mut watch = Watch {
                stop_after: Some(5), // an epoch's batches and its validation
                ..Watch::default()
            };
            let mut network = resident(Precision::F32, driver());
            let first = run(
                &mut network,
                folder.path(),
                &config,
                BARS,
                &mut watch,
                false,
            )
            .unwrap();
            assert_eq!(first.stopped, Stopped::Interrupted);
            assert_eq!(first.history.len(), 1);
            let mut network = resident(Precision::F32, driver());
            let mut watch = Watch::default();
            run(&mut network, folder.path(), &config, BARS, &mut watch, true).unwrap();
            assert_eq!(weights(&network.store()), weights(&unbroken.store));
        }
    }
}

/// On the device, too, a frozen encoder keeps its values, and training goes on with it after the last frozen epoch.
#[test]
fn a_frozen_encoder_stays_as_it_is_on_the_device() {
    let encoder = |store: &ParamStore| {
        let lens = store.map().first(graph().encoder_params());
        assert!(lens.iter().all(|len| *len > 0));
        let of = |group: Group| store.group(group)[..lens[group as usize]].to_vec();
        Group::ALL.map(of)
    };
    let before = encoder(&Network::new(graph(), 11).store());
    for (_, driver) in devices(Precision::F32) {
        let all = configs();
        let frozen = trained(resident(Precision::F32, driver()), &all[4]);
        assert_eq!(encoder(&frozen.store), before);
        let thawed = trained(resident(Precision::F32, driver()), &all[5]);
        assert_ne!(encoder(&thawed.store), before);
    }
}

/// The pass for the statistics of averaged weights runs on the device, too.
#[test]
fn averaged_weights_match_those_of_the_cpu() {
    let config = json!({
        "epochs": 2, "monitor": "loss", "restore_best": false, "swa": {"epochs": 2},
        "early_stopping": {"enabled": false}, "optimizer": {"name": "sgd", "lr": 0.05}, "task": "both",
        "map": {"loss": "dice"},
    });
    for (device, driver) in devices(Precision::F32) {
        let expected = trained(Network::new(graph(), 11), &config);
        let found = trained(resident(Precision::F32, driver()), &config);
        check_ended(device, &found, &expected, 1e-3);
    }
}

/// When interrupted in the middle of an epoch, the network has the current weights.
#[test]
fn an_interrupted_epoch_keeps_its_current_weights() {
    for (_, driver) in devices(Precision::F32) {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch {
            stop_after: Some(2),
            ..Watch::default()
        };
        let mut network = resident(Precision::F32, driver());
        let before = weights(&network.store());
        let outcome = run(
            &mut network,
            folder.path(),
            &configs()[0],
            BARS,
            &mut watch,
            false,
        );
        assert_eq!(outcome.unwrap().stopped, Stopped::Interrupted);
        assert_ne!(weights(&network.store()), before);
        // The device can be used again.
        let image = vec![0.0; SIZE * SIZE];
        let shape = Nhwc {
            n: 1,
            h: SIZE,
            w: SIZE,
            c: 1,
        };
        let x = Images {
            data: &image,
            shape,
        };
        network.infer(x, &["logits"]).unwrap();
    }
}

#[test]
fn errors_name_the_cause_as_on_the_host() {
    let failing = |data: Bars, config: &Json, driver: Box<dyn Driver>| {
        let folder = tempfile::tempdir().unwrap();
        let mut network = resident(Precision::F32, driver);
        let mut watch = Watch::default();
        let failed = run(&mut network, folder.path(), config, data, &mut watch, false);
        failed.unwrap_err().to_string()
    };
    for (_, driver) in devices(Precision::F32) {
        let poisoned = Bars {
            poison: Some(3),
            ..BARS
        };
        let error = failing(poisoned, &configs()[0], driver());
        assert!(
            error.contains("the loss is NaN in batch 3 of epoch 1 (bars 1/3)"),
            "{error}"
        );
        let labels = Bars { label: 1, ..BARS };
        let error = failing(labels, &configs()[0], driver());
        assert!(
            error.contains("bars 1/1") && error.contains("label 3 does not exist"),
            "{error}"
        );
        let unknown = Bars {
            masks: false,
            ..BARS
        };
        let segment = json!({"task": "segment", "map": {"loss": "dice"}, "monitor": "loss"});
        let error = failing(unknown, &segment, driver());
        assert!(error.contains("no pixel of this batch"), "{error}");
    }
}
