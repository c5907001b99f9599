//! How fast training and inference are, on random images, through the same code that a run uses.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use model::build::{ModelSpec, build};
use model::checkpoint::{CheckpointDir, Meta, Preprocessing};
use model::engine::Images;
use model::graph::Hwc;
use model::network::Network;
use model::rng::Rng;
use model::train::{Batch, BatchEvent, Batches, Data, Job, Observer, TrainConfig, fit};
use serde::Serialize;

use crate::interrupt::{Interrupt, Interrupted};

/// What to time.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Encoder.
    pub encoder: String,
    /// Decoder.
    pub decoder: String,
    /// Image side in pixels.
    pub size: usize,
    /// Images a training step.
    pub batch: usize,
    /// Repeats, of which the median counts; one more goes before them.
    pub repeats: usize,
}

/// One result, with the keys of the Python peer's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What was timed.
    pub what: String,
    /// Decoder.
    pub arch: String,
    /// Encoder.
    pub encoder: String,
    /// Image side in pixels.
    pub size: usize,
    /// Images a call.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Median of a call.
    pub seconds: f64,
    /// At that median.
    pub images_per_second: f64,
}

/// Times inference at batch 1 and `batch`, and training steps at `batch`.
///
/// # Errors
/// An unknown name, a size that the network cannot take, [`Interrupted`], or what `say` returns.
pub fn bench(
    what: &Bench,
    interrupt: &Interrupt,
    say: &mut dyn FnMut(&Line) -> Result<()>,
) -> Result<()> {
    if what.batch == 0 || what.repeats == 0 {
        bail!("batch and repeats must be at least 1");
    }
    let spec = ModelSpec {
        encoder: what.encoder.clone(),
        decoder: what.decoder.clone(),
        ..ModelSpec::default()
    };
    let graph = build(&spec)?;
    graph.check_size(what.size, what.size)?;
    let mut network = Network::new(graph, 0);
    let mut sizes = vec![1, what.batch];
    sizes.dedup();
    for n in sizes {
        let seconds = median(&infer_times(&network, what, n, interrupt)?);
        say(&line(what, "f32 infer", n, seconds))?;
    }
    let seconds = median(&step_times(&mut network, what, interrupt)?);
    say(&line(what, "f32 train", what.batch, seconds))
}

fn line(bench: &Bench, what: &str, batch: usize, seconds: f64) -> Line {
    Line {
        what: what.into(),
        arch: bench.decoder.clone(),
        encoder: bench.encoder.clone(),
        size: bench.size,
        batch,
        threads: rayon::current_num_threads(),
        seconds: (seconds * 1e5).round() / 1e5,
        images_per_second: (batch as f64 / seconds * 1e3).round() / 1e3,
    }
}

fn infer_times(
    network: &Network,
    bench: &Bench,
    n: usize,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let batch = random_batch(bench.size, n);
    let images = Images {
        data: &batch.images,
        shape: batch.shape,
    };
    let mut times = vec![];
    for _ in 0..=bench.repeats {
        interrupt.check()?;
        let start = Instant::now();
        network.infer(images, &["logits", "map"])?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times.split_off(1))
}

/// The time between the ends of two training batches: forward, loss, backward, clipping and step, as in a run.
fn step_times(network: &mut Network, bench: &Bench, interrupt: &Interrupt) -> Result<Vec<f64>> {
    let folder = std::env::temp_dir().join(format!("pipeline-bench-{}", std::process::id()));
    let checkpoints = CheckpointDir::new(&folder)?;
    let preprocessing = Preprocessing {
        height: bench.size,
        width: bench.size,
        channels: 3,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
    };
    let config = TrainConfig {
        epochs: 1,
        batch_size: bench.batch,
        monitor: "loss".into(),
        restore_best: false,
        ..TrainConfig::default()
    };
    let meta = Meta::new(["0", "1"], preprocessing);
    let job = Job {
        config: &config,
        seed: 0,
        class_weights: None,
        metrics: &[],
        meta: &meta,
        checkpoints: &checkpoints,
        resume: false,
    };
    let mut data = Same {
        batch: random_batch(bench.size, bench.batch),
        batches: bench.repeats + 2,
    };
    let mut clock = Clock {
        ends: vec![],
        interrupt,
    };
    let outcome = fit(network, &job, &mut data, &mut clock);
    std::fs::remove_dir_all(&folder)
        .with_context(|| format!("cannot remove {}", folder.display()))?;
    outcome?;
    interrupt.check().map_err(|Interrupted| Interrupted)?;
    let times: Vec<f64> = clock
        .ends
        .windows(2)
        .map(|w| (w[1] - w[0]).as_secs_f64())
        .collect();
    Ok(times)
}

/// The same batch again and again.
struct Same {
    batch: Batch,
    batches: usize,
}

impl Data for Same {
    fn train(&mut self, _: usize) -> Batches<'_> {
        Box::new((0..self.batches).map(|_| Ok(self.batch.clone())))
    }

    fn validation(&mut self) -> Batches<'_> {
        Box::new(std::iter::empty())
    }

    fn train_batches(&self) -> usize {
        self.batches
    }

    fn validation_batches(&self) -> usize {
        0
    }
}

struct Clock<'a> {
    ends: Vec<Instant>,
    interrupt: &'a Interrupt,
}

impl Observer for Clock<'_> {
    fn batch(&mut self, _: &BatchEvent) {
        self.ends.push(Instant::now());
    }

    fn interrupted(&self) -> bool {
        self.interrupt.raised()
    }
}

fn random_batch(size: usize, n: usize) -> Batch {
    let shape = Hwc {
        h: size,
        w: size,
        c: 3,
    }
    .batch(n);
    let mut rng = Rng::new(0, 0);
    let images = (0..shape.len()).map(|_| rng.normal()).collect();
    Batch {
        images,
        labels: (0..n).map(|i| i % 2).collect(),
        masks: None,
        shape,
        name: "random images".into(),
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
