//! Runs on several processes, here threads of one: equal bits on any number of them, resumed on another number, and
//! errors of one that reach all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::cell::Cell;
use std::fs;
use std::path::Path;

use collective::{Collective, Division, threads};
use formats::checkpoint::{CheckpointDir, Meta, Preprocessing};
use model::graph::{Activation, Graph, GraphBuilder, Init, Nhwc, Padding};
use model::network::Network;
use model::store::Group;
use random::Rng;
use serde_json::{Value, json};
use train::{
    Batch, Batches, Data, EpochRecord, Job, Metric, Observer, Outcome, Stopped, TrainConfig,
    TrainError, fit,
};

const SIZE: usize = 8;
/// Images of each training batch; the last has fewer than there are chunks.
const BATCHES: [usize; 4] = [8, 8, 6, 3];
const VALIDATION: [usize; 3] = [8, 8, 5];

/// conv, ReLU, and, if wanted, batch norm and dropout; then the class map, its mean and class scores.
fn graph_with(norm: bool, dropout: bool) -> Graph {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let same = Padding::Symmetric(1);
    let mut x = g.conv("conv", x, 6, 3, 1, same, false, Init::Normal(0.4));
    if norm {
        x = g.batch_norm("bn", x, 1e-5, 0.1);
    }
    x = g.activation("act", x, Activation::Relu);
    if dropout {
        x = g.dropout("drop", x, 0.2);
    }
    let none = Padding::Symmetric(0);
    let map = g.conv("map", x, 2, 1, 1, none, true, Init::Normal(0.3));
    g.publish("map", map);
    let x = g.global_avg_pool("pool", map);
    let logits = g.linear("head", x, 2, Init::Normal(0.7));
    g.publish("logits", logits);
    g.finish(1).unwrap()
}

fn graph() -> Graph {
    graph_with(true, true)
}

/// Noise, with a bright bar in the images of class 1: what one process reads of it.
struct Bars {
    division: Division,
    rank: usize,
    size: usize,
    /// A batch of the second epoch that this rank cannot load.
    broken_on: Option<usize>,
}

impl Bars {
    fn new(chunks: usize, processes: &dyn Collective) -> Self {
        Bars {
            division: Division::new(chunks, processes.rank(), processes.size()),
            rank: processes.rank(),
            size: processes.size(),
            broken_on: None,
        }
    }

    /// Some images of a batch. An image depends on its position alone.
    fn batch(&self, epoch: usize, number: usize, images: std::ops::Range<usize>) -> Batch {
        let shape = Nhwc {
            n: images.len(),
            h: SIZE,
            w: SIZE,
            c: 1,
        };
        let labels: Vec<usize> = images.clone().map(|i| (i / 2) % 2).collect();
        let (mut pixels, mut masks) = (vec![], vec![]);
        for (i, label) in images.clone().zip(&labels) {
            let mut rng = Rng::keyed(epoch as u64, &[number as u64, i as u64]);
            let row = (rng.next_u64() % SIZE as u64) as usize;
            for at in 0..SIZE * SIZE {
                let bar = (at / SIZE == row && *label == 1) as u8 as f32;
                pixels.push(rng.normal_f32() + 1.5 * bar);
                masks.push(bar);
            }
        }
        Batch {
            images: pixels,
            labels,
            mixed: None,
            masks: Some(masks),
            pixel_weights: None,
            mask_size: None,
            shape,
            name: format!("bars {epoch}/{number} {images:?}"),
        }
    }
}

impl Data for Bars {
    fn train(&mut self, epoch: usize) -> Batches<'_> {
        let own = (0..BATCHES.len()).flat_map(move |number| {
            let images = |chunk| self.division.images(chunk, BATCHES[number]);
            let own = self.division.own.clone();
            let chunks = own.filter(|chunk| !images(*chunk).is_empty());
            let batches: Vec<_> = chunks
                .map(|chunk| match (epoch, number) {
                    (2, 2) if self.broken_on == Some(self.rank) => Err("a.png: truncated".into()),
                    _ => Ok(self.batch(epoch, number, images(chunk))),
                })
                .collect();
            batches
        });
        Box::new(own)
    }

    fn validation(&mut self) -> Batches<'_> {
        let own = (self.rank..VALIDATION.len()).step_by(self.size);
        Box::new(own.map(|number| Ok(self.batch(0, number, 0..VALIDATION[number]))))
    }

    fn train_batches(&self) -> usize {
        BATCHES.len()
    }

    fn validation_batches(&self) -> usize {
        VALIDATION.len()
    }

    fn train_images(&self, batch: usize) -> usize {
        BATCHES[batch]
    }
}

/// Interrupts the run at the `stop_at`-th query.
#[derive(Default)]
struct Watch {
    asked: Cell<usize>,
    stop_at: Option<usize>,
}

impl Observer for Watch {
    fn interrupted(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.stop_at.is_some_and(|at| self.asked.get() >= at)
    }
}

/// What a run leaves.
struct Ended {
    outcome: Result<Outcome, TrainError>,
    weights: Vec<Vec<u32>>,
}

/// Trains on so many processes in a folder that all share; `spoil` changes a process's data and observer.
fn trained(
    (folder, size, graph): (&Path, usize, &Graph),
    config: &Value,
    spoil: impl Fn(usize, &mut Bars, &mut Watch) + Sync,
) -> Vec<Ended> {
    threads::run(size, |processes| {
        let config: TrainConfig = serde_json::from_value(config.clone()).unwrap();
        let preprocessing = Preprocessing::stretched((SIZE, SIZE), vec![0.5], vec![0.25]);
        let spread = |p: &[f32], _: &[usize]| f64::from(p.iter().fold(0.0f32, |m, v| m.max(*v)));
        let metrics = [Metric {
            name: "spread",
            rises: true,
            compute: &spread,
        }];
        let job = Job {
            config: &config,
            seed: 3,
            class_weights: None,
            metrics: &metrics,
            meta: &Meta::new(["none", "bar"], preprocessing),
            checkpoints: &CheckpointDir::new(folder).unwrap(),
            resume: true,
            processes,
        };
        let mut network = Network::new(graph.clone(), 5);
        let mut data = Bars::new(config.chunks, processes);
        let mut watch = Watch::default();
        spoil(processes.rank(), &mut data, &mut watch);
        let outcome = fit(&mut network, &job, &mut data, &mut watch);
        let store = network.store();
        let bits = |group| store.group(group).iter().map(|v| v.to_bits()).collect();
        Ended {
            outcome,
            weights: Group::ALL.map(bits).to_vec(),
        }
    })
}

fn as_planned(_: usize, _: &mut Bars, _: &mut Watch) {}

/// A record without its times.
fn timeless(history: &[EpochRecord]) -> Vec<String> {
    let strip = |record: &EpochRecord| {
        let record = EpochRecord {
            seconds: 0.0,
            images_per_second: 0.0,
            waited: 0.0,
            met: 0.0,
            summed: 0.0,
            ..record.clone()
        };
        format!("{record:?}")
    };
    history.iter().map(strip).collect()
}

fn configs() -> Vec<Value> {
    let base = json!({ "epochs": 3, "batch_size": 8, "chunks": 4, "early_stopping": { "enabled": false } });
    let with = |more: Value| {
        let mut config = base.clone();
        let more = more.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(more);
        config
    };
    vec![
        with(json!({ "optimizer": { "name": "adamw", "lr": 0.01 }, "clip_norm": 0.5, "ema": 0.9 })),
        with(
            json!({ "optimizer": { "name": "sgd", "lr": 0.05, "momentum": 0.9 }, "map": { "loss": "bce_dice" } }),
        ),
        with(json!({ "chunks": 3, "swa": { "epochs": 2 } })),
        with(json!({ "chunks": 8, "task": "segment", "map": { "loss": "dice" } })),
        with(json!({ "sync_batch_norm": true, "map": { "loss": "bce" } })),
        with(json!({ "sync_batch_norm": true, "chunks": 5, "swa": { "epochs": 2 } })),
    ]
}

#[test]
fn the_bits_of_a_run_do_not_depend_on_the_number_of_processes() {
    for config in configs() {
        let folder = tempfile::tempdir().unwrap();
        let graph = graph();
        let run = |size: usize| {
            let folder = folder.path().join(size.to_string());
            let ended = trained((&folder, size, &graph), &config, as_planned);
            (ended, fs::read(folder.join("best.safetensors")).unwrap())
        };
        let (alone, file) = run(1);
        let alone = &alone[0];
        let history = timeless(&alone.outcome.as_ref().unwrap().history);
        for size in 2..=config["chunks"].as_u64().unwrap() as usize {
            let (all, best) = run(size);
            assert_eq!(best, file, "{size} processes, {config}");
            for ended in all {
                assert_eq!(ended.weights, alone.weights, "{size} processes, {config}");
                assert_eq!(timeless(&ended.outcome.unwrap().history), history);
            }
        }
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_processes() {
    let folder = tempfile::tempdir().unwrap();
    for (i, config) in configs().into_iter().enumerate() {
        goes_on(&folder.path().join(i.to_string()), &config);
    }
}

fn goes_on(folder: &Path, config: &Value) {
    let graph = graph();
    let whole = trained((&folder.join("whole"), 1, &graph), config, as_planned);
    let chunks = config["chunks"].as_u64().unwrap() as usize;
    for (before, after) in [(1, chunks), (chunks, 2), (2, 1)] {
        let folder = folder.join(format!("{before}-{after}"));
        // In the second epoch, by one process alone.
        let stop = |rank: usize, _: &mut Bars, watch: &mut Watch| {
            watch.stop_at = (rank + 1 == before).then_some(8);
        };
        for ended in trained((&folder, before, &graph), config, stop) {
            let outcome = ended.outcome.unwrap();
            assert_eq!(
                (outcome.stopped, outcome.history.len()),
                (Stopped::Interrupted, 1)
            );
        }
        for ended in trained((&folder, after, &graph), config, as_planned) {
            assert_eq!(ended.outcome.unwrap().history.len(), 3);
            assert_eq!(ended.weights, whole[0].weights, "{before}, then {after}");
        }
    }
}

#[test]
fn the_error_of_one_process_ends_all_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broken = |_: usize, data: &mut Bars, _: &mut Watch| data.broken_on = Some(1);
    for (i, config) in configs().into_iter().enumerate() {
        let folder = folder.path().join(i.to_string());
        let ended = trained((&folder, 3, &graph()), &config, broken);
        let words = |ended: &Ended| ended.outcome.as_ref().unwrap_err().to_string();
        let all: Vec<String> = ended.iter().map(words).collect();
        let own = "training batch 3 of epoch 2 could not be loaded: a.png: truncated";
        assert_eq!(all[1], own);
        for other in [&all[0], &all[2]] {
            assert!(
                other.contains("process 1") && other.contains(own),
                "{other}"
            );
        }
        assert!(folder.join("last.safetensors").is_file());
    }
}

#[test]
fn a_process_without_a_chunk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = configs()[0].clone();
    config["chunks"] = json!(2);
    for ended in trained((folder.path(), 3, &graph()), &config, as_planned) {
        let error = ended.outcome.unwrap_err().to_string();
        assert!(
            error.contains("3 processes") && error.contains("train.chunks = 2"),
            "{error}"
        );
    }
}

/// Without dropout a cut batch has the gradient of the whole one, up to rounding, if its batch norms take their statistics
/// from all chunks or there are none.
#[test]
fn chunks_have_the_gradient_of_their_batch() {
    for norm in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let graph = graph_with(norm, false);
        let run = |chunks: usize, sync: bool| {
            let folder = folder.path().join(format!("{chunks}-{sync}"));
            let config = json!({
                "epochs": 2, "batch_size": 8, "chunks": chunks, "optimizer": { "name": "sgd", "lr": 0.1 },
                "map": { "loss": "bce" }, "restore_best": false, "sync_batch_norm": sync,
            });
            let weights = trained((&folder, 1, &graph), &config, as_planned)
                .remove(0)
                .weights;
            let values = weights.into_iter().flatten().map(f32::from_bits);
            values.collect::<Vec<_>>()
        };
        let whole = run(1, false);
        let farthest = |cut: &[f32]| {
            let pairs = cut.iter().zip(&whole);
            let distances = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(0.1));
            distances.fold(0.0, f32::max)
        };
        for chunks in [2, 3, 8] {
            let apart = farthest(&run(chunks, norm));
            assert!(apart <= 1e-5, "{chunks} chunks, norm {norm}: {apart}");
        }
        // Statistics of each chunk are others.
        assert!(!norm || farthest(&run(8, false)) > 1e-2);
    }
}
