//! Timing of the whole network: inference or a training step on a batch.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use formats::checkpoint::{CheckpointDir, Meta, Preprocessing};
use model::calibration::Calibration;
use model::engine::{Images, InferencePrecision};
use model::graph::Hwc;
use model::network::Network;
use random::Rng;
use train::{Batch, BatchEvent, Batches, Data, Job, Observer, TrainConfig, fit};

use super::{Device, Measurement, Memory, Task, Workload, memory};
use terminal::Interrupt;

/// Makes one measurement in this process, on Rayon's current threads.
///
/// # Errors
/// As [`Workload::graph`], [`terminal::Interrupted`], or an error of the engine.
pub fn measure(work: &Workload, interrupt: &Interrupt) -> Result<Measurement> {
    let graph = work.graph()?;
    let before = memory::resident();
    let mut network = prepared(Network::new(graph, 0), work)?;
    let Times { seconds, peak } = match work.task {
        Task::Infer => infer(&network, work, interrupt)?,
        Task::Train => train(&mut network, work, interrupt)?,
    };
    Ok(Measurement {
        seconds,
        memory: before
            .zip(peak)
            .map(|(before, peak)| Memory { before, peak }),
        task: work.task,
        precision: work.precision.to_string(),
        size: work.size,
        batch: work.batch,
        threads: rayon::current_num_threads(),
        accuracy: None,
    })
}

/// The network on its engine; in int8 with the ranges that random images have, which are not part of its memory.
fn prepared(network: Network, work: &Workload) -> Result<Network> {
    match work.precision {
        InferencePrecision::Float(precision) => Ok(network.on(work.device, precision)?),
        InferencePrecision::Int8 => {
            if work.task == Task::Train || work.device != Device::Cpu {
                bail!("int8 is for inference on the CPU only");
            }
            let mut calibration = Calibration::new(network.graph(), work.size, work.size)?;
            let batch = random_batch(work);
            calibration.observe(&network, images(&batch))?;
            let ranges = calibration.ranges(network.graph());
            drop((calibration, batch));
            let quantized = network.quantized(&ranges);
            memory::forget_peak();
            Ok(quantized)
        }
    }
}

/// Number of warm-up calls, the same as for the peers.
const WARM_UP: usize = 3;

/// Durations of the timed calls in seconds, and peak memory up to the end of the last one.
struct Times {
    seconds: Vec<f64>,
    peak: Option<u64>,
}

fn infer(network: &Network, work: &Workload, interrupt: &Interrupt) -> Result<Times> {
    let batch = random_batch(work);
    let images = images(&batch);
    let mut seconds = vec![];
    for _ in 0..WARM_UP + work.repeats {
        interrupt.check()?;
        let start = Instant::now();
        network.infer(images, &["logits", "map"])?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(Times {
        seconds: seconds.split_off(WARM_UP),
        peak: memory::peak(),
    })
}

/// Times between the ends of training batches: forward, loss, backward, clipping and step, as in a real run.
fn train(network: &mut Network, work: &Workload, interrupt: &Interrupt) -> Result<Times> {
    let folder = std::env::temp_dir().join(format!("pipeline-bench-{}", std::process::id()));
    let mut data = Same::new(work);
    let mut clock = Clock {
        ends: vec![],
        peak: None,
        interrupt,
    };
    let outcome = one_epoch(network, work, &folder, &mut data, &mut clock);
    std::fs::remove_dir_all(&folder)
        .with_context(|| format!("cannot remove {}", folder.display()))?;
    outcome?;
    interrupt.check()?;
    let between = clock.ends[WARM_UP - 1..].windows(2);
    Ok(Times {
        seconds: between.map(|w| (w[1] - w[0]).as_secs_f64()).collect(),
        peak: clock.peak,
    })
}

fn one_epoch(
    network: &mut Network,
    work: &Workload,
    folder: &std::path::Path,
    data: &mut Same,
    clock: &mut Clock<'_>,
) -> Result<()> {
    let checkpoints = CheckpointDir::new(folder)?;
    let config = TrainConfig {
        epochs: 1,
        batch_size: work.batch,
        monitor: "loss".into(),
        restore_best: false,
        ..TrainConfig::default()
    };
    let meta = Meta::new(["0", "1"], preprocessing(work.size));
    let job = Job {
        config: &config,
        seed: 0,
        class_weights: None,
        metrics: &[],
        meta: &meta,
        checkpoints: &checkpoints,
        resume: false,
        processes: &collective::Alone,
    };
    fit(network, &job, data, clock)?;
    Ok(())
}

fn preprocessing(size: usize) -> Preprocessing {
    Preprocessing::stretched((size, size), vec![0.0; 3], vec![1.0; 3])
}

/// Yields the same batch repeatedly.
struct Same {
    batch: Batch,
    batches: usize,
    /// Copies made in advance, as a loader's threads do in parallel to a GPU. On a CPU they would count as memory.
    ready: Vec<Batch>,
}

impl Same {
    fn new(work: &Workload) -> Self {
        let (batch, batches) = (random_batch(work), WARM_UP + work.repeats);
        let ready = match work.device {
            Device::Cuda => vec![batch.clone(); batches],
            Device::Cpu => vec![],
        };
        Same {
            batch,
            batches,
            ready,
        }
    }
}

impl Data for Same {
    fn train(&mut self, _: usize) -> Batches<'_> {
        let next = |_| self.ready.pop().unwrap_or_else(|| self.batch.clone());
        Box::new((0..self.batches).map(next).map(Ok))
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
    peak: Option<u64>,
    interrupt: &'a Interrupt,
}

impl Observer for Clock<'_> {
    fn batch(&mut self, event: &BatchEvent) {
        self.ends.push(Instant::now());
        // Measured here, not after `fit`: writing the epoch's checkpoint takes memory that a step does not.
        if event.batch == event.batches {
            self.peak = memory::peak();
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupt.raised()
    }
}

pub(crate) fn images(batch: &Batch) -> Images<'_> {
    Images {
        data: &batch.images,
        shape: batch.shape,
    }
}

pub(crate) fn random_batch(work: &Workload) -> Batch {
    let shape = Hwc {
        h: work.size,
        w: work.size,
        c: 3,
    }
    .batch(work.batch);
    let mut rng = Rng::stream(0, 0);
    Batch {
        images: (0..shape.len()).map(|_| rng.normal_f32()).collect(),
        labels: (0..work.batch).map(|i| i % 2).collect(),
        mixed: None,
        masks: None,
        pixel_weights: None,
        mask_size: None,
        shape,
        name: "random images".into(),
    }
}
