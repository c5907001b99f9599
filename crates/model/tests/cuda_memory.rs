//! Properties of the CUDA engine that follow from a plan alone: launches that every GPU accepts, the memory of a batch,
//! and the rejection of batches that cannot fit. Needs neither a GPU nor a compiler.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use kernels::{Nhwc, Precision};
use model::build::{ModelSpec, architectures, build, decoders, encoders};
use model::engine::cuda::CudaEngine;
use model::engine::cuda::driver::{Address, DeviceError, Driver, Dry, Launch, Recording};
use model::engine::cuda::memory_map::MemoryMap;
use model::engine::{Engine, EngineError, Images};
use model::graph::{Graph, NodeId};
use model::plan::{Kind, Mode, Plan};
use model::store::{Group, ParamMap, ParamStore};

fn spec(encoder: &str, decoder: &str) -> ModelSpec {
    ModelSpec {
        encoder: Some(encoder.into()),
        decoder: Some(decoder.into()),
        ..ModelSpec::default()
    }
}

fn lite() -> Arc<Graph> {
    Arc::new(build(&spec("tf_efficientnet_lite0", "unet")).unwrap())
}

fn outputs(graph: &Graph) -> Vec<NodeId> {
    ["logits", "map"]
        .iter()
        .filter_map(|name| graph.output(name))
        .collect()
}

fn memory_of(
    graph: &Arc<Graph>,
    mode: Mode,
    n: usize,
    size: usize,
) -> Result<(Plan, MemoryMap), DeviceError> {
    let plan = Plan::new(graph, mode, n, size, size, &outputs(graph)).unwrap();
    let memory = MemoryMap::new(graph, &Arc::new(ParamMap::new(graph)), &plan, 0)?;
    Ok((plan, memory))
}

/// Consecutive regions do not overlap, and the arena contains all of them.
#[test]
fn regions_of_the_arena_do_not_overlap() {
    let graph = lite();
    let map = ParamMap::new(&graph);
    for mode in [Mode::Train, Mode::Infer] {
        let (plan, memory) = memory_of(&graph, mode, 4, 64).unwrap();
        let groups = Group::ALL.map(|g| (memory.params[g as usize], map.len(g)));
        let grads = Group::TRAINABLE.map(|g| (memory.grads[g as usize], map.len(g)));
        let norms = graph.nodes.iter().zip(&memory.norms).map(|(node, at)| {
            let norm = node.op.kind() == "batch_norm";
            (*at, if norm { 4 * node.channels } else { 0 })
        });
        let slots = memory.slots.iter().copied().zip(plan.slots.iter().copied());
        let all: Vec<(usize, usize)> = groups
            .into_iter()
            .chain(grads)
            .chain(norms)
            .chain(slots)
            .collect();
        for pair in all.windows(2) {
            let [(a, len), (b, _)] = pair else { continue };
            assert!(a + len <= *b, "{pair:?}");
            assert_eq!(b % 64, 0);
        }
        let (last, len) = all[all.len() - 1];
        assert!(last + len <= memory.scratch && memory.scratch <= memory.len);
        assert_eq!(memory.bytes(), 4 * memory.len as u64);
    }
}

/// The addresses of weights and gradients do not depend on the batch, because plans share one arena.
#[test]
fn weights_have_the_same_addresses_for_all_batches() {
    let graph = lite();
    let (_, a) = memory_of(&graph, Mode::Train, 2, 64).unwrap();
    let (_, b) = memory_of(&graph, Mode::Infer, 7, 96).unwrap();
    assert_eq!(
        (a.params, a.grads, a.norms, a.saved),
        (b.params, b.grads, b.norms, b.saved)
    );
}

/// Every network of the registry, with a typical training batch: `MemoryMap::new` traverses the plan forward and
/// backward and checks each launch.
#[test]
fn launches_of_every_network_are_within_the_limits() {
    let pairs = encoders()
        .iter()
        .flat_map(|e| decoders().iter().map(|d| spec(e.name, d.name)));
    let mut specs: Vec<ModelSpec> = pairs.collect();
    specs
        .iter_mut()
        .filter(|s| s.decoder.as_deref() == Some("none"))
        .for_each(|s| s.head = "bottleneck".into());
    let wholes = architectures().iter().skip(1).map(|entry| ModelSpec {
        architecture: entry.name.into(),
        head: if entry.name == "tpcuar_classifier" {
            "bottleneck"
        } else {
            "cam"
        }
        .into(),
        ..ModelSpec::default()
    });
    specs.extend(wholes);
    for spec in specs {
        let size = if spec.architecture == "unet_2015_valid" {
            252
        } else {
            224
        };
        let graph = Arc::new(build(&spec).unwrap());
        for (mode, n) in [(Mode::Train, 16), (Mode::Infer, 16), (Mode::Infer, 1)] {
            let (plan, memory) = memory_of(&graph, mode, n, size)
                .unwrap_or_else(|e| panic!("{}: {e}", spec.label()));
            assert!(memory.bytes() >= plan.bytes() as u64);
            // Memory that belongs to neither the plan nor the parameters is limited.
            let rest = memory.bytes() - plan.bytes() as u64;
            assert!(
                rest < (2 << 30),
                "{}: {rest} bytes in addition to the plan's",
                spec.label()
            );
        }
    }
}

/// The last batch of an epoch may be smaller and must fit into the same arena.
#[test]
fn smaller_batches_need_no_more_memory() {
    let graph = Arc::new(build(&spec("efficientnet_b1", "unetpp")).unwrap());
    let map = Arc::new(ParamMap::new(&graph));
    for (precision, kind) in [(Precision::F32, Kind::F32), (Precision::Bf16, Kind::Bf16)] {
        for size in [64, 96] {
            let needs = |n: usize| {
                let mode = Mode::Train;
                let plan =
                    Plan::with_features(&graph, kind, mode, (n, size, size), &outputs(&graph));
                let plan = plan.unwrap().with_precision(precision);
                MemoryMap::new(&graph, &map, &plan, 0).unwrap().len
            };
            let needed: Vec<usize> = (1..=24).map(needs).collect();
            let falls: Vec<_> = needed.windows(2).filter(|pair| pair[1] < pair[0]).collect();
            assert!(falls.is_empty(), "{falls:?}");
        }
    }
}

#[test]
fn values_with_too_many_elements_for_the_kernels_are_rejected() {
    let error = memory_of(&lite(), Mode::Infer, 4096, 224)
        .unwrap_err()
        .to_string();
    assert!(error.contains("use a smaller batch"), "{error}");
}

#[test]
fn launches_that_no_gpu_accepts_are_rejected() {
    let mut dry = Dry::default();
    let mut launch = |grid, block| {
        dry.launch(&Launch {
            kernel: "k",
            grid,
            block,
            args: &[],
            node: NodeId::INPUT,
        })
    };
    assert!(launch([1, 1, 1], [256, 1]).is_ok());
    assert!(launch([u32::MAX >> 1, 65535, 65535], [32, 8]).is_ok());
    for (grid, block) in [
        ([1 << 31, 1, 1], [256, 1]),
        ([1, 65536, 1], [256, 1]),
        ([1, 1, 65536], [256, 1]),
        ([0, 1, 1], [256, 1]),
        ([1, 1, 1], [512, 1]),
    ] {
        assert!(launch(grid, block).is_err(), "{grid:?} {block:?}");
    }
}

/// A device with limited memory that computes nothing.
struct Small {
    memory: u64,
    taken: usize,
}

impl Driver for Small {
    fn name(&self) -> String {
        "a small device".into()
    }

    fn available(&self) -> Result<u64, DeviceError> {
        Ok(self.memory)
    }

    fn allocate(&mut self, elements: usize) -> Result<Address, DeviceError> {
        assert!(
            4 * elements as u64 <= self.memory,
            "more memory than available"
        );
        self.taken = elements;
        Ok(Address(256))
    }

    fn upload(&mut self, _: Address, _: &[f32]) -> Result<(), DeviceError> {
        assert!(self.taken > 0, "a copy before memory was allocated");
        Ok(())
    }

    fn download(&mut self, _: Address, data: &mut [f32]) -> Result<(), DeviceError> {
        data.fill(0.0);
        Ok(())
    }

    fn launch(&mut self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        assert!(self.taken > 0, "a launch before memory was allocated");
        launch.check()
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn recorded(&mut self) -> Result<Recording, DeviceError> {
        Ok(Recording(0))
    }

    fn replay(&mut self, _: Recording) -> Result<(), DeviceError> {
        Ok(())
    }
}

fn train(engine: &mut CudaEngine, graph: &Graph, n: usize) -> Result<(), EngineError> {
    let shape = Nhwc {
        n,
        h: 64,
        w: 64,
        c: 3,
    };
    let data = vec![0.0; shape.len()];
    let mut params = ParamStore::initialized(graph, 0);
    let x = Images { data: &data, shape };
    engine.forward(&mut params, x, 0, &outputs(graph)).map(drop)
}

/// The batch size in the error fits, and the next larger one does not.
#[test]
fn batch_that_does_not_fit_is_rejected_with_the_largest_that_does() {
    let graph = lite();
    let memory = memory_of(&graph, Mode::Train, 9, 64).unwrap().1.bytes() + 1000;
    let engine = || {
        let device = Small { memory, taken: 0 };
        CudaEngine::with_driver(graph.clone(), Precision::F32, Box::new(device))
    };
    let error = train(&mut engine(), &graph, 32).unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::Memory {
                largest: 9,
                batch: 32,
                ..
            }
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("a batch of 32 images needs")
            && text.contains("the largest batch that fits is 9"),
        "{text}"
    );
    let mut one = engine();
    train(&mut one, &graph, 9).unwrap();
    assert!(train(&mut one, &graph, 10).is_err());
    train(&mut one, &graph, 4).unwrap();
}

#[test]
fn device_too_small_for_one_image_is_reported() {
    let graph = lite();
    let device = Small {
        memory: 1 << 20,
        taken: 0,
    };
    let mut engine = CudaEngine::with_driver(graph.clone(), Precision::F32, Box::new(device));
    let text = train(&mut engine, &graph, 2).unwrap_err().to_string();
    assert!(text.contains("not even one image fits"), "{text}");
}

/// On a machine without a GPU the error is one sentence that names what is missing; with one, there is an engine.
#[test]
fn missing_gpu_is_reported_in_one_sentence() {
    match CudaEngine::new(lite(), Precision::F32) {
        Ok(engine) => eprintln!("there is a GPU: {}", engine.device()),
        Err(error) => {
            let text = error.to_string();
            eprintln!("no GPU: {text}");
            assert!(
                !text.contains('\n') && (text.contains("lib") || text.contains("GPU")),
                "{text}"
            );
        }
    }
}
